"""What the commands that read a Hub's configuration have in common. Its traits are their options; it does I/O."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

from traitlets import Bool, Unicode
from traitlets.config import Application, Config

from .. import __version__
from ..masking import without_secrets
from ..proxies.toml import TraefikTomlProxy
from .hub import LoadedHub, Unloadable

_USAGE = 2


class HubCommand(Application):
    """A command that reads the configuration of a JupyterHub."""

    version = __version__

    config_file = Unicode(
        "jupyterhub_config.py",
        help="""
        The configuration file of the Hub, which is executed. Default: jupyterhub_config.py in this folder.

        Settings can be added as for jupyterhub itself, such as --JupyterHub.bind_url=http://:8000.
        """,
    ).tag(config=True)
    json = Bool(False, help="Print the result as JSON.").tag(config=True)

    aliases = {  # noqa: RUF012 - traitlets expects a plain class attribute
        "f": "HubCommand.config_file",
        "config": "HubCommand.config_file",
    }
    flags = {  # noqa: RUF012 - as above
        "json": ({"HubCommand": {"json": True}}, "Print the result as JSON.")
    }

    def parse_command_line(self, argv: Any = None) -> None:
        """Read the options; end the program if one is wrong."""
        try:
            super().parse_command_line(argv)
        except SystemExit as end:
            raise SystemExit(_USAGE if end.code else 0) from None

    def config_path(self) -> Path:
        """Return the configuration file; end the program if there is none."""
        path = Path(self.config_file)
        # traitlets only warns of an option that it does not know.
        unknown = [
            *self.extra_args,
            *(name for name, section in self.config.items() if not isinstance(section, Config)),
        ]
        if unknown or not path.is_file():
            reason = f"{unknown[0]} is not known." if unknown else f"There is no file {path}."
            self.log.critical("%s Name the Hub's configuration with -f; --help says more.", reason)
            self.exit(_USAGE)
        return path

    def settings_for_hub(self) -> Config:
        """Return the settings on the command line that are the Hub's."""
        own = {cls.__name__ for cls in type(self).__mro__}
        return Config({name: section for name, section in self.config.items() if name not in own})

    def load(self) -> TraefikTomlProxy:
        """Execute the configuration, and return the proxy.

        Raises:
            Unloadable: If that fails, or it is not ours.
        """
        hub = LoadedHub(self.config_path(), self.settings_for_hub())
        if hub.in_process is not None:
            raise Unloadable(
                "This command is for proxies with Traefik. InProcessProxy has none, and its routes are in memory: the Hub "
                f"shows them to its admins at {hub.app.hub_prefix}api/proxy."
            )
        if hub.proxy is None:
            raise Unloadable(f"The Hub uses the proxy {hub.proxy_class}, and not this one.")
        return hub.proxy

    def fail(self, reason: str) -> NoReturn:
        """End the program with what is wrong."""
        self.log.critical("%s", without_secrets(reason))
        sys.exit(1)
