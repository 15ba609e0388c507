"""InProcessProxy with https: certificates that are taken anew, plain http that is sent to https, and whom it believes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import ssl
import struct
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.certificates import Pair, make_certificate
from support.in_process import InProcessMaker, ServerMaker, connect, keep_all
from support.ports import free_port
from support.waiting import eventually, within

from traefik_toml_proxy.conformance.backend import Backend, Exchange
from traefik_toml_proxy.conformance.client import Connection, unverified
from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.inprocess import accepting, renewal
from traefik_toml_proxy.proxies.inprocess import InProcessProxy

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """The admin's certificate and its key."""
    return make_certificate(tmp_path, "hub")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are looked at more often."""
    monkeypatch.setattr(renewal, "_INTERVAL", 0.05)


async def shown_by(proxy: InProcessProxy) -> str:
    """Return the certificate that a new handshake shows; that it succeeds proves that the key belongs to it."""
    async with Connection(proxy.public_url) as connection:
        shown = connection.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(shown)


@pytest.mark.usefixtures("quick")
async def test_a_renewed_certificate_is_shown_when_both_files_fit(
    make_in_process: InProcessMaker,
    serve: ServerMaker,
    pair: Pair,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Until then, the one before; and connections that are open go on."""
    caplog.set_level(logging.INFO)
    proxy = make_in_process(public_url=f"https://127.0.0.1:{free_port()}/", **pair.traits)
    await proxy.start()
    await serve(proxy)
    new = make_certificate(tmp_path, "new")
    old_text, new_text = pair.cert.read_text(), new.cert.read_text()
    async with connect(proxy) as connection:
        assert await shown_by(proxy) == old_text
        shutil.copy(new.key, pair.key)
        await eventually(lambda: "is not the key of the first certificate" in caplog.text)
        assert await shown_by(proxy) == old_text
        shutil.copy(new.cert, pair.cert)
        await eventually(lambda: "is in service" in caplog.text)
        assert await shown_by(proxy) == new_text
        assert (await within(20, connection.request("GET", "/user/ada/"))).status == 200
        pair.cert.write_text("")
        await eventually(lambda: "is empty" in caplog.text)
        pair.cert.write_text(new_text)
        await eventually(lambda: "fits again" in caplog.text)
        assert await shown_by(proxy) == new_text


async def test_a_certificate_that_does_not_fit_is_named(
    make_in_process: InProcessMaker, pair: Pair, tmp_path: Path
) -> None:
    """And nothing listens."""
    other = make_certificate(tmp_path, "other")
    url = f"https://127.0.0.1:{free_port()}/"
    with pytest.raises(ConfigurationError, match="is not the key of the first certificate"):
        await make_in_process(public_url=url, ssl_cert=str(pair.cert), ssl_key=str(other.key)).start()
    with pytest.raises(OSError, match=r"refused|failed"):
        await Connection(url).__aenter__()


@pytest.mark.parametrize(
    ("hub_url", "port"), [("", "{port}"), ("https://hub.example.org/", ""), ("https://hub.example.org:8443/", ":8443")]
)
async def test_plain_http_is_sent_to_https(
    make_in_process: InProcessMaker, pair: Pair, hub_url: str, port: str
) -> None:
    """To the port where users reach it."""
    here, plain = free_port(), free_port()
    app = type("App", (), {"internal_ssl": False, "subdomain_host": "", "public_url": hub_url})()
    proxy = make_in_process(
        public_url=f"https://127.0.0.1:{here}/", redirect_http=f"127.0.0.1:{plain}", app=app, **pair.traits
    )
    await proxy.start()
    async with Connection(f"http://127.0.0.1:{plain}") as connection:
        for _ in range(2):  # the connection stays open, as the answer says
            answer = await within(20, connection.request("GET", "/a//%2f?b", [("Host", "hub.example.org:80")]))
            assert answer.head.get("Connection") is None
        await within(20, connection.request("GET", "/", [("Connection", "close")]))
        assert await within(20, connection.reader.read()) == b""

    end = f":{here}" if port == "{port}" else port
    assert (answer.status, answer.head.get("Location")) == (302, f"https://hub.example.org{end}/a//%2f?b")
    with pytest.raises(ConfigurationError, match="no https"):
        await make_in_process(redirect_http=80).start()


async def test_a_server_with_an_unknown_certificate_gets_nothing(
    make_in_process: InProcessMaker, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless extra_routes_ca names its authority; and JupyterHub's own targets are no extra routes."""
    async with Backend("site", tls=pair.server()) as site:
        for authority, data, status in (
            ("", {"extra": True}, 503),
            (str(pair.cert), {"extra": True}, 200),
            (str(pair.cert), {"user": "ada"}, 503),
        ):
            proxy = make_in_process(extra_routes_ca=authority)
            await proxy.start()
            await proxy.add_route("/site/", site.url, data)
            async with connect(proxy) as connection:
                answer = await within(20, connection.request("GET", "/site/", [("Cookie", "secret")]))
            assert answer.status == status
            await proxy.stop()
        assert len(site.exchanges) == 1
    await eventually(lambda: caplog.text.count("its certificate is not trusted (self-signed certificate)") == 2)
    with pytest.raises(ConfigurationError, match=r"c\.InProcessProxy\.extra_routes_ca names this file"):
        await make_in_process(extra_routes_ca="/nowhere/ca.pem").start()


@pytest.mark.parametrize(
    ("trusted", "proto", "address"),
    [([], "http", "127.0.0.1"), (["10.0.0.1"], "http", "127.0.0.1"), (["127.0.0.0/8"], "https", "1.2.3.4, 127.0.0.1")],
)
async def test_only_trusted_proxies_are_believed(
    make_in_process: InProcessMaker, serve: ServerMaker, trusted: list[str], proto: str, address: str
) -> None:
    """c.InProcessProxy.trusted_proxies"""
    proxy = make_in_process(trusted_proxies=trusted)
    await proxy.start()
    server = await serve(proxy)
    async with connect(proxy) as connection:
        said = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "1.2.3.4"), ("X-Real-Ip", "1.2.3.4")]
        await within(20, connection.request("GET", "/user/ada/", said))

    head = server.last.head
    assert [head.get(f"X-Forwarded-{name}") for name in ("Proto", "For")] == [proto, address]
    assert head.get("X-Real-Ip") is None


async def test_a_client_that_has_gone_is_still_known(make_in_process: InProcessMaker, serve: ServerMaker) -> None:
    """What it has sent before it has reset its connection may still be read, and its socket no longer says who it was."""
    proxy = make_in_process(trusted_proxies=["127.0.0.1"])
    await proxy.start()
    server = await serve(proxy)
    for _ in range(50):
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.2", 0))
            stranger.connect(("127.0.0.1", int(proxy.public_url.rpartition(":")[2])))
            stranger.sendall(b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await eventually(lambda: server.exchanges)
    async with connect(proxy) as connection:
        await within(20, connection.request("GET", "/user/ada/"))

    said = {exchange.head.get("X-Forwarded-For") for exchange in server.exchanges}
    assert said <= {"127.0.0.1", "127.0.0.2"}


async def test_a_client_that_begins_no_handshake_is_sent_away(
    make_in_process: InProcessMaker, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hold a connection for ever."""
    monkeypatch.setattr(accepting, "HANDSHAKE_SECONDS", 0.2)
    proxy = make_in_process(public_url=f"https://127.0.0.1:{free_port()}/", **pair.traits)
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.public_url.rsplit(":")[-1].strip("/")))
    ended: Any = b"?"
    try:
        ended = await within(20, reader.read())
    except ConnectionError:
        ended = b""
    writer.close()

    assert ended == b""


async def test_handshakes_that_never_end_are_counted(
    make_in_process: InProcessMaker, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub keeps its descriptors, and those who are inside go on; when they have left, others come in again."""
    keep_all(monkeypatch)
    proxy = make_in_process(public_url=f"https://127.0.0.1:{free_port()}/", most_connections=20, **pair.traits)
    await proxy.start()
    port = int(proxy.public_url.rsplit(":")[-1].strip("/"))

    async def is_open() -> bool:
        try:
            async with connect(proxy) as connection:
                return (await within(20, connection.request("GET", "/_chp_healthz"))).status == 200
        except OSError:
            return False

    async with connect(proxy) as inside:
        assert (await within(20, inside.request("GET", "/_chp_healthz"))).status == 200
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        ended = [asyncio.ensure_future(reader.read()) for reader, _ in silent]
        await eventually(lambda: sum(each.done() for each in ended) == 41)
        assert not await is_open()
        assert (await within(20, inside.request("GET", "/_chp_healthz"))).status == 200
        for _, writer in silent:
            writer.transport.abort()
        await asyncio.wait(ended)
        assert [each.exception() for each in ended if each.exception()] == []

    await eventually(is_open)


@pytest.mark.parametrize("size", [2_990_000, 3_030_000, 3_070_000])
async def test_a_stop_leaves_the_end_of_an_answer_time_to_go_out(
    make_in_process: InProcessMaker, serve: ServerMaker, pair: Pair, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """All of it may have been given to TLS, and still wait there for a client that takes it slowly."""

    async def be_large(exchange: Exchange) -> None:
        await exchange.reply(body=b"x" * size)

    caplog.set_level(logging.INFO)
    proxy = make_in_process(public_url=f"https://127.0.0.1:{free_port()}/", access_log=True, **pair.traits)
    await proxy.start()
    await serve(proxy, handler=be_large)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", urlsplit(proxy.public_url).port or 0))
    reader, writer = await asyncio.open_connection(sock=client, limit=1024, ssl=unverified(), server_hostname="")
    writer.write(b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\n\r\n")
    await within(20, reader.readuntil(b"\r\n\r\n"))
    with contextlib.suppress(AssertionError):  # the proxy may not have all of it before the client takes more
        await eventually(lambda: "(route '/user/ada/'): 200" in caplog.text, within=0.5)
    stopping = asyncio.ensure_future(proxy.stop())
    body = await within(30, reader.readexactly(size))
    assert len(body) == size
    await within(20, stopping)
    writer.transport.abort()


async def test_no_connection_to_a_server_is_left_when_the_proxy_has_stopped(
    make_in_process: InProcessMaker, pair: Pair
) -> None:
    """Not even one whose server does not answer when it is to be closed: over TLS, that would take half a minute."""
    accepted: list[ssl.SSLSocket] = []

    def serve(listening: socket.socket) -> None:
        connection = pair.server().wrap_socket(listening.accept()[0], server_side=True)
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        accepted.append(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        serving = asyncio.ensure_future(asyncio.to_thread(serve, listening))
        proxy = make_in_process(extra_routes_ca=str(pair.cert))
        await proxy.start()
        await proxy.add_route("/site/", f"https://localhost:{listening.getsockname()[1]}", {"extra": True})
        async with connect(proxy) as connection:
            assert (await within(20, connection.request("GET", "/site/"))).body == b"ok"
        await within(20, serving)
        await proxy.stop()

    with socket.socket(fileno=accepted[0].detach()) as raw:
        raw.settimeout(10)
        while await asyncio.to_thread(raw.recv, 1000):
            pass
