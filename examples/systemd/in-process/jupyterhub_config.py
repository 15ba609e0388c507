c.JupyterHub.proxy_class = "in-process"
# systemd opens this port, see jupyterhub.socket.
c.JupyterHub.bind_url = "http://:80"

# Users' servers that run as the Hub's own processes stay while it is restarted.
c.JupyterHub.cleanup_servers = False
