c.JupyterHub.bind_url = "https://:443"
c.JupyterHub.ssl_cert = "/etc/ssl/hub.example.org.crt"
c.JupyterHub.ssl_key = "/etc/ssl/hub.example.org.key"
c.JupyterHub.cleanup_servers = False

c.ConfigurableHTTPProxy.command = ["configurable-http-proxy", "--redirect-port=80", "--timeout=600000"]
c.ConfigurableHTTPProxy.extra_routes = {"/docs/": "http://127.0.0.1:8123"}
c.ConfigurableHTTPProxy.debug = False
