# /opt/tljh/config/jupyterhub_config.d/traefik_toml.py
from pathlib import Path

from tljh.config import STATE_DIR
from tljh.configurer import load_config

c.JupyterHub.proxy_class = "traefik-toml"

# TLJH's Traefik watches this folder. Keep the name of the file: the routes that the other proxy has left in it must go.
c.TraefikTomlProxy.dynamic_config_file = str(Path(STATE_DIR, "rules", "rules.toml"))

# Where the Hub asks whether its routes are live: where TLJH's Traefik listens for users.
tljh = load_config()
entry_point = "https" if tljh["https"]["enabled"] else "http"
address, port = tljh[entry_point]["address"] or "127.0.0.1", tljh[entry_point]["port"]
c.TraefikProxy.traefik_url = f"{entry_point}://{address}:{port}"
