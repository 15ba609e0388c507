c.JupyterHub.proxy_class = "traefik-toml"
c.Proxy.should_start = False
c.JupyterHub.cleanup_servers = False

# Traefik watches this folder, as another user, who is in this group. It listens for users at this entry point.
c.TraefikTomlProxy.dynamic_config_file = "/var/lib/jupyterhub-routes/routes.toml"
c.TraefikTomlProxy.dynamic_config_file_group = "traefik"
c.TraefikProxy.traefik_entrypoint = "web"
c.TraefikProxy.traefik_url = "http://127.0.0.1:80"

# Traefik is another user's, so the Hub cannot see its connections.
c.TraefikProxy.track_activity = False
