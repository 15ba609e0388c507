"""Cases of headers, in both directions. Does I/O through the stage."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..backend import Exchange
from ..case import Group, Level, expect, expect_equal
from ..stage import Stage

GROUP = Group("headers")
_R, _E, _B = Level.REQUIRED, Level.EXPECTED, Level.BEYOND


@GROUP.case("host", _R, "jupyterhub/handlers: redirects and the check of Origin are made from the Host header")
async def _host(stage: Stage) -> None:
    """The Host header reaches the backend as the client sent it, with its port."""
    backend = await stage.serve("/user/ada/")
    for host in (stage.url.split("//")[1], "hub.example.org", "hub.example.org:8443"):
        await stage.get("/user/ada/", [("Host", host)])
        expect_equal(backend.last.head.get("Host"), host, "the Host header")


@GROUP.case(
    "request",
    _R,
    "JupyterHub has its tokens in Authorization and its sessions in Cookie; its XSRF check reads Origin and Referer",
)
async def _request(stage: Stage) -> None:
    """Authorization, Cookie, Origin, Referer and unknown headers reach the backend unchanged."""
    sent = {
        "Authorization": "token abc==",
        "Cookie": 'a="1 2"; b=%20; _xsrf=2|x|y|1',
        "Origin": "https://hub.example.org",
        "Referer": "https://hub.example.org/hub/home?x",
        "X-XSRFToken": "2|x|y",
        "Accept": "text/html;q=0.9, */*;q=0.1",
        "Accept-Encoding": "gzip, br",
        "User-Agent": "conformance/1",
        "If-None-Match": 'W/"x"',
        "Range": "bytes=0-1",
        "X-Anything": 'a,b ; c="d"',
    }
    backend = await stage.serve("/user/ada/")
    await stage.get("/user/ada/", list(sent.items()))
    arrived = {name: backend.last.head.get(name) for name in sent}
    expect_equal(arrived, sent, "the headers that arrived")


@GROUP.case("response", _R, "what a server says about its response is for the browser")
async def _response(stage: Stage) -> None:
    """The headers of a response reach the client unchanged."""
    said = {
        "Content-Type": "text/html; charset=UTF-8",
        "ETag": 'W/"abc"',
        "Cache-Control": "no-store, max-age=0",
        "Content-Security-Policy": "frame-ancestors 'self'; report-uri /x",
        "X-Frame-Options": "DENY",
        "Content-Disposition": "attachment; filename*=UTF-8''a%20b",
        "Last-Modified": "Tue, 15 Nov 1994 12:45:26 GMT",
        "Vary": "Cookie",
        "WWW-Authenticate": 'Basic realm="x"',
        "X-JupyterHub-Version": "6",
    }

    async def say(exchange: Exchange) -> None:
        await exchange.reply(headers=said.items(), body=b"x")

    await stage.serve("/user/ada/", say)
    response = await stage.get("/user/ada/")
    expect_equal({name: response.head.get(name) for name in said}, said, "the headers that came back")


@GROUP.case("set-cookie", _R, "jupyterhub/handlers/base.py: a login sets several cookies at once")
async def _set_cookie(stage: Stage) -> None:
    """Several Set-Cookie headers remain separate headers, in their order."""
    cookies = ["a=1; Path=/; HttpOnly", "b=2; expires=Wed, 01 Jan 2031 00:00:00 GMT; Path=/hub/", "a=3"]

    async def say(exchange: Exchange) -> None:
        await exchange.reply(headers=[("Set-Cookie", cookie) for cookie in cookies], body=b"x")

    await stage.serve("/user/ada/", say)
    response = await stage.get("/user/ada/")
    expect_equal(response.head.get_all("Set-Cookie"), cookies, "the cookies")


@GROUP.case(
    "forwarded",
    _R,
    "jupyterhub/handlers/base.py and jupyter-server read X-Forwarded-Proto and -Host; CHP sets them (xfwd)",
)
async def _forwarded(stage: Stage) -> None:
    """X-Forwarded-For, -Proto, -Host and -Port tell the backend the client's address and which URL it used."""
    backend = await stage.serve("/user/ada/")
    where = urlsplit(stage.url)
    await stage.get("/user/ada/")
    head = backend.last.head
    expect_equal(head.get("X-Forwarded-Proto"), "http", "X-Forwarded-Proto")
    expect_equal(head.get("X-Forwarded-Host"), where.netloc, "X-Forwarded-Host")
    expect_equal(head.get("X-Forwarded-Port"), str(where.port), "X-Forwarded-Port")
    address = (head.get("X-Forwarded-For") or "").removeprefix("::ffff:")
    expect_equal(address, "127.0.0.1", "X-Forwarded-For")


@GROUP.case("hop-by-hop", _B, "RFC 9110 section 7.6.1")
async def _hop_by_hop(stage: Stage) -> None:
    """Headers that are named in the Connection header are meant for the proxy, and do not reach the backend."""
    backend = await stage.serve("/user/ada/")
    await stage.get("/user/ada/", [("Connection", "keep-alive, X-For-The-Proxy"), ("X-For-The-Proxy", "1")])
    expect_equal(backend.last.head.get("X-For-The-Proxy"), None, "X-For-The-Proxy")


@GROUP.case("many", _E, "browsers behind single sign-on send dozens of headers and cookies")
async def _many(stage: Stage) -> None:
    """80 headers reach the backend, and 80 come back."""
    headers = [(f"X-Header-{number}", str(number) * 20) for number in range(80)]

    async def say(exchange: Exchange) -> None:
        await exchange.reply(headers=headers, body=b"x")

    backend = await stage.serve("/user/ada/", say)
    response = await stage.get("/user/ada/", headers)
    arrived = [(name, backend.last.head.get(name)) for name, _ in headers]
    expect_equal(arrived, headers, "the headers that arrived")
    expect_equal([(name, response.head.get(name)) for name, _ in headers], headers, "the headers that came back")


@GROUP.case("large", _E, "cookies of single sign-on are large; Node takes 16 KiB of headers")
async def _large(stage: Stage) -> None:
    """A header of 8,000 characters reaches the backend, and one comes back."""
    large = "x" * 8_000

    async def say(exchange: Exchange) -> None:
        await exchange.reply(headers=[("X-Large", large)], body=b"x")

    backend = await stage.serve("/user/ada/", say)
    response = await stage.get("/user/ada/", [("Cookie", f"large={large}")])
    expect_equal(backend.last.head.get("Cookie"), f"large={large}", "the Cookie that arrived")
    expect_equal(response.head.get("X-Large"), large, "the header that came back")


@GROUP.case(
    "no-spoofing-by-others",
    _B,
    "tornado/httpserver.py _apply_xheaders and jupyterhub/utils.py get_browser_protocol prefer these to X-Forwarded-*",
    sensitive=True,
)
async def _no_spoofing_by_others(stage: Stage) -> None:
    """A client cannot forge its address or scheme with X-Real-Ip, X-Scheme or Forwarded either."""
    backend = await stage.serve("/user/ada/")
    forged = {"X-Real-Ip": "192.0.2.1", "X-Scheme": "gopher", "Forwarded": "for=192.0.2.1;proto=gopher"}
    await stage.get("/user/ada/", list(forged.items()))
    for name, value in forged.items():
        expect(backend.last.head.get(name) != value, f"{name} arrived as the client sent it")


@GROUP.case("no-spoofing", _B, "only the proxy knows who its client is", sensitive=True)
async def _no_spoofing(stage: Stage) -> None:
    """A client cannot forge the scheme or the address that the backend sees."""
    backend = await stage.serve("/user/ada/")
    await stage.get("/user/ada/", [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "gopher")])
    arrived = backend.last.head.get("X-Forwarded-For") or ""
    expect(arrived.endswith("127.0.0.1"), f"X-Forwarded-For is {arrived!a}")
    expect(backend.last.head.get("X-Forwarded-Proto") != "gopher", "X-Forwarded-Proto is what the client sent")
