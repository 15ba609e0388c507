c.JupyterHub.proxy_class = "traefik-etcd-ha"
c.TraefikEtcdProxy.etcd_endpoints = ["https://127.0.0.1:2379", "https://127.0.0.2:2379", "https://127.0.0.3:2379"]
c.TraefikEtcdProxy.etcd_ca = "secrets/ca.crt"
c.TraefikEtcdProxy.etcd_username = "hub"
c.TraefikEtcdProxy.etcd_password_file = "secrets/hub"

# Where users go, which is HAProxy. It says who they are.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.trusted_downstream_ips = ["127.0.0.1"]

# A Hub that is restarted finds everything as it was.
c.JupyterHub.cleanup_servers = False
c.JupyterHub.db_url = "sqlite:///data/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "secrets/cookie"
