"""The conformance suite against this proxy and the others, as one table. I/O: starts them all, one after another."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from traefik_toml_proxy import __version__
from traefik_toml_proxy.conformance import CASES, StartedByHub, run_all
from traefik_toml_proxy.conformance.report import Results, as_json, comparison, line, summary

from .ha import stage
from .ha.etcd import etcd_version, find_etcd
from .machine import package_version
from .programs import find_chp, find_traefik, first_line, traefik_version


@dataclass(frozen=True, slots=True)
class Options:
    """What to compare, and where the results go.

    Attributes:
        chp: The configurable-http-proxy command.
        traefik: The Traefik command.
        rst: The file for the tables, or "".
        json: The file for all results, or "".
    """

    chp: str = ""
    traefik: str = ""
    rst: str = ""
    json: str = ""


def _with_traefik(traefik: str) -> list[StartedByHub]:
    """Return our proxies with Traefik, in the ways to run them."""
    version = f"{__version__}, Traefik {traefik_version(traefik)}"
    started_by_hub = StartedByHub(
        "traefik_toml_proxy:TraefikTomlProxy",
        {"TraefikTomlProxy": {"traefik_command": [traefik]}},
        name="TraefikTomlProxy, started by the Hub",
        version=version,
    )
    traits = {"should_start": False, "dynamic_config_file": "{folder}/jupyterhub.toml", "traefik_entrypoint": "web"}
    started_outside = StartedByHub(
        "traefik_toml_proxy:TraefikTomlProxy",
        {"TraefikTomlProxy": traits},
        command=[
            traefik,
            "--entryPoints.web.address=127.0.0.1:{port}",
            "--entryPoints.web.http.sanitizePath=false",
            "--entryPoints.web.http.encodeQuerySemicolons=true",
            "--entryPoints.web.transport.respondingTimeouts.readTimeout=0s",
            "--providers.providersThrottleDuration=0s",
            "--providers.file.directory={folder}",
        ],
        name="TraefikTomlProxy, started outside",
        version=version,
    )
    with_etcd = f"{version}, etcd {etcd_version()}"
    replicas = [with_replicas(count, traefik, version=with_etcd) for count in (1, 3)]
    return [started_by_hub, started_outside, *replicas]


def with_replicas(count: int, *traefik: str, version: str = "") -> StartedByHub:
    """Return TraefikEtcdProxy with one member of etcd, and so many replicas behind a balancer.

    Args:
        count: How many; with one, users reach its Traefik directly.
        traefik: The Traefik command; if there is none, the agents look for one.
        version: What to say about the versions.
    """
    command = [sys.executable, stage.__file__, "{folder}", "{port}", "{port1}", "{port2}", str(count), *traefik]
    # As far as the suite is concerned, others start and stop it.
    traits = {"should_start": False, "etcd_endpoints": ["http://127.0.0.1:{port1}"], "lease_seconds": 5}
    name = f"TraefikEtcdProxy, {count} {'replica' if count == 1 else 'replicas'}"
    proxy = "traefik_toml_proxy:TraefikEtcdProxy"
    return StartedByHub(proxy, {"TraefikEtcdProxy": traits}, command=command, name=name, version=version)


def _in_process() -> StartedByHub:
    """Return the proxy in the Hub's process, which ends with the Hub, and so does not pass the cases about that."""
    version = f"{__version__}, {'uvloop' if importlib.util.find_spec('uvloop') else 'asyncio'}"
    return StartedByHub("traefik_toml_proxy:InProcessProxy", {}, name="InProcessProxy", version=version)


def _others(traefik: str, chp: str) -> list[StartedByHub]:
    """Return the proxies to compare this one with."""
    traits = {"api_url": "{scheme}://127.0.0.1:{port1}", "command": [chp], "log_level": "error"}
    configurable_http_proxy = StartedByHub(
        "jupyterhub.proxy:ConfigurableHTTPProxy",
        {"ConfigurableHTTPProxy": traits},
        name="configurable-http-proxy",
        version=f"{first_line(chp, '--version')}, JupyterHub {package_version('jupyterhub')}",
    )
    jupyterhub_traefik_proxy = StartedByHub(
        "jupyterhub_traefik_proxy.fileprovider:TraefikFileProviderProxy",
        {"TraefikProxy": {"traefik_api_url": "http://127.0.0.1:{port1}"}},
        name="jupyterhub-traefik-proxy (file)",
        version=f"{package_version('jupyterhub-traefik-proxy')}, Traefik {traefik_version(traefik)}",
        environment={"PATH": f"{Path(traefik).parent}{os.pathsep}{os.environ.get('PATH', '')}"},
    )
    return [configurable_http_proxy, jupyterhub_traefik_proxy]


def run(options: Options) -> int:
    """Run all cases against all proxies; print the results, and write them to files.

    Returns:
        0 if all of ours with Traefik conform, 1 if one does not, 2 if not all of them are installed.
    """
    traefik, chp = find_traefik(options.traefik), find_chp(options.chp)
    there = {
        "traefik": traefik,
        "etcd": find_etcd(),
        "configurable-http-proxy": chp,
        "jupyterhub-traefik-proxy": importlib.util.find_spec("jupyterhub_traefik_proxy"),
    }
    missing = [name for name, found in there.items() if not found]
    if missing:
        print(f"cannot compare, because these are not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    results = []
    with_traefik = _with_traefik(traefik)
    subjects = [(subject, True) for subject in (*with_traefik, _in_process())]
    subjects += [(subject, False) for subject in _others(traefik, chp)]
    for subject, own in subjects:
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
    return 0 if all(one.conforms for one in results[: len(with_traefik)]) else 1
