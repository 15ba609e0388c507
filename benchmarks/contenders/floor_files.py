"""The configuration files of the floor, as Traefik's documentation would have them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from ..workload import Entry

# A path that answers with the revision of the file in a header.
REVISION_HEADER = "X-Benchmark-Revision"
REVISION_PATH = "/benchmark-revision"


def floor_static(address: str, dynamic_file: str, *, tls: bool = False) -> str:
    """Return a static configuration with what ours has that matters for the time of a reload.

    Args:
        address: Where to listen, ``host:port``.
        dynamic_file: The absolute path of the dynamic file.
        tls: Whether it is HTTPS.
    """
    with_tls = "[entryPoints.http.http.tls]\n" if tls else ""
    return (
        "[global]\ncheckNewVersion = false\nsendAnonymousUsage = false\n"
        '[log]\nlevel = "ERROR"\nnoColor = true\n'
        '[providers]\nprovidersThrottleDuration = "0s"\n'
        f"[providers.file]\nfilename = '{dynamic_file}'\nwatch = true\n"
        f'[entryPoints.http]\naddress = "{address}"\n'
        "[entryPoints.http.http]\nsanitizePath = false\nencodeQuerySemicolons = true\n"
        '[entryPoints.http.transport.respondingTimeouts]\nreadTimeout = "0s"\n' + with_tls
    )


def floor_dynamic(entries: Iterable[Entry], cert_file: str, key_file: str) -> str:
    """Return a dynamic file for these routes as anybody would write it first.

    Args:
        entries: The routes.
        cert_file: The default certificate: without one, Traefik makes an RSA key at each reload.
        key_file: Its key.
    """
    certificate = f"certFile = '{cert_file}'\nkeyFile = '{key_file}'\n"
    parts = ["[tls.stores.default.defaultCertificate]\n" + certificate]
    for routespec, target, data in entries:
        name = re.sub(r"[^A-Za-z0-9-]", "_", routespec) + "0123456789abcdef"
        path = routespec.rstrip("/")
        rule = f"Path(`{path}`) || PathPrefix(`{routespec}`)" if path else "PathPrefix(`/`)"
        parts.append(
            f'\n[http.routers.{name}]\nrule = "{rule}"\nentryPoints = ["http"]\n'
            f'priority = {len(routespec)}\nservice = "{name}"\n'
            f'\n[[http.services.{name}.loadBalancer.servers]]\nurl = "{target}"\n'
            f'\n[jupyterhub.routes.{name}]\nroutespec = "{routespec}"\ntarget = "{target}"\n'
            f"data = '{json.dumps(data)}'\n"
        )
    return "".join(parts)


def revision_router(revision: int) -> str:
    """Return the few lines, to be put at the end of a dynamic file, by which its revision is seen from outside."""
    return (
        f'\n[http.routers.benchmark-revision]\nrule = "Path(`{REVISION_PATH}`)"\nentryPoints = ["http"]\n'
        'priority = 2000000\nmiddlewares = ["benchmark-revision"]\nservice = "noop@internal"\n'
        "\n[http.middlewares.benchmark-revision.headers.customResponseHeaders]\n"
        f'{REVISION_HEADER} = "{revision}"\n'
    )
