"""A JupyterHub behind Traefik, to try the proxy: `jupyterhub -f examples/quickstart/jupyterhub_config.py`.

ANYONE CAN LOG IN WITH ANY NAME AND NO PASSWORD, and then run programs as you. It is for tests on your own machine, so it
listens on loopback only. To serve other people, copy the proxy_class line to the configuration of a Hub with a real
authenticator.

To use another address, add `--JupyterHub.bind_url=http://127.0.0.1:9000`. All files are in one folder, which the log names.
"""

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from traitlets.config import Application

# The folder for all files. It does not depend on the working directory, so that the next start finds them again.
state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state", "jupyterhub-quickstart").absolute()
try:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)  # for you only, even if the folder already existed
except OSError as error:
    sys.exit(f"{error}\nSet XDG_STATE_HOME to a folder in which this quickstart can create its own folder.")
c.JupyterHub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"
c.JupyterHub.upgrade_db = True
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")

# The proxy.
c.JupyterHub.proxy_class = "traefik-toml"
c.TraefikProxy.state_dir = str(state / "traefik")

# Accept any name, without a password.
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True

# Listen on loopback unless the command line sets another address; `--port=9000` alone does not.
app = Application.instance()
command_line = app.cli_config.JupyterHub
if "bind_url" in command_line:
    host = urlsplit(command_line.bind_url).hostname or ""
else:
    host = c.JupyterHub.ip = command_line.get("ip", "127.0.0.1")
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

# Each user's server runs as your own process, in its own folder.
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(state / "users" / "{username}")
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]  # works even if the virtual environment is not on PATH
c.Spawner.http_timeout = 120  # the first start of JupyterLab can be slow
if os.geteuid() == 0:  # for example in a container
    c.Spawner.args = ["--allow-root"]
