"""``python -m traefik_toml_proxy render``: prints what Traefik would be told. Does I/O, and changes nothing."""

from __future__ import annotations

from ..errors import ProxyError
from ..routes import RouteTable
from ..runtime.live_looks import read_stored
from .hub import Unloadable
from .of_hub import HubCommand
from .output import say, say_json


class RenderApp(HubCommand):
    """Prints Traefik's configuration."""

    name = "traefik_toml_proxy render"
    description = """Print the static and the dynamic configuration that Traefik would get, and start nothing.

    It executes the Hub's configuration file. The routes are those in the file of the last Hub. Private keys, passwords and
    secret paths are hidden, so the output is for reading, and not for Traefik.
    """
    examples = """
    python -m traefik_toml_proxy render -f /etc/jupyterhub/jupyterhub_config.py
    """

    def start(self) -> None:
        """Print both configurations; exit with 1 if a setting cannot be used."""
        try:
            examination = self.load().examination()
            stored = read_stored(examination.dynamic_file())
            static = examination.rendered_static() if examination.should_start else ""
            dynamic = examination.rendered_routes(stored.snapshot.table if stored else RouteTable())
        except (Unloadable, ProxyError, OSError, ValueError) as error:
            self.fail(str(error))
        if self.json:
            say_json({"static": static, "dynamic": dynamic})
            return
        if static:
            say(f"# The static configuration\n{static}")
        else:
            say("# The static configuration is that of the Traefik that others run.\n")
        say(f"# The dynamic configuration\n{dynamic}")
