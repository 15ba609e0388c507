"""Starts and stops a proxy in namespaces of its own, where a test may mount files and listen on all addresses."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.inside import traefik_pid
from support.processes import listening
from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import ProxyError

TESTS = Path(__file__).parents[1]


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        error: Why it could not be started, or "".
        listening: Where its Traefik listened.
        warnings: What it logged as a warning, or worse.
    """

    error: str
    listening: list[str]
    warnings: list[str]


def in_namespaces(before: str, *more: str) -> list[str]:
    """Return the beginning of a command line that runs the rest in a mount namespace of its own.

    The test is skipped where namespaces are not permitted.

    Args:
        before: A shell command to run first, as root of the namespaces (user_namespaces(7)).
        more: More options of unshare(1).
    """
    unshare = ["unshare", "--user", "--map-root-user", "--mount", *more]
    trial = subprocess.run([*unshare, "true"], capture_output=True, text=True)
    if trial.returncode:
        pytest.skip(f"namespaces are not permitted here: {trial.stderr.strip()}")
    return [*unshare, "sh", "-c", f'{before} && exec "$@"', "sh"]


def started_apart(traits: Mapping[str, Any], *, before: str = "true") -> Outcome:
    """Start and stop a proxy; skip the test where namespaces are not permitted.

    Args:
        traits: The traits of the proxy, as JSON.
        before: A shell command to run first, as root of the namespaces (user_namespaces(7)).
    """
    apart = in_namespaces(f"{before} && ip link set lo up", "--net")
    done = subprocess.run(
        [*apart, sys.executable, "-m", "support.apart", json.dumps(dict(traits))],
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return Outcome(*json.loads(done.stdout))


async def _main(traits: dict[str, Any]) -> Outcome:
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("hub")
    log.addHandler(handler)
    proxy = TraefikTomlProxy(**traits, log=log)
    try:
        await proxy.start()
    except ProxyError as error:
        return Outcome(str(error), [], warnings)
    where = await asyncio.to_thread(listening, traefik_pid(proxy))
    await proxy.stop()
    return Outcome("", sorted(where), warnings)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main(json.loads(sys.argv[1])))))
