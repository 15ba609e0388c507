c.JupyterHub.proxy_class = "traefik-toml"  # with a dash
c.JupyterHub.bind_url = "http://:80"
c.JupyterHub.cleanup_servers = False

c.TraefikProxy.static_config_file = "/srv/jupyterhub/traefik.toml"
c.TraefikTomlProxy.dynamic_config_file = "/srv/jupyterhub/rules.toml"
c.TraefikProxy.traefik_log_level = "ERROR"
c.TraefikProxy.extra_static_config = {
    # Without the URL of the service: when a server fails, it has a path that only the proxy is to know.
    "accessLog": {"filePath": "/srv/jupyterhub/access.log", "fields": {"names": {"ServiceURL": "drop"}}}
}
