"""The conformance suite against this proxy and the others, as one table. I/O: starts them all, one after the other."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from traefik_toml_proxy import __version__
from traefik_toml_proxy.conformance import CASES, StartedByHub, run_all
from traefik_toml_proxy.conformance.report import Results, as_json, comparison, line, summary

from .machine import package_version

_ROUTES = "{folder}/jupyterhub.toml"


@dataclass(frozen=True, slots=True)
class Options:
    """What to compare, and where the results go.

    Attributes:
        chp: The configurable-http-proxy command.
        traefik: The Traefik command.
        rst: Where the table goes, or "" for nowhere.
        json: Where all results go, or "" for nowhere.
    """

    chp: str = ""
    traefik: str = ""
    rst: str = ""
    json: str = ""


def _subjects(options: Options) -> Sequence[tuple[StartedByHub, bool]]:
    """Return the proxies, and for each whether it is ours."""
    traefik = options.traefik or shutil.which("traefik") or str(Path(sys.executable).with_name("traefik"))
    chp = options.chp or "configurable-http-proxy"
    traefik_version = "Traefik " + _said([traefik, "version"], r"Version:\s*(\S+)")
    on_traefik = f"{__version__}, {traefik_version}"
    outside = [
        traefik,
        "--entryPoints.web.address=127.0.0.1:{port}",
        "--entryPoints.web.http.sanitizePath=false",
        "--entryPoints.web.http.encodeQuerySemicolons=true",
        "--entryPoints.web.transport.respondingTimeouts.readTimeout=0s",
        "--providers.providersThrottleDuration=0s",
        "--providers.file.directory={folder}",
    ]
    return [
        (
            StartedByHub(
                "traefik_toml_proxy:TraefikTomlProxy",
                {"TraefikTomlProxy": {"traefik_command": [traefik]}},
                name="TraefikTomlProxy, started by the Hub",
                version=on_traefik,
            ),
            True,
        ),
        (
            StartedByHub(
                "traefik_toml_proxy:TraefikTomlProxy",
                {
                    "TraefikTomlProxy": {
                        "should_start": False,
                        "dynamic_config_file": _ROUTES,
                        "traefik_entrypoint": "web",
                    }
                },
                command=outside,
                name="TraefikTomlProxy, started outside",
                version=on_traefik,
            ),
            True,
        ),
        (
            StartedByHub(
                "jupyterhub.proxy:ConfigurableHTTPProxy",
                {
                    "ConfigurableHTTPProxy": {
                        "api_url": "{scheme}://127.0.0.1:{port1}",
                        "command": [chp],
                        "log_level": "error",
                    }
                },
                name="configurable-http-proxy",
                version=f"{_said([chp, '--version'], '(.+)')}, JupyterHub {package_version('jupyterhub')}",
            ),
            False,
        ),
        (
            StartedByHub(
                "jupyterhub_traefik_proxy.fileprovider:TraefikFileProviderProxy",
                {"TraefikProxy": {"traefik_api_url": "http://127.0.0.1:{port1}"}},
                name="jupyterhub-traefik-proxy (file)",
                version=f"{package_version('jupyterhub-traefik-proxy')}, {traefik_version}",
                environment={"PATH": f"{Path(traefik).parent}{os.pathsep}{os.environ.get('PATH', '')}"},
            ),
            False,
        ),
    ]


def _said(command: list[str], pattern: str) -> str:
    """Return what a command says of its version."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    found = re.search(pattern, done.stdout)
    return found[1].strip() if found else "of unknown version"


def run(options: Options) -> int:
    """Run all cases against all proxies, and print and write the results.

    Returns:
        0 if ours conforms, else 1.
    """
    results = []
    for subject, own in _subjects(options):
        print(f"\n{subject.name}", file=sys.stderr)
        outcomes = asyncio.run(run_all(subject, CASES, lambda outcome: print(line(outcome), file=sys.stderr)))
        results.append(Results(subject.name, subject.version, outcomes, own))
        print(summary(results[-1]))
    table = comparison(results, date=datetime.now(timezone.utc).date().isoformat())
    print(table)
    if options.rst:
        Path(options.rst).write_text(table, encoding="utf-8")
    if options.json:
        Path(options.json).write_text(json.dumps([as_json(one) for one in results], indent=1) + "\n", encoding="utf-8")
    return 0 if all(one.conforms for one in results if one.own) else 1
