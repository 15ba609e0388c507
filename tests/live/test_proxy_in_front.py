"""Who the client is: behind real proxies in front, configured as in examples/, and without any.

Each part has its own address on loopback: browsers are at 127.0.0.5, and everything else at 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from jupyterhub.utils import get_browser_protocol
from support.examples import install
from support.fixtures import ProxyMaker
from support.fronts import NAMES, Front, installed
from support.hub import RealHub
from support.ports import free_port
from support.waiting import PATIENCE, eventually, within
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

BROWSER = "127.0.0.5"
OTHERS = "127.0.0.1"


def forged(scheme: str) -> dict[str, str]:
    """Return all headers from which a server may learn who its client is, and how it came, with wrong values.

    They are what tornado (httpserver.py, _apply_xheaders), JupyterHub (utils.py, get_browser_protocol) or servers of users
    read.
    """
    return {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": scheme,
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "666",
        "X-Forwarded-Server": "evil.example",
        "X-Forwarded-Prefix": "/evil",
        "X-Real-Ip": "192.0.2.2",
        "X-Scheme": scheme,
        "Forwarded": f"for=192.0.2.3;proto={scheme};host=evil.example",
    }


PROXIES = [
    pytest.param(name, marks=pytest.mark.skipif(installed(name) is None, reason=f"{name} is not installed"))
    for name in NAMES
]


class _WhoIsIt(RequestHandler):
    """Answers as a Hub would that was asked who its client is."""

    def get(self) -> None:
        seen = {
            "address": self.request.remote_ip,
            "protocol": self.request.protocol,
            "browser's protocol": get_browser_protocol(self.request),
            "headers": dict(self.request.headers.get_all()),
        }
        self.write(json.dumps(seen))


@pytest.fixture
async def hub() -> AsyncIterator[str]:
    """A server that is made as JupyterHub makes its own (jupyterhub/app.py), with trusted_downstream_ips; yields its URL."""
    server = HTTPServer(Application([(r"/.*", _WhoIsIt)]), xheaders=True, trusted_downstream=[OTHERS])
    sockets = bind_sockets(0, OTHERS)
    server.add_sockets(sockets)
    yield f"http://{OTHERS}:{sockets[0].getsockname()[1]}"
    server.stop()
    await server.close_all_connections()


async def ask(url: str, headers: Mapping[str, str], path: str = "/", *, tls: ssl.SSLContext | None = None) -> bytes:
    """Send a request as a browser; return the answer."""
    where = urlsplit(url)
    name = "localhost" if tls else None
    reader, writer = await asyncio.open_connection(
        where.hostname, where.port, ssl=tls, server_hostname=name, local_addr=(BROWSER, 0)
    )
    try:
        sent = {"Host": f"localhost:{where.port}", "Connection": "close", **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        return await within(20 * PATIENCE, reader.read())
    finally:
        writer.close()


async def who(url: str, headers: Mapping[str, str], *, tls: ssl.SSLContext | None = None) -> dict[str, Any]:
    """Return what the Hub knows about who sent a request."""
    answer = await ask(url, headers, tls=tls)
    seen: dict[str, Any] = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
    return seen


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("headers", [{}, forged("http")], ids=["honest", "forged"])
async def test_behind_another_proxy_the_hub_knows_the_browser(
    make_proxy: ProxyMaker, tmp_path: Path, hub: str, name: str, headers: dict[str, str]
) -> None:
    """Its address, and that it uses https, whatever it says about itself."""
    proxy = make_proxy(trusted_proxies=[OTHERS])
    await proxy.start()
    await proxy.add_route("/", hub, {})
    async with Front(name, tmp_path, proxy.public_url) as front:
        seen = await who(front.url, headers, tls=front.certificate.client())

    assert (seen["address"], seen["protocol"], seen["browser's protocol"]) == (BROWSER, "https", "https")


@pytest.mark.parametrize("trusted", [[], [OTHERS], ["10.0.0.0/8", "2001:db8::/32"]])
async def test_nobody_else_can_forge_who_they_are(make_proxy: ProxyMaker, hub: str, trusted: list[str]) -> None:
    """No header that a server reads for it arrives as a browser sent it, unless it comes from a proxy that is trusted."""
    proxy = make_proxy(trusted_proxies=trusted)
    await proxy.start()
    await proxy.add_route("/", hub, {})
    seen = await who(proxy.public_url, forged("https"))

    assert (seen["address"], seen["protocol"], seen["browser's protocol"]) == (BROWSER, "http", "http")
    assert [text for text in ("192.0.2.", "evil", "666", "https") if text in str(seen["headers"])] == []


@pytest.mark.parametrize("name", PROXIES)
async def test_the_log_of_a_real_hub_has_the_address_of_the_browser(tmp_path: Path, name: str) -> None:
    """It is what admins look at when they ask who it was."""
    config = {
        "nginx": "behind-nginx/jupyterhub_config.py",
        "haproxy": "behind-caddy-or-haproxy/jupyterhub_config.py",
        "caddy": "behind-caddy-or-haproxy/jupyterhub_config.py",
    }[name]
    url = f"http://127.0.0.1:{free_port()}"
    installed = install(config, tmp_path, changes={"http://127.0.0.1:8000": url})
    async with RealHub(tmp_path, installed, url) as hub, Front(name, tmp_path, url) as front:
        answer = await ask(front.url, {}, "/hub/login?who", tls=front.certificate.client())

        assert b" 200 " in answer[:20]
        said = await eventually(lambda: re.search(r"200 GET /hub/login\?who \(@(.*?)\)", hub.log))
        assert said[1] == BROWSER
