"""JupyterHub.internal_ssl: Traefik and servers show each other certificates that JupyterHub has made."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import logging
import ssl
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from support.backend import Backend, get
from support.certificates import make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.internal_ssl import InternalCertificates
from support.ports import free_port
from support.servers import answering
from support.traefik import ForeignTraefik
from support.waiting import PATIENCE, eventually, meanwhile, within

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.metrics import hub_metrics
from traefik_toml_proxy.runtime import transport_files

OF_ADA = {"user": "ada", "server_name": ""}

TlsBackendMaker = Callable[[str, ssl.SSLContext], Awaitable[Backend]]


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> InternalCertificates:
    """The certificates of a Hub."""
    return InternalCertificates(tmp_path / "internal-ssl")


@pytest_asyncio.fixture
async def make_tls_backend() -> AsyncIterator[TlsBackendMaker]:
    """Start https backends; each is stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(name: str, tls: ssl.SSLContext) -> Backend:
            return await stack.enter_async_context(Backend(name, tls=tls))

        yield make


@pytest_asyncio.fixture
async def ada(made: InternalCertificates, make_tls_backend: TlsBackendMaker) -> Backend:
    """A user's server, which demands the certificate of a client."""
    return await make_tls_backend("ada", made.server("ada"))


@pytest_asyncio.fixture
async def proxy(make_proxy: ProxyMaker, made: InternalCertificates, ada: Backend) -> TraefikTomlProxy:
    """A started proxy of that Hub, with a route to that server."""
    proxy = make_proxy(app=made.app)
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, OF_ADA)
    return proxy


async def _ask(proxy: TraefikTomlProxy, path: str = "/user/ada/", method: str = "GET") -> Any:
    headers = {} if method == "GET" else {"Content-Length": "0"}
    return await get(proxy.public_url, path, method=method, headers=headers)


async def test_the_server_gets_all_requests_from_a_client_with_the_proxys_certificate(
    proxy: TraefikTomlProxy, ada: Backend
) -> None:
    """Connections are kept: hundreds of requests need no more than four for each client, whatever other routes do.

    Go may open a connection for a request that another one becomes free for in the meantime, the more so where the handshake
    takes long.
    """

    async def ask() -> list[str | None]:
        methods = ["GET", "POST", "PUT"] * 25
        return [(await _ask(proxy, f"/user/ada/{number}", method)).by for number, method in enumerate(methods)]

    async def change_other_routes() -> None:
        for number in range(10):
            await proxy.add_route(f"/user/other-{number}/", ada.url, {})

    *answers, _ = await asyncio.gather(ask(), ask(), ask(), ask(), change_other_routes())

    assert answers == [["ada"] * 75] * 4
    assert set(ada.clients) == {"proxy-client"}
    assert len(ada.clients) <= 16


async def test_when_the_certificates_expire_is_in_the_metrics(
    make_proxy: ProxyMaker, made: InternalCertificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon after the start."""
    monkeypatch.setattr(transport_files, "_INTERVAL", 0.05)
    hub_metrics().certificate("internal_ssl", datetime.fromtimestamp(0, timezone.utc))
    await make_proxy(app=made.app).start()

    def expiry() -> float:
        name = "traefik_toml_proxy_certificate_expiry_timestamp_seconds"
        return REGISTRY.get_sample_value(name, {"certificate": "internal_ssl"}) or 0

    await eventually(lambda: expiry() > time.time())


@pytest.mark.parametrize("certificate", [None, "of another authority"])
async def test_a_client_that_is_not_the_proxy_is_refused_by_the_server(
    made: InternalCertificates, ada: Backend, tmp_path: Path, certificate: str | None
) -> None:
    """Nobody gets past the proxy. With the certificate of the proxy, the same client is accepted."""
    client = made.client(certificate=False)
    # Before TLS 1.3, the client is told within the handshake.
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        other = make_certificate(tmp_path, "other")
        client.load_cert_chain(other.cert, other.key)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await _shake_hands(ada, client)
    assert ada.clients == []

    await _shake_hands(ada, made.client(certificate=True))
    await eventually(lambda: ada.clients == ["proxy-client"])


async def _shake_hands(server: Backend, client: ssl.SSLContext) -> None:
    where = urlsplit(server.url)
    _, writer = await asyncio.open_connection(where.hostname, where.port, ssl=client)
    writer.close()


async def test_a_server_with_a_certificate_of_another_authority_is_refused(
    proxy: TraefikTomlProxy, make_tls_backend: TlsBackendMaker, tmp_path: Path
) -> None:
    """It gets no request."""
    other = make_certificate(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.cert, other.key)
    impostor = await make_tls_backend("impostor", context)
    await proxy.add_route("/user/ada/", impostor.url, OF_ADA)

    answer = await _ask(proxy)

    assert (answer.status, answer.by) == (500, None)
    assert impostor.clients == []


async def test_the_hub_s_error_page_comes_with_the_same_certificates(
    make_proxy: ProxyMaker, made: InternalCertificates, make_tls_backend: TlsBackendMaker
) -> None:
    """A browser gets it for a server that is not there."""
    hub = await make_tls_backend("hub", made.server("hub"))
    proxy = make_proxy(app=made.app, hub=SimpleNamespace(host=hub.url, base_url="/hub/", routespec="/"))
    await proxy.start()
    await proxy.add_route("/user/ada/", f"https://127.0.0.1:{free_port()}", OF_ADA)

    answer = await get(proxy.public_url, "/user/ada/lab", headers={"Accept": "text/html"})

    assert answer.status == 503
    assert json.loads(answer.body)["path"] == "/hub/error/503"
    assert hub.clients == ["proxy-client"]


async def test_http_servers_are_reached_as_before(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """Such as a service that somebody runs beside the Hub."""
    await proxy.add_route("/services/plain/", (await make_backend("plain")).url, {"service": "plain"})

    assert (await _ask(proxy, "/services/plain/")).by == "plain"


async def test_relative_paths_are_those_of_the_hub(
    make_proxy: ProxyMaker, make_tls_backend: TlsBackendMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JupyterHub's default is the folder ``internal-ssl`` in its working directory, which is not that of Traefik."""
    monkeypatch.chdir(tmp_path)
    made = InternalCertificates("internal-ssl")
    ada = await make_tls_backend("ada", made.server("ada"))
    proxy = make_proxy(app=made.app)
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, OF_ADA)

    assert not made.key.is_absolute()
    assert (await _ask(proxy)).by == "ada"


async def test_a_renewed_certificate_is_shown_without_a_bad_request(
    proxy: TraefikTomlProxy, made: InternalCertificates, ada: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while only the key is replaced, nor when both are; routes change meanwhile."""
    monkeypatch.setattr(transport_files, "_INTERVAL", 0.05)
    answers: list[str | None] = []

    async def ask() -> None:
        while True:
            answers.append((await _ask(proxy, method="POST")).by)

    async def change_other_routes() -> None:
        for number in itertools.count():
            await proxy.add_route(f"/user/other-{number % 5}/", f"{ada.url}/{number}", {})

    async with meanwhile(ask(), ask(), change_other_routes()):
        for name in ("renewed-1", "renewed-2", "renewed-3"):
            certificate, key = await asyncio.to_thread(made.signed, name)
            key.replace(made.key)
            answers_before = len(answers)
            await eventually(functools.partial(_is_longer, answers, answers_before + 50))
            assert name not in ada.clients
            certificate.replace(made.certificate)
            await eventually(functools.partial(ada.clients.count, name))

    assert set(answers) == {"ada"}
    assert ada.clients[0] == "proxy-client"


async def test_a_websocket_stays_open_when_the_certificate_is_renewed(
    proxy: TraefikTomlProxy, made: InternalCertificates, ada: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New connections show the new certificate, and those that are open go on."""
    monkeypatch.setattr(transport_files, "_INTERVAL", 0.05)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while line := await reader.readline():
            writer.write(line)

    async with answering(echo, tls=made.server("bob")) as bob:
        await proxy.add_route("/user/bob/", bob, {"user": "bob", "server_name": ""})
        where = urlsplit(proxy.public_url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(b"GET /user/bob/ HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")

        for new, old in zip(await asyncio.to_thread(made.signed, "renewed"), (made.certificate, made.key), strict=True):
            new.replace(old)
        async with meanwhile(_keep_asking(proxy)):
            await eventually(lambda: "renewed" in ada.clients)

        writer.write(b"still there?\n")
        assert await within(10 * PATIENCE, reader.readline()) == b"still there?\n"
        writer.close()


async def _keep_asking(proxy: TraefikTomlProxy) -> None:
    while True:
        assert (await _ask(proxy)).by == "ada"


def _is_longer(answers: list[str | None], count: int) -> bool:
    return len(answers) > count


async def test_a_missing_certificate_fails_the_start(make_proxy: ProxyMaker, made: InternalCertificates) -> None:
    """The error names the file and what makes it. Traefik would start, and answer every request with 502."""
    made.key.unlink()

    with pytest.raises(ConfigurationError, match=r"proxy-client\.key cannot be used: No such file.*recreate_internal"):
        await make_proxy(app=made.app).start()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666])
async def test_a_file_that_everybody_can_read_fails_the_start(
    make_proxy: ProxyMaker, made: InternalCertificates, mode: int
) -> None:
    """The key is in it."""
    with pytest.raises(ConfigurationError, match=rf"dynamic_config_file_mode is {mode:#o}.*a key"):
        await make_proxy(app=made.app, dynamic_config_file_mode=mode).start()


async def test_the_key_is_in_the_file_with_the_routes_and_not_in_a_log(
    make_proxy: ProxyMaker, made: InternalCertificates, caplog: pytest.LogCaptureFixture, ada: Backend
) -> None:
    """Not even if Traefik logs its whole configuration."""
    caplog.set_level(logging.DEBUG)
    proxy = make_proxy(app=made.app, traefik_log_level="DEBUG")
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, OF_ADA)
    await _ask(proxy)
    await proxy.stop()

    holding = {
        path.name for path in Path(proxy.state_dir).iterdir() if path.is_file() and "KEY-----" in path.read_text()
    }
    assert holding == {"dynamic.toml", "default-key.pem"}
    assert "Configuration received" in caplog.text
    assert "KEY-----" not in caplog.text


async def test_the_admin_s_additions_to_the_transport_win(
    make_proxy: ProxyMaker, made: InternalCertificates, make_tls_backend: TlsBackendMaker, tmp_path: Path
) -> None:
    """The rest of it stays."""
    other = make_certificate(tmp_path, "other")
    context = made.server("ada")
    context.load_cert_chain(other.cert, other.key)
    ada = await make_tls_backend("ada", context)
    more = {"rootCAs": [str(other.cert)]}
    proxy = make_proxy(
        app=made.app, extra_dynamic_config={"http": {"serversTransports": {"jupyterhub-internal": more}}}
    )
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, OF_ADA)

    assert (await _ask(proxy)).by == "ada"
    assert ada.clients == ["proxy-client"]


async def test_a_traefik_that_somebody_else_runs_needs_the_file_with_the_routes_only(
    make_proxy: ProxyMaker, made: InternalCertificates, ada: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group may read that file, but not JupyterHub's folder. Renewed certificates get into the file as well."""
    monkeypatch.setattr(transport_files, "_INTERVAL", 0.05)
    file = tmp_path / "watched" / "routes.toml"
    traefik = ForeignTraefik(tmp_path, provider={"directory": str(file.parent)})
    proxy = make_proxy(
        app=made.app,
        should_start=False,
        dynamic_config_file=str(file),
        dynamic_config_file_mode=0o640,
        traefik_url=traefik.url,
        traefik_entrypoint="web",
    )
    file.parent.mkdir()

    async with traefik:
        await proxy.add_route("/user/ada/", ada.url, OF_ADA)
        assert (await get(traefik.url, "/user/ada/")).by == "ada"
        for new, old in zip(await asyncio.to_thread(made.signed, "renewed"), (made.certificate, made.key), strict=True):
            new.replace(old)

        async def shows_the_new_one() -> bool:
            assert (await get(traefik.url, "/user/ada/")).by == "ada"
            return "renewed" in ada.clients

        await eventually(shows_the_new_one)
        await proxy.stop()

    assert ada.clients[0] == "proxy-client"
    assert str(made.key.parent) not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


# Proxy.extra_routes


@pytest_asyncio.fixture
async def site(make_tls_backend: TlsBackendMaker, tmp_path: Path) -> Backend:
    """The web site of an organization with an authority of its own; it asks for a certificate, but does not demand one."""
    pair = make_certificate(tmp_path, "site")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    context.load_verify_locations(pair.cert)
    context.verify_mode = ssl.CERT_OPTIONAL
    return await make_tls_backend("site", context)


@pytest.mark.parametrize("internal_ssl", [False, True])
async def test_the_authorities_of_extra_routes_are_a_setting(
    make_proxy: ProxyMaker, made: InternalCertificates, site: Backend, tmp_path: Path, internal_ssl: bool
) -> None:
    """The site is not shown the Hub's certificate."""
    traits = {"app": made.app} if internal_ssl else {}
    proxy = make_proxy(extra_routes_ca=str(tmp_path / "site.crt"), **traits)
    await proxy.start()
    await proxy.add_route("/docs/", site.url + "/en", {"extra": True})

    assert (await _ask(proxy, "/docs/x")).seen["path"] == "/en/docs/x"
    assert site.clients == [""]


async def test_by_default_extra_routes_trust_the_authorities_of_the_operating_system(
    proxy: TraefikTomlProxy, ada: Backend, site: Backend
) -> None:
    """Not those of the Hub, which are for the inside only."""
    await proxy.add_route("/docs/", site.url, {"extra": True})
    await proxy.add_route("/inside/", ada.url, {"extra": True})

    assert [(await _ask(proxy, path)).status for path in ("/docs/", "/inside/", "/user/ada/")] == [500, 500, 200]


async def test_a_missing_file_of_authorities_fails_the_start(make_proxy: ProxyMaker, tmp_path: Path) -> None:
    """The error names the file and the setting."""
    with pytest.raises(
        ConfigurationError, match=r"none\.crt cannot be used: No such file.*c\.TraefikProxy\.extra_rout"
    ):
        await make_proxy(extra_routes_ca=str(tmp_path / "none.crt")).start()
