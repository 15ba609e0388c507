"""Cases of TLS: to the browser, and to internal servers (``JupyterHub.internal_ssl``). Does I/O through the stage."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import tempfile
from pathlib import Path

from ..backend import Backend
from ..case import Failed, Group, Level, Options, expect, expect_equal
from ..stage import Stage, write_certificate
from .websockets import connected, echoing

GROUP = Group("tls")
_E = Level.EXPECTED
_TLS = Options(tls=True)


@GROUP.case("https", _E, "jupyterhub/app.py: JupyterHub.ssl_cert and ssl_key", options=_TLS)
async def _https(stage: Stage) -> None:
    """With ``ssl_cert`` and ``ssl_key``, the public URL speaks HTTPS with that certificate."""
    ada = await stage.serve("/user/ada/")
    await stage.expect_by(ada, "/user/ada/lab")
    async with stage.connect() as connection:
        seen = connection.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    pem = await asyncio.to_thread(Path(stage.setting.ssl_cert).read_text)
    expect(seen == ssl.PEM_cert_to_DER_cert(pem), "it shows another certificate")


@GROUP.case("half-renewed", _E, "certbot and others replace one file after the other", options=_TLS)
async def _half_renewed(stage: Stage) -> None:
    """While the key has been renewed and the certificate has not, HTTPS goes on, and routes can be changed."""
    key = Path(stage.setting.ssl_key)
    before = await asyncio.to_thread(key.read_bytes)
    await asyncio.to_thread(_renew, key)
    try:
        for name in ("ada", "bob"):
            backend = await stage.serve(f"/user/{name}/")
            await stage.expect_by(backend, f"/user/{name}/lab")
    finally:
        await asyncio.to_thread(key.write_bytes, before)


def _renew(key: Path) -> None:
    """Put another key in the place of one. Blocks."""
    with tempfile.TemporaryDirectory() as folder:
        _, other = write_certificate(Path(folder))
        shutil.copyfile(other, key)


@GROUP.case("forwarded", _E, "jupyterhub/handlers/base.py reads X-Forwarded-Proto", options=_TLS)
async def _forwarded(stage: Stage) -> None:
    """With HTTPS, X-Forwarded-Proto tells the backend so."""
    ada = await stage.serve("/user/ada/")
    await stage.get("/user/ada/")
    expect_equal(ada.last.head.get("X-Forwarded-Proto"), "https", "X-Forwarded-Proto")


@GROUP.case("websocket", _E, "RFC 6455 section 3: wss", options=_TLS)
async def _websocket(stage: Stage) -> None:
    """With HTTPS, websockets are opened as wss."""
    async with echoing(stage), connected(stage, "/user/ada/ws") as socket:
        await socket.write_message("hello")
        expect_equal(await socket.read_message(), "hello", "the echo")


@GROUP.case(
    "internal-ssl", _E, "jupyterhub/app.py:1927: init_internal_ssl", options=Options(internal_ssl=True), seconds=60
)
async def _internal_ssl(stage: Stage) -> None:
    """With ``internal_ssl``, the proxy shows its certificate to servers that ask for it, and trusts theirs."""
    context = await asyncio.to_thread(_internal_server, Path(stage.setting.folder) / "internal-ssl")
    async with Backend("inside", tls=context) as inside:
        await stage.add("/user/ada/", inside.url)
        await stage.expect_by(inside, "/user/ada/lab")


def _internal_server(folder: Path) -> ssl.SSLContext:
    """Return the TLS of a server that shows a certificate of the Hub's, and asks for one. Blocks."""
    made = sorted(folder.rglob("*"))
    server = {path.suffix: path for path in made if path.stem == "hub-internal"}
    trust = next((path for path in made if path.name == "hub-ca_trust.crt"), None)
    if not trust or not {".crt", ".key"} <= server.keys():
        raise Failed("JupyterHub did not make the expected files")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(trust))
    context.load_cert_chain(server[".crt"], server[".key"])
    context.verify_mode = ssl.CERT_REQUIRED
    return context
