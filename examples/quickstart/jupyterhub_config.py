"""A JupyterHub to look at, behind Traefik: `jupyterhub -f examples/quickstart/jupyterhub_config.py`.

ANY NAME IS LET IN, WITHOUT A PASSWORD, and can then run programs as you. That is for a look on a machine of your own, so it
listens on loopback only. For other people, take the line about proxy_class into a Hub with a real authenticator.

Move it with `--JupyterHub.bind_url=http://127.0.0.1:9000`. All that it writes is in one folder; it says which.
"""

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from traitlets.config import Application

# All files: here they are found again the next time, whatever folder it is started in. XDG_STATE_HOME moves them.
state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state", "jupyterhub-quickstart").absolute()
try:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)  # for you alone, whoever made it
except OSError as error:
    sys.exit(f"{error}\nSet XDG_STATE_HOME to a folder in which this quickstart can make one of its own.")
c.JupyterHub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"
c.JupyterHub.upgrade_db = True
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")

# The proxy, which is what this is about.
c.JupyterHub.proxy_class = "traefik-toml"
c.TraefikProxy.state_dir = str(state / "traefik")

# Any name, no password.
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True

# Loopback, unless the command line says otherwise; `--port=9000` alone stays there, too.
app = Application.instance()
asked = app.cli_config.JupyterHub
if "bind_url" in asked:
    host = urlsplit(asked.bind_url).hostname or ""
else:
    host = c.JupyterHub.ip = asked.get("ip", "127.0.0.1")
try:
    loopback = host == "localhost" or ip_address(host).is_loopback
except ValueError:
    loopback = False
if loopback:
    app.log.warning(
        "EVERYBODY WHO CAN USE THIS MACHINE can log in here, with any name and no password, and act as you."
    )
else:
    app.log.warning(
        "\n%s\nDANGER: this listens on %s, not on loopback.\nEVERYBODY WHO CAN REACH THIS MACHINE can log in here, with "
        "any name and no password,\nand run any program as you. If you did not mean that, stop it now.\n%s",
        "*" * 88,
        host or "all addresses",
        "*" * 88,
    )
app.log.info("All files, users' notebooks included, are in %s", state)

# Users' servers are processes of yours, each in a folder of its own.
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(state / "users" / "{username}")
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]  # also where the virtual environment is not on PATH
c.Spawner.http_timeout = 120  # JupyterLab's very first start can be slow
if os.geteuid() == 0:  # in a container, say
    c.Spawner.args = ["--allow-root"]
