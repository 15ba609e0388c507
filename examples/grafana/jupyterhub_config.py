# For the Hub: a token with which Prometheus may read /hub/metrics, and nothing else.
from pathlib import Path

c.JupyterHub.services = [
    {"name": "prometheus", "api_token": Path("/etc/jupyterhub/prometheus-token").read_text().strip()},
]
c.JupyterHub.load_roles = [
    {"name": "metrics", "services": ["prometheus"], "scopes": ["read:metrics"]},
]
