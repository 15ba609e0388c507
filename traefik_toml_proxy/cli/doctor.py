"""``python -m traefik_toml_proxy doctor``: finds what is wrong with a Hub's proxy. Does I/O, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from traitlets.config import Config

from ..findings import Finding, anything_wrong, fine, wrong
from .hub import LoadedHub, Unloadable
from .of_hub import HubCommand
from .output import say_findings, say_json


class DoctorApp(HubCommand):
    """Looks at a Hub's proxy."""

    name = "traefik_toml_proxy doctor"
    description = """Find what is wrong with the proxy of a JupyterHub, whether that runs or not.

    It executes the configuration file, as the Hub does; run it as the Hub's user, in the folder that the Hub runs in. It
    changes nothing. The exit status is 0 if all is well, 1 if something is wrong, and 2 for a wrong option.
    """
    examples = """
    python -m traefik_toml_proxy doctor -f /etc/jupyterhub/jupyterhub_config.py
    """

    def start(self) -> None:
        """Look at everything, and print what was found."""
        file = self.config_path()
        findings = list(examine(file, self.settings_for_hub()))
        if self.json:
            say_json([finding.as_dict() for finding in findings])
        else:
            say_findings(f"{file} was executed.", findings)
        self.exit(1 if anything_wrong(findings) else 0)


def examine(file: Path, extra: Config) -> Iterator[Finding]:
    """Load a Hub's configuration, and look at everything. Blocks.

    Args:
        file: The configuration file, which is executed.
        extra: Settings that override those in the file.
    """
    about = "configuration"
    try:
        hub = LoadedHub(file, extra)
    except Unloadable as error:
        yield wrong(about, f"{file} cannot be loaded: {error}")
        return
    yield from _configuration(hub)
    proxy = hub.proxy or hub.in_process
    if proxy is not None:
        yield from proxy.examination().findings()


def _configuration(hub: LoadedHub) -> Iterator[Finding]:
    about = "configuration"
    for warning in hub.warnings:
        yield wrong(about, warning)
    if hub.proxy is None and hub.in_process is None:
        yield wrong(
            about,
            f"The Hub uses the proxy {hub.proxy_class}, and not this one.",
            'c.JupyterHub.proxy_class = "traefik-toml"',
        )
    elif not hub.warnings:
        yield fine(about, str(hub.file))
