"""An ACME server on loopback: Debian's pebble, which is made for tests, and the name server that it asks."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from .backend import get
from .certificates import make_certificate
from .ports import free_ports
from .processes import MARK
from .waiting import eventually

PROGRAMS = ("pebble", "pebble-challtestsrv")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]


class Pebble:
    """Runs between ``__aenter__`` and ``__aexit__``. Every name has the address 127.0.0.1.

    Attributes:
        url: The URL of its directory.
        ca_file: The certificate that it shows.
    """

    def __init__(self, folder: Path, *, http_port: int, tls_port: int, seconds: int = 600) -> None:
        """Write its configuration; it is not started.

        Args:
            folder: For its files.
            http_port: Where it looks for the answer to a challenge over http.
            tls_port: Where it looks for the answer to one over TLS.
            seconds: How long its certificates are valid.
        """
        api, self._management, self._names, self._names_management = free_ports(4)
        self.url = f"https://127.0.0.1:{api}/dir"
        pair = make_certificate(folder, "pebble")
        self.ca_file = pair.cert
        self._tls = pair.client()
        self._folder = folder
        self._config = folder / "pebble.json"
        validity = {"certificateValidityPeriod": seconds, "validityPeriod": seconds}
        settings = {
            "listenAddress": f"127.0.0.1:{api}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(pair.cert),
            "privateKey": str(pair.key),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "certificateValidityPeriod": seconds,
            "profiles": {"default": {"description": "", **validity}},
        }
        self._config.write_text(json.dumps({"pebble": settings}))
        self._processes: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        names = f"127.0.0.1:{self._names}"
        only_names = [part for kind in ("http01", "https01", "tlsalpn01", "defaultIPv6") for part in (f"-{kind}", "")]
        management = ["-management", f"127.0.0.1:{self._names_management}"]
        await self._start("pebble-challtestsrv", "-dns01", names, *management, *only_names)
        await self._start("pebble", "-config", str(self._config), "-dnsserver", names)
        await eventually(self._answers, within=20)
        return self

    async def _start(self, *command: str) -> None:
        # It must not wait or refuse at random, as it does to test its clients.
        environment = {**os.environ, **MARK, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        with (self._folder / f"{command[0]}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)
        self._processes.append(process)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            await process.wait()

    async def _answers(self) -> bool:
        try:
            return (await get(self.url, "/dir", tls=self._tls)).status == 200
        except OSError:
            return False

    async def client(self) -> ssl.SSLContext:
        """Return a client context that trusts only the certificates that this server issues."""
        answer = await get(f"https://127.0.0.1:{self._management}", "/roots/0", tls=self._tls)
        return ssl.create_default_context(cadata=answer.body.decode())
