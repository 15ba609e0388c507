"""What a client gets if its server, or the Hub, cannot be reached, or if no route matches its request."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from support.backend import Backend, Response, get
from support.certificates import make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.mock_hub import HubMaker, add_user, needs_mock_hub
from support.ports import free_port
from support.servers import answering
from support.waiting import PATIENCE, within

from traefik_toml_proxy import TraefikTomlProxy

BROWSER = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Encoding": "gzip",
    "Authorization": "token s3cret",
    "Cookie": "session=s3cret",
    "If-None-Match": '"x"',
    "Range": "bytes=0-1",
    "Referer": "http://hub.example.org/user/dead/?token=s3cret",
    "X-XSRFToken": "s3cret",
}
PROGRAM = {"Accept": "application/json, */*", "Authorization": "token s3cret"}


@pytest_asyncio.fixture
async def hub(make_backend: BackendMaker) -> Backend:
    """Stands for the Hub, and says what reached it."""
    return await make_backend("hub")


@pytest.fixture
def hub_traits(hub: Backend) -> dict[str, Any]:
    """The traits of a proxy whose Hub that is."""
    return {"hub": SimpleNamespace(host=hub.url, base_url="/hub/", routespec="/")}


@pytest_asyncio.fixture
async def proxy(make_proxy: ProxyMaker, hub: Backend, hub_traits: dict[str, Any]) -> TraefikTomlProxy:
    """A started proxy with a route for the Hub and one for a server that is not there."""
    proxy = make_proxy(**hub_traits)
    await proxy.start()
    await proxy.add_route("/", hub.url, {"hub": True})
    await proxy.add_route("/user/dead/", f"http://127.0.0.1:{free_port()}", {})
    return proxy


def seen_by_hub(response: Response) -> dict[str, Any]:
    """Return what the Hub says about the request for its error page."""
    return Response(200, {}, response.body).seen


async def test_a_browser_gets_the_hub_s_page_for_a_dead_server(proxy: TraefikTomlProxy) -> None:
    """With status 503, as in configurable-http-proxy. The Hub learns nothing that only the server may know."""
    answer = await get(proxy.public_url, "/user/dead/lab?token=s3cret", method="POST", headers=BROWSER)
    seen = seen_by_hub(answer)

    assert answer.status == 503
    assert (seen["method"], seen["path"]) == ("GET", "/hub/error/503")
    assert seen["headers"]["Host"] == proxy.public_url.removeprefix("http://")
    assert "s3cret" not in str(seen)
    assert seen["headers"].keys() <= {
        *("Host", "Accept", "Accept-Encoding"),
        *(f"X-Forwarded-{name}" for name in ("For", "Host", "Port", "Proto", "Server")),
    }


async def test_a_secret_path_does_not_reach_the_hub(proxy: TraefikTomlProxy) -> None:
    """Whoever knows it could ask the proxy which revision is live, and read nothing else, but it stays secret."""
    secret = (await secret_path(proxy)).strip("/")
    answer = await get(proxy.public_url, "/user/dead/", headers=BROWSER)

    assert secret not in str(answer)


async def secret_path(proxy: TraefikTomlProxy) -> str:
    """Return the secret path, from the routes file."""
    text = await asyncio.to_thread((Path(proxy.state_dir) / "dynamic.toml").read_text)
    return text.split('PathPrefix(\\"')[1].split("\\")[0]


@pytest.mark.parametrize("upgrade", [False, True])
async def test_a_program_gets_a_few_words_and_the_hub_is_not_asked(
    proxy: TraefikTomlProxy, hub: Backend, upgrade: bool
) -> None:
    """The same holds for a websocket, whatever it accepts. It takes a few milliseconds."""
    headers = BROWSER | {"Connection": "Upgrade", "Upgrade": "websocket"} if upgrade else PROGRAM
    asked_before = hub.requests
    took = []
    for _ in range(20):
        began = time.perf_counter()
        status, body = await short_answer(proxy.public_url, "/user/dead/api/kernels", headers)
        took.append(time.perf_counter() - began)
        assert (status, body) == (503, b"Service Unavailable")

    assert hub.requests == asked_before
    assert min(took) < 0.01 * PATIENCE


async def short_answer(url: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """Send a request, and return the status and the body, whether or not the connection stays open."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        head = (await within(10 * PATIENCE, reader.readuntil(b"\r\n\r\n"))).decode()
        length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
        return int(head.split(" ")[1]), await within(10 * PATIENCE, reader.readexactly(length))
    finally:
        writer.close()


@pytest.mark.parametrize("headers", [BROWSER, PROGRAM])
async def test_with_the_hub_down_the_answer_brings_itself_back(make_proxy: ProxyMaker, headers: dict[str, str]) -> None:
    """A browser asks again after a few seconds, for the Hub's own pages and for those of a dead server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    proxy = make_proxy(hub=SimpleNamespace(host=url, base_url="/hub/", routespec="/"))
    await proxy.start()
    await proxy.add_route("/", url, {"hub": True})
    await proxy.add_route("/user/dead/", f"http://127.0.0.1:{free_port()}", {})

    for path in ("/hub/home", "/user/dead/lab"):
        answer = await get(proxy.public_url, path, headers=headers)
        assert (answer.status, answer.body) == (503, b"Service Unavailable")
        assert (answer.headers["refresh"], answer.headers["retry-after"]) == ("5", "5")


@pytest.mark.parametrize(("headers", "path"), [(BROWSER, "/hub/error/404"), (PROGRAM, None)])
async def test_without_a_route_the_answer_is_404(
    make_proxy: ProxyMaker, hub_traits: dict[str, Any], headers: dict[str, str], path: str | None
) -> None:
    """Before the first route, and outside of all; a browser gets the Hub's page."""
    proxy = make_proxy(**hub_traits)
    await proxy.start()
    for _ in range(2):
        answer = await get(proxy.public_url, "/nowhere?token=s3cret", headers=headers)
        assert answer.status == 404
        assert seen_by_hub(answer).get("path") == path
        assert "s3cret" not in str(answer.body)
        assert path or answer.body == b"404 page not found\n"
        await proxy.add_route("/jh/", "http://127.0.0.1:1", {})


async def test_without_a_route_among_many_the_answer_is_404(make_proxy: ProxyMaker, hub_traits: dict[str, Any]) -> None:
    """Also in a region of the users' routes, where no route encloses them."""
    proxy = make_proxy(**hub_traits)
    await proxy.start()
    await asyncio.gather(*(proxy.add_route(f"/jh/user/{n:03}/", "http://127.0.0.1:1", {}) for n in range(200)))

    for path in ("/", "/nowhere", "/jh/user/1234/", "/jh/user/00", "/jh/user/"):
        answer = await get(proxy.public_url, path, headers=BROWSER)
        assert (answer.status, seen_by_hub(answer).get("path")) == (404, "/hub/error/404")


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 505, 404, 403, 424])
async def test_of_the_answers_of_a_server_only_502_and_504_are_replaced(proxy: TraefikTomlProxy, status: int) -> None:
    """Traefik cannot tell them from its own. The Hub's own 503 and 424 are for the browser."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\n\r\nown" % status)

    async with answering(answer) as url:
        await proxy.add_route("/user/alive/", url, {})
        got = await get(proxy.public_url, "/user/alive/", headers=BROWSER)

    if status in {502, 504}:
        assert (got.status, seen_by_hub(got)["path"]) == (503, "/hub/error/503")
    else:
        assert (got.status, got.body, got.headers["set-cookie"]) == (status, b"own", "a=b")


async def test_the_page_of_the_hub_sets_no_cookie(make_proxy: ProxyMaker) -> None:
    """Its ``_xsrf`` cookie would replace that of a user who is logged in; and no page is ever "not modified"."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(
                b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nSet-Cookie: _xsrf=x\r\nEtag: "x"\r\nX-Hub: 6\r\n\r\npage'
            )

    async with answering(answer) as url:
        proxy = make_proxy(hub=SimpleNamespace(host=url, base_url="/hub/", routespec="/"))
        await proxy.start()
        got = await get(proxy.public_url, "/", headers=BROWSER)

    assert (got.status, got.body, got.headers["x-hub"]) == (404, b"page", "6")
    assert {"set-cookie", "etag"}.isdisjoint(got.headers)


async def test_error_pages_on_an_entry_point_with_tls(
    make_proxy: ProxyMaker, hub: Backend, hub_traits: dict[str, Any], tmp_path: Path
) -> None:
    """Traefik asks itself over TLS, whatever its certificate is for."""
    pair = make_certificate(tmp_path, "hub.example.org")
    url = f"https://127.0.0.1:{free_port()}"
    proxy = make_proxy(**hub_traits, **pair.traits, public_url=url)
    await proxy.start()
    await proxy.add_route("/", hub.url, {"hub": True})
    await proxy.add_route("/user/dead/", f"http://127.0.0.1:{free_port()}", {})

    answer = await get(url, "/user/dead/lab", headers=BROWSER, tls=pair.client())

    assert (answer.status, seen_by_hub(answer)["path"]) == (503, "/hub/error/503")


async def test_a_load_balancer_sees_that_traefik_is_alive(proxy: TraefikTomlProxy, hub: Backend) -> None:
    """At the path that configurable-http-proxy has for it, without the Hub."""
    answer = await get(proxy.public_url, "/_chp_healthz")

    assert (answer.status, answer.body) == (200, b"OK")
    assert hub.requests == 0


@needs_mock_hub
@pytest.mark.timeout(60)
async def test_the_pages_of_a_real_hub(make_hub: HubMaker, caplog: pytest.LogCaptureFixture) -> None:
    """It says that the server is down and where to start it again; outside of its base_url it says 404."""
    hub = await make_hub()
    user = add_user(hub, "zoe")
    await hub.proxy.add_route(user.proxy_spec, f"http://127.0.0.1:{free_port()}", {"user": "zoe", "server_name": ""})
    url = hub.proxy.public_url

    dead = await get(url, f"{user.base_url}lab?token=s3cret", headers={"Accept": "text/html"})
    nowhere = await get(url, "/nowhere", headers={"Accept": "text/html"})

    assert dead.status == 503
    assert b"Your server appears to be down" in dead.body
    assert f"{hub.base_url}hub/home".encode() in dead.body
    assert nowhere.status == 404
    assert b"404 : Not Found" in nowhere.body
    assert {"set-cookie"}.isdisjoint(dead.headers | nowhere.headers)
    assert "s3cret" not in caplog.text
