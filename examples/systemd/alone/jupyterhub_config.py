c.JupyterHub.proxy_class = "traefik-toml"
c.JupyterHub.bind_url = "http://:80"
c.TraefikProxy.state_dir = "/var/lib/jupyterhub/traefik"

# A restart of the Hub interrupts nobody. Servers that the Hub's own processes run stay, too.
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.cleanup_servers = False
