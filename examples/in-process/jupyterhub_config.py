c.JupyterHub.proxy_class = "in-process"
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
