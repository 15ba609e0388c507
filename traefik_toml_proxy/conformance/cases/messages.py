"""Cases of requests and responses: methods, targets, status codes, connections. Does I/O through the stage."""

from __future__ import annotations

import asyncio

from ..backend import Exchange, respond_ok
from ..case import Group, Level, expect_equal
from ..stage import Stage, eventually

GROUP = Group("messages")
_R, _E, _B = Level.REQUIRED, Level.EXPECTED, Level.BEYOND

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_STATUSES = (200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 409, 410, 418, 422, 429)
_SERVER_ERRORS = (424, 500, 501, 503, 505, 599)
_GATEWAY_ERRORS = (502, 504)
# How many requests wait for a response at the same time.
_AT_ONCE = 30


@GROUP.case("methods", _R, "Jupyter Server's REST API uses them all")
async def _methods(stage: Stage) -> None:
    """Each method that Jupyter's APIs use reaches the backend unchanged."""
    backend = await stage.serve("/user/ada/")
    for method in _METHODS:
        body = b"x" if method in ("POST", "PUT", "PATCH") else b""
        response = await stage.request(method, "/user/ada/api", body=body)
        expect_equal((response.status, backend.last.method), (200, method), f"status and method of {method}")


@GROUP.case(
    "other-methods", _E, "RFC 9110 section 9.1: methods are extensible; WebDAV servers run behind JupyterHub as well"
)
async def _other_methods(stage: Stage) -> None:
    """Methods that a proxy does not know reach the backend unchanged."""
    backend = await stage.serve("/user/ada/")
    for method in ("PROPFIND", "REPORT", "MKCOL"):
        await stage.request(method, "/user/ada/dav")
        expect_equal(backend.last.method, method, "the method")


@GROUP.case("head", _E, "RFC 9110 section 9.3.2")
async def _head(stage: Stage) -> None:
    """The response to HEAD has the backend's headers, Content-Length included, and no body."""

    async def big(exchange: Exchange) -> None:
        await exchange.send_head("200 OK", [("Content-Length", "123456")])

    backend = await stage.serve("/user/ada/", big)
    response = await stage.request("HEAD", "/user/ada/file")
    expect_equal(backend.last.method, "HEAD", "the method")
    expect_equal((response.head.get("Content-Length"), response.body), ("123456", b""), "length and body")


@GROUP.case("statuses", _R, "configurable-http-proxy test/proxy_spec.js: responses of targets are passed on")
async def _statuses(stage: Stage) -> None:
    """The status of a response reaches the client unchanged, and no response is followed, retried or replaced."""
    backend = await stage.serve("/user/ada/", _respond_with_status)
    for status in _STATUSES:
        response = await stage.get(f"/user/ada/{status}")
        expect_equal(response.status, status, "the status")
    expect_equal(len(backend.exchanges), len(_STATUSES), "the number of requests that arrived")


@GROUP.case("server-errors", _E, "jupyterhub/handlers/base.py: the Hub has pages of its own for 503 and 424")
async def _server_errors(stage: Stage) -> None:
    """An error page of the backend reaches the client with its status, and is not replaced by one of the proxy."""
    await _expect_own_pages(stage, _SERVER_ERRORS)


@GROUP.case("gateway-errors", _B, "RFC 9110 sections 15.6.3 and 15.6.5: jupyter-server-proxy is a gateway as well")
async def _gateway_errors(stage: Stage) -> None:
    """The same holds for what the backend says about servers behind it: 502 and 504."""
    await _expect_own_pages(stage, _GATEWAY_ERRORS)


async def _expect_own_pages(stage: Stage, statuses: tuple[int, ...]) -> None:
    backend = await stage.serve("/user/ada/", _respond_with_status)
    for status in statuses:
        response = await stage.expect_by(backend, f"/user/ada/{status}")
        expect_equal((response.status, response.body), (status, b"the backend's own page"), "status and body")


@GROUP.case("reason-phrase", _B, "RFC 9112 section 4: clients should ignore it; scripts may show it all the same")
async def _reason_phrase(stage: Stage) -> None:
    """The words behind the status of a response reach the client unchanged."""

    async def say_no(exchange: Exchange) -> None:
        await exchange.reply("409 The Kernel Is Busy", body=b"x")

    await stage.serve("/user/ada/", say_no)
    response = await stage.get("/user/ada/")
    expect_equal(response.head.first.partition(" ")[2], "409 The Kernel Is Busy", "status and words")


async def _respond_with_status(exchange: Exchange) -> None:
    await exchange.read()
    status = exchange.target.rsplit("/", 1)[1]
    await exchange.reply(f"{status} Whatever", body=b"the backend's own page")


@GROUP.case("redirects", _R, "jupyterhub/handlers/base.py: redirects are made for the browser")
async def _redirects(stage: Stage) -> None:
    """The Location of a redirect reaches the client byte for byte."""
    locations = (
        "/hub/login?next=%2Fuser%2Fada%2F",
        "http://elsewhere.example/x",
        "../y",
        "?x",
        "https://127.0.0.1:1/a//b",
    )

    async def redirect(exchange: Exchange) -> None:
        await exchange.reply("302 Found", [("Location", locations[int(exchange.target.rsplit("/", 1)[1])])])

    await stage.serve("/user/ada/", redirect)
    for number, location in enumerate(locations):
        response = await stage.get(f"/user/ada/{number}")
        expect_equal((response.status, response.head.get("Location")), (302, location), "status and Location")


async def _expect_unchanged(stage: Stage, *targets: str) -> None:
    backend = await stage.serve("/user/ada/")
    for target in targets:
        await stage.expect_by(backend, target)
        expect_equal(backend.last.target, target, "the target that arrived")


@GROUP.case("path-is-kept", _R, "jupyterhub/docs/source/howto/proxy.md: the prefix is not stripped")
async def _path_is_kept(stage: Stage) -> None:
    """The backend gets the whole path of the request, with the prefix of its route."""
    await _expect_unchanged(stage, "/user/ada/", "/user/ada/lab/tree")


@GROUP.case("query-is-kept", _R, "RFC 3986 section 3.4; configurable-http-proxy passes on req.url")
async def _query_is_kept(stage: Stage) -> None:
    """The query reaches the backend byte for byte."""
    await _expect_unchanged(stage, "/user/ada/x?a=1&b=%20+%2B&a=2", "/user/ada/x?a?b/c=d&&=")


@GROUP.case("semicolon", _E, "file names may have a semicolon, and old servers take it for '&'")
async def _semicolon(stage: Stage) -> None:
    """A semicolon in the path reaches the backend unchanged, and one in the query either raw or encoded."""
    await _expect_unchanged(stage, "/user/ada/a;b/x")
    backend = await stage.serve("/user/ada/")
    await stage.expect_by(backend, "/user/ada/x?a=1;b=2&c=3")
    expect_equal(backend.last.target.replace("%3B", ";"), "/user/ada/x?a=1;b=2&c=3", "the target that arrived")


@GROUP.case("raw-semicolon", _B, "RFC 3986 section 2.2: ';' and '%3B' need not be the same")
async def _raw_semicolon(stage: Stage) -> None:
    """A raw semicolon in the query reaches the backend raw."""
    await _expect_unchanged(stage, "/user/ada/x?a=1;b=2")


@GROUP.case("encoded-slash", _E, "Jupyter's contents API takes file names with %2F")
async def _encoded_slash(stage: Stage) -> None:
    """``%2F`` in a path reaches the backend unchanged."""
    await _expect_unchanged(stage, "/user/ada/files/a%2Fb", "/user/ada/files/a%2Fb%2F")


@GROUP.case("double-slash", _E, "jupyter-server-proxy passes on URLs with '//'")
async def _double_slash(stage: Stage) -> None:
    """Consecutive slashes are neither merged nor removed."""
    await _expect_unchanged(stage, "/user/ada//x", "/user/ada/proxy/http://x//y/", "/user/ada/x//")


@GROUP.case("percent", _E, "RFC 3986 section 2.4: what is encoded twice is decoded twice")
async def _percent(stage: Stage) -> None:
    """Escapes of characters that must be escaped reach the backend unchanged."""
    await _expect_unchanged(
        stage, "/user/ada/%25", "/user/ada/%2525", "/user/ada/%C3%BC", "/user/ada/a%20b%2Bc+d%3F%23"
    )


@GROUP.case("equivalent", _B, "RFC 3986 section 6.2.2: these may be normalised, but need not be")
async def _equivalent(stage: Stage) -> None:
    """Lower-case escapes, unnecessary escapes and an empty query reach the backend unchanged."""
    await _expect_unchanged(stage, "/user/ada/x?", "/user/ada/a%2fb", "/user/ada/%c3%bc", "/user/ada/%41%7E")


@GROUP.case("reserved", _E, "https://url.spec.whatwg.org/#path-percent-encode-set")
async def _reserved(stage: Stage) -> None:
    """Characters that browsers do not escape reach the backend unchanged."""
    await _expect_unchanged(stage, "/user/ada/@:!$&'()*+,=~-._", "/user/ada/x?@:!$&()*+,=~-._/?")


@GROUP.case("long-target", _E, "jupyterhub/handlers: OAuth states and next URLs are long")
async def _long_target(stage: Stage) -> None:
    """A target of 6,000 characters reaches the backend in full."""
    await _expect_unchanged(stage, "/user/ada/x?state=" + "a" * 6_000)


@GROUP.case("target-with-path", _E, "jupyterhub/proxy.py: extra_routes; configurable-http-proxy --prepend-path")
async def _target_with_path(stage: Stage) -> None:
    """The path of a target is prepended to the path of each request."""
    backend = await stage.backend("extra")
    await stage.add("/extra/", f"{backend.url}/a/b")
    await stage.expect_by(backend, "/extra/x?y")
    expect_equal(backend.last.target, "/a/b/extra/x?y", "the target that arrived")


@GROUP.case("keep-alive", _E, "RFC 9112 section 9.3")
async def _keep_alive(stage: Stage) -> None:
    """Many requests can be sent over one connection, one after another."""
    ada, bob = await stage.serve("/user/ada/"), await stage.serve("/user/bob/")
    async with stage.connect() as connection:
        for number in range(50):
            backend = (ada, bob)[number % 2]
            response = await connection.request("GET", f"{backend.name}{number}")
            expect_equal((response.status, response.by), (200, backend.name), f"status and backend of request {number}")


@GROUP.case("at-once", _R, "a whole class opens its notebooks at the same time")
async def _at_once(stage: Stage) -> None:
    """Requests that wait for a response do not delay others, not even to the same backend."""
    arrived, go_on = 0, asyncio.Event()

    async def respond_late(exchange: Exchange) -> None:
        nonlocal arrived
        arrived += 1
        await go_on.wait()
        await respond_ok(exchange)

    async def all_wait() -> bool:
        return arrived == _AT_ONCE

    await stage.serve("/user/ada/", respond_late)
    bob = await stage.serve("/user/bob/")
    late = [asyncio.create_task(stage.get(f"/user/ada/{number}")) for number in range(_AT_ONCE)]
    try:
        await eventually(all_wait, within=15, what=f"{_AT_ONCE} requests reached a backend that answered none of them")
        await stage.expect_by(bob, "/user/bob/")
        go_on.set()
        responses = await asyncio.gather(*late)
    finally:
        go_on.set()
        for task in late:
            task.cancel()
    expect_equal({response.status for response in responses}, {200}, "the statuses")


@GROUP.case("slow-client", _E, "people work on trains")
async def _slow_client(stage: Stage) -> None:
    """A client that sends its request byte by byte, with pauses, gets a response."""
    backend = await stage.serve("/user/ada/")
    text = f"POST /user/ada/x HTTP/1.1\r\nHost: {stage.url.split('//')[1]}\r\nContent-Length: 3\r\n\r\nabc"
    async with stage.connect() as connection:
        for character in text.encode():
            await connection.send(bytes([character]))
            await asyncio.sleep(0.01)
        response = await connection.response()
    expect_equal((response.status, backend.last.body), (200, b"abc"), "status and body")


@GROUP.case("slow-backend", _E, "starting a kernel takes time, and so does a long computation behind an API")
async def _slow_backend(stage: Stage) -> None:
    """A backend may take several seconds to respond."""

    async def respond_slowly(exchange: Exchange) -> None:
        await asyncio.sleep(6)
        await respond_ok(exchange)

    backend = await stage.serve("/user/ada/", respond_slowly)
    await stage.expect_by(backend, "/user/ada/")


@GROUP.case("closed-keep-alive", _E, "RFC 9112 section 9.6: a server may close an idle connection at any time")
async def _closed_keep_alive(stage: Stage) -> None:
    """No request is lost when a backend closes each connection after its response without announcing it."""

    async def answer_and_close(exchange: Exchange) -> None:
        await respond_ok(exchange)
        exchange.last = True

    backend = await stage.serve("/user/ada/", answer_and_close)
    for _ in range(20):
        await stage.expect_by(backend, "/user/ada/")
        await asyncio.sleep(0.02)


@GROUP.case("http-1.0", _B, "RFC 9110 section 2.5: old clients and health checks")
async def _http_1_0(stage: Stage) -> None:
    """An HTTP/1.0 request gets a response."""
    backend = await stage.serve("/user/ada/")
    async with stage.connect() as connection:
        await connection.send(f"GET /user/ada/ HTTP/1.0\r\nHost: {connection.host}\r\n\r\n".encode())
        response = await connection.response()
    expect_equal((response.status, response.by), (200, backend.name), "status and backend")
