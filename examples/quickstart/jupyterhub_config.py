"""A JupyterHub to look at, behind Traefik: `jupyterhub -f examples/quickstart/jupyterhub_config.py`.

ANY NAME IS LET IN, WITHOUT A PASSWORD, and can then run programs with your permissions. That is for a look on a machine of
your own; so it listens on loopback only. Never use it for others: take the two lines about the proxy into a Hub with a real
authenticator instead.

Move it with `--JupyterHub.bind_url=http://127.0.0.1:9000`. All that it writes is in one folder, whose name it logs at start.
"""

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from traitlets.config import Application


def is_loopback(host):
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


# The proxy, which is what this is about.
state = Path(
    os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state", "traefik_toml_proxy-quickstart"
).absolute()
c.JupyterHub.proxy_class = "traefik-toml"
c.TraefikProxy.state_dir = str(state / "traefik")

# Loopback, unless the command line asks for something else; then `--port=9000` alone stays on loopback, too.
app = Application.instance()
asked = app.cli_config.JupyterHub
host = urlsplit(asked.bind_url).hostname if "bind_url" in asked else asked.get("ip", "127.0.0.1")
if "bind_url" not in asked:
    c.JupyterHub.ip = host

# Any name, no password.
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
if is_loopback(host):
    app.log.warning("Everybody who can log in to this machine can log in here, with any name, and act as you do.")
else:
    app.log.warning(
        "\n%s\nDANGER: listening on %s, not on loopback. EVERYBODY WHO CAN REACH THIS MACHINE can log in here, with any name and "
        "no\npassword, and run any program as the user that runs this JupyterHub. If that is not a machine to throw away in a "
        "network\nof your own, stop it now.\n%s",
        "*" * 118,
        host or "all addresses",
        "*" * 118,
    )

# Servers are processes of the user that runs the Hub, each with a folder of its own for its notebooks.
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(state / "users" / "{username}")
c.Spawner.cmd = [
    sys.executable,
    "-m",
    "jupyterhub.singleuser",
]  # found also where the virtual environment is not active
c.Spawner.http_timeout = 120  # JupyterLab's very first start can be slow
if os.geteuid() == 0:  # in a container, say; JupyterLab wants to be asked twice
    c.Spawner.args = ["--allow-root"]

# What is kept, so that notebooks are there the next time. Readable by you alone. Remove the folder to begin anew.
try:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
except OSError as error:
    sys.exit(f"{error}\nXDG_STATE_HOME can name another folder in which this quickstart may make its own.")
app.log.info("All files of this quickstart are in %s", state)
c.JupyterHub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"
c.JupyterHub.upgrade_db = True
c.JupyterHub.cookie_secret_file = str(state / "jupyterhub_cookie_secret")
