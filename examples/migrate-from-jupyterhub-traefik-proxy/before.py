c.JupyterHub.proxy_class = "traefik_file"
c.JupyterHub.bind_url = "http://:80"
c.JupyterHub.cleanup_servers = False

c.TraefikFileProviderProxy.static_config_file = "/srv/jupyterhub/traefik.toml"
c.TraefikFileProviderProxy.dynamic_config_file = "/srv/jupyterhub/rules.toml"
c.TraefikFileProviderProxy.traefik_api_username = "admin"
c.TraefikFileProviderProxy.traefik_api_password = "a long password"
c.TraefikFileProviderProxy.traefik_log_level = "ERROR"
c.TraefikFileProviderProxy.extra_static_config = {"accessLog": {"filePath": "/srv/jupyterhub/access.log"}}
