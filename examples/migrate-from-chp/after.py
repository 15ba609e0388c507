c.JupyterHub.proxy_class = "traefik-toml"

c.JupyterHub.bind_url = "https://:443"
c.JupyterHub.ssl_cert = "/etc/ssl/hub.example.org.crt"
c.JupyterHub.ssl_key = "/etc/ssl/hub.example.org.key"
c.JupyterHub.cleanup_servers = False

c.TraefikProxy.redirect_http = 80  # was --redirect-port; --timeout is not needed, as no request is limited in time
c.Proxy.extra_routes = {"/docs/": "http://127.0.0.1:8123"}
