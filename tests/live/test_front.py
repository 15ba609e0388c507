"""What the front routers do to every request: nothing that the client or the server could notice, but for their rules."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import pytest_asyncio
from support.backend import get
from support.certificates import make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.ports import free_port
from support.servers import answering
from support.waiting import PATIENCE, within

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import TraefikStartFailed

PLAIN = b"compress me " * 1_000
PACKED = gzip.compress(PLAIN, mtime=0)
PART = PLAIN[:100]


async def _compressing_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a server does that compresses if it may; the answer says what was accepted."""
    while request := (await reader.readuntil(b"\r\n\r\n")).decode():
        fields = dict(line.lower().split(": ", 1) for line in request.split("\r\n")[1:] if line)
        accepted = fields.get("accept-encoding", "")
        body = PART if "range" in fields else PACKED if "gzip" in accepted else PLAIN
        more = "Content-Encoding: gzip\r\n" if body is PACKED else ""
        status = "206 Partial Content" if body is PART else "200 OK"
        head = f'HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nETag: "x"\r\n{more}X-Accepted: {accepted}\r\n\r\n'
        writer.write(head.encode() + (b"" if request.startswith("HEAD") else body))
        await writer.drain()


@pytest_asyncio.fixture
async def compressing() -> AsyncIterator[str]:
    """The URL of such a server."""
    async with answering(_compressing_server) as url:
        yield url


@pytest.mark.parametrize(
    ("method", "sent", "accepted", "body"),
    [
        ("GET", {}, "identity", PLAIN),
        ("GET", {"Accept-Encoding": ""}, "identity", PLAIN),
        ("GET", {"Accept-Encoding": "identity"}, "identity", PLAIN),
        ("GET", {"Accept-Encoding": "br"}, "br", PLAIN),
        ("GET", {"Accept-Encoding": "gzip, br"}, "gzip, br", PACKED),
        ("POST", {"Content-Length": "0"}, "identity", PLAIN),
        ("GET", {"Range": "bytes=0-99"}, "", PART),
        ("HEAD", {}, "", b""),
    ],
)
async def test_a_body_arrives_as_the_server_has_sent_it(
    proxy: TraefikTomlProxy, compressing: str, method: str, sent: dict[str, str], accepted: str, body: bytes
) -> None:
    """Go would ask for gzip and unpack the answer, but leave its ETag, if the client does not say what it accepts."""
    await proxy.add_route("/", compressing, {})

    answer = await get(proxy.public_url, "/file", method=method, headers=sent)

    assert answer.body == body
    assert answer.headers["x-accepted"] == accepted
    assert answer.headers["etag"] == '"x"'
    assert answer.headers["content-length"] == str(len(body or PLAIN))
    assert (answer.headers.get("content-encoding") == "gzip") == (body is PACKED)


@pytest.mark.parametrize(("accepts", "body"), [(None, PLAIN), ("gzip", PACKED)])
async def test_a_body_arrives_as_it_is_over_http_2(
    make_proxy: ProxyMaker, compressing: str, tmp_path: Path, accepts: str | None, body: bytes
) -> None:
    """Browsers use it on every entry point with TLS."""
    pair = make_certificate(tmp_path, "hub.example.org")
    proxy = make_proxy(**pair.traits, public_url=f"https://127.0.0.1:{free_port()}")
    await proxy.start()
    await proxy.add_route("/", compressing, {})

    headers, got = await _get_over_http_2(proxy.public_url, pair.client(), accepts)

    assert (headers[":status"], headers["content-length"], got) == ("200", str(len(body)), body)
    assert headers["x-accepted"] == (accepts or "identity")


async def _get_over_http_2(
    url: str,
    tls: ssl.SSLContext,
    accepts: str | None,
    *,
    host: str = "hub.example.org",
    path: str = "/file",
    more: tuple[tuple[str, str], ...] = (),
) -> tuple[dict[str, str], bytes]:
    tls.set_alpn_protocols(["h2"])
    address, _, port = url.removeprefix("https://").partition(":")
    reader, writer = await asyncio.open_connection(address, int(port), ssl=tls)
    try:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        asked = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", path), *more]
        connection.send_headers(1, [*asked, *([("accept-encoding", accepts)] if accepts else [])], end_stream=True)
        headers: dict[str, str] = {}
        body = b""
        while True:
            writer.write(connection.data_to_send())
            received = await within(10 * PATIENCE, reader.read(2**16))
            assert received, "the connection was closed"
            for event in connection.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = {str(name): str(value) for name, value in event.headers or ()}
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data or b""
                elif isinstance(event, h2.events.StreamEnded):
                    return headers, body
    finally:
        writer.close()


@pytest.mark.parametrize(
    "host",
    [
        *("x/user/mallory/?", "x:1/user/mallory?", "x/../user/mallory/?", "x/%2e%2e/user/mallory/?", "x/?", "x?", "x#"),
        *("x/error/y?", "x/error/../y?", "x/error/503/../y?", "x/error/503/%0A/y?"),
    ],
)
async def test_no_client_chooses_where_an_error_page_comes_from(
    make_proxy: ProxyMaker, make_backend: BackendMaker, tmp_path: Path, host: str
) -> None:
    """Traefik puts the host of a request into the URL of the page. Over HTTP/2, that can be any text, also a path."""
    pair = make_certificate(tmp_path, "hub.example.org")
    hub, mallory = await make_backend("hub"), await make_backend("mallory")
    proxy = make_proxy(
        **pair.traits,
        public_url=f"https://127.0.0.1:{free_port()}",
        hub=SimpleNamespace(host=hub.url, base_url="/hub/", routespec="/"),
    )
    await proxy.start()
    await proxy.add_route("/", hub.url, {})
    await proxy.add_route("/user/mallory/", mallory.url, {})
    await proxy.add_route("/user/dead/", f"http://127.0.0.1:{free_port()}", {})

    headers, body = await _get_over_http_2(
        proxy.public_url, pair.client(), "gzip", host=host, path="/user/dead/", more=(("accept", "text/html"),)
    )

    assert headers[":status"] == "503"
    assert mallory.requests == 0
    assert (hub.requests, b"/hub/error/503" in body) in {(0, False), (1, True)}


FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example.org",
    "X-Real-Ip": "6.6.6.6",
    "X-Scheme": "https",
    "Forwarded": "for=6.6.6.6;proto=https",
}


@pytest.mark.parametrize("more", [{}, {"Accept-Encoding": "gzip"}])
async def test_nobody_can_pretend_to_be_somebody_else(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, more: dict[str, str]
) -> None:
    """JupyterHub and Tornado believe each of these headers; a client that is not trusted reaches them with none of it."""
    backend = await make_backend("hub")
    await proxy.add_route("/", backend.url, {})
    hidden = dict.fromkeys(("X-Scheme", "Forwarded"), "")
    for forged in (FORGED, *({name: value} for name, value in FORGED.items()), hidden):
        seen = (await get(proxy.public_url, "/", headers=forged | more)).seen["headers"]

        assert not {"6.6.6.6", "https", "evil.example.org"} & set(seen.values())
        assert (seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]) == ("127.0.0.1", "http")
        assert {"Forwarded", "X-Scheme"}.isdisjoint(seen)


@pytest.mark.parametrize("more", [{}, {"Accept-Encoding": "gzip"}])
async def test_a_trusted_proxy_tells_who_the_client_is(
    make_proxy: ProxyMaker, make_backend: BackendMaker, more: dict[str, str]
) -> None:
    """Its own address, which Traefik adds as X-Real-Ip, would win over what it says in X-Forwarded-For."""
    proxy = make_proxy(trusted_proxies=["10.0.0.0/8", "127.0.0.1"])
    await proxy.start()
    await proxy.add_route("/", (await make_backend("hub")).url, {})

    seen = (await get(proxy.public_url, "/", headers=FORGED | more)).seen["headers"]

    assert seen["X-Forwarded-For"] == "6.6.6.6, 127.0.0.1"
    assert seen["X-Forwarded-Proto"] == "https"
    assert (seen["X-Scheme"], seen["Forwarded"]) == ("https", "for=6.6.6.6;proto=https")
    assert "X-Real-Ip" not in seen


async def test_route_middlewares_are_for_all_routes_and_nothing_else(
    make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """The Hub still sees that its routes are live, and a load balancer that Traefik is alive."""
    mark = {"headers": {"customResponseHeaders": {"X-Mark": "here"}}}
    nobody = {"ipAllowList": {"sourceRange": ["10.255.255.255"]}}
    proxy = make_proxy(route_middlewares={"mark": mark, "nobody": nobody})
    await proxy.start()
    backend = await make_backend("hub")
    for routespec in ("/", "/user/alice/"):
        await proxy.add_route(routespec, backend.url, {})

    for path in ("/", "/user/alice/lab", "/hub/home"):
        answer = await get(proxy.public_url, path)
        assert (answer.status, answer.headers["x-mark"]) == (403, "here")
    assert (await get(proxy.public_url, "/_chp_healthz")).status == 200
    assert backend.requests == 0


async def test_a_broken_route_middleware_is_an_error_at_start(make_proxy: ProxyMaker) -> None:
    """Traefik refuses the whole file; the error has its words."""
    proxy = make_proxy(route_middlewares={"mine": {"noSuchKind": {}}}, start_timeout=3 * PATIENCE)

    with pytest.raises(TraefikStartFailed, match="noSuchKind"):
        await proxy.start()


@pytest.mark.parametrize(
    ("middlewares", "words"),
    [
        ({"missing": {}}, "missing@file.* does not exist"),
        ({"auth@docker": {}}, "auth@docker.* does not exist"),
        ({"campus": {"ipAllowList": {"sourceRange": ["nonsense"]}}}, "nonsense"),
    ],
)
async def test_a_route_middleware_that_cannot_work_is_an_error_at_start(
    make_proxy: ProxyMaker, middlewares: dict[str, Any], words: str
) -> None:
    """Traefik takes the file, and answers every request with 404."""
    hub = SimpleNamespace(host="http://127.0.0.1:1", base_url="/hub/", routespec="/")
    proxy = make_proxy(route_middlewares=middlewares, hub=hub)

    with pytest.raises(TraefikStartFailed, match=rf"(?s)c\.TraefikProxy\.route_middlewares.*{words}"):
        await proxy.start()
