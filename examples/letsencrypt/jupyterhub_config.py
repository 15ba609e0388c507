c.JupyterHub.proxy_class = "traefik-toml"
c.JupyterHub.bind_url = "https://:443"
c.TraefikProxy.letsencrypt_domains = ["hub.example.org"]
c.TraefikProxy.letsencrypt_email = "admin@example.org"
c.TraefikProxy.redirect_http = 80
