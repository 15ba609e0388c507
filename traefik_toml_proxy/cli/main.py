"""The command ``python -m traefik_toml_proxy``, a traitlets Application with subcommands. Does I/O through them."""

from __future__ import annotations

import os
import signal
import sys

from traitlets.config import Application

from .. import __version__


class TraefikTomlProxyApp(Application):
    """The command that all subcommands belong to."""

    name = "traefik_toml_proxy"
    version = __version__
    description = "Commands of traefik_toml_proxy."
    # Named by strings, so that a subcommand's module is imported only when it is run.
    subcommands = {  # noqa: RUF012 - traitlets expects a plain class attribute
        "agent": (
            "traefik_toml_proxy.cli.agent.AgentApp",
            "Run a Traefik that serves the routes that a Hub keeps in etcd.",
        ),
        "conformance": (
            "traefik_toml_proxy.cli.conformance.ConformanceApp",
            "Run the conformance suite against a JupyterHub proxy.",
        ),
        "doctor": ("traefik_toml_proxy.cli.doctor.DoctorApp", "Find what is wrong with the proxy of a JupyterHub."),
        "routes": ("traefik_toml_proxy.cli.routes.RoutesApp", "Print the routes of a JupyterHub, and what is live."),
        "render": ("traefik_toml_proxy.cli.render.RenderApp", "Print the configuration that Traefik would get."),
    }

    def start(self) -> None:
        """Run the subcommand, or print which ones there are; end the program if it is another word."""
        if self.subapp is not None:
            self.subapp.start()
        elif self.extra_args:
            self.log.critical("There is no command %r; --help lists them.", self.extra_args[0])
            self.exit(2)
        else:
            self.print_help()


def main() -> None:
    """Run the command given in ``sys.argv``.

    When the reader of standard output goes away (``... | head``), the process ends as other Unix tools do: killed by
    SIGPIPE. Until then Python's default of ignoring it stays: writing to a closed socket raises the signal as well.
    """
    try:
        try:
            TraefikTomlProxyApp.launch_instance()
        finally:
            # Without this, the interpreter would meet the closed pipe while it exits, where nothing can catch the error.
            sys.stdout.flush()
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
