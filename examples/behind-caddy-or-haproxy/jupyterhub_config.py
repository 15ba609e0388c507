c.JupyterHub.proxy_class = "traefik-toml"

# For the proxy in front only; users go to https://hub.example.org.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"

# The proxy in front, on this machine, says who the users are, and that they speak https.
c.TraefikProxy.trusted_proxies = ["127.0.0.1"]
c.JupyterHub.trusted_downstream_ips = ["127.0.0.1"]
