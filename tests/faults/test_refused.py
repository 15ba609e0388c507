"""A rule of the admin's that keeps the Hub from asking which routes are live: start() says so at once, and what helps."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import ports
from support.certificates import make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.processes import started_here
from support.servers import answering
from support.traefik import ForeignTraefik
from support.waiting import PATIENCE

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import RouteNotLive, TraefikStartFailed

_USERS = ["ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="]


async def fails_at_once(proxy: TraefikTomlProxy, *parts: str) -> None:
    """Start a proxy; it fails long before start_timeout with an error that has these parts, and leaves nothing."""
    assert proxy.start_timeout >= 30
    before = started_here()
    began = time.monotonic()
    with pytest.raises(TraefikStartFailed) as caught:
        await proxy.start()

    assert time.monotonic() - began < 5 * PATIENCE
    for part in parts:
        assert part in str(caught.value)
    assert started_here() <= before


def on_entry_point(middleware: dict[str, Any], entry_point: str = "http") -> dict[str, Any]:
    """Return the traits that put a middleware on the entry point."""
    return {
        "extra_static_config": {"entryPoints": {entry_point: {"http": {"middlewares": ["rule@file"]}}}},
        "extra_dynamic_config": {"http": {"middlewares": {"rule": middleware}}},
    }


@contextlib.asynccontextmanager
async def always_answering(status: str) -> AsyncIterator[str]:
    """Answer every request with that status line, and headers if it has more lines; yields the URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    async with answering(answer) as url:
        yield url


def tls_options(**options: Any) -> dict[str, Any]:
    """Return the trait that sets TLS options for all."""
    return {"extra_dynamic_config": {"tls": {"options": {"default": options}}}}


@pytest.mark.parametrize(
    ("middleware", "words"),
    [
        ({"ipAllowList": {"sourceRange": ["192.0.2.1"]}}, ["answered 403 (Forbidden)", "ipAllowList"]),
        ({"basicAuth": {"users": _USERS}}, ["answered 401 (Unauthorized)", "basicAuth"]),
        (
            {"redirectRegex": {"regex": "^http://127[^/]*/(.*)", "replacement": "https://hub.example.org/$1?token=t"}},
            ["answered 302 (Found) to 'https://hub.example.org/.../revision'", "c.TraefikProxy.traefik_url"],
        ),
    ],
    ids=["ipAllowList", "basicAuth", "redirect to the canonical host"],
)
async def test_a_middleware_on_the_entry_point(
    make_proxy: ProxyMaker, middleware: dict[str, Any], words: list[str]
) -> None:
    """What answered is named, and the trait for middlewares that are for users only; no secret is."""
    proxy = make_proxy(**on_entry_point(middleware))

    await fails_at_once(proxy, proxy.public_url, *words, "c.TraefikProxy.route_middlewares")


@pytest.mark.parametrize("status", ["401 Unauthorized", "302 Found\r\nLocation: /login"], ids=["refused", "login page"])
async def test_forward_auth_on_the_entry_point(make_proxy: ProxyMaker, status: str) -> None:
    """The server that it asks refuses the Hub as it would any visitor."""
    async with always_answering(status) as auth:
        proxy = make_proxy(**on_entry_point({"forwardAuth": {"address": auth}}))

        await fails_at_once(proxy, f"answered {status[:3]}", "c.TraefikProxy.route_middlewares")


async def test_a_redirect_of_the_entry_point_to_https(make_proxy: ProxyMaker) -> None:
    """It is Traefik's own setting, and stands above all routes."""
    redirect = {"redirections": {"entryPoint": {"to": ":443", "scheme": "https"}}}
    proxy = make_proxy(extra_static_config={"entryPoints": {"http": {"http": redirect}}})

    await fails_at_once(proxy, "answered 301 (Moved Permanently) to 'https://127.0.0.1/", "c.TraefikProxy.traefik_url")


@pytest.mark.parametrize("newest", ["VersionTLS12", "VersionTLS13"])
async def test_required_client_certificates(
    make_proxy: ProxyMaker, tmp_path: Path, free_port: int, newest: str
) -> None:
    """The alert is named; with TLS 1.3 it comes only after the handshake."""
    options = tls_options(clientAuth={"clientAuthType": "RequireAnyClientCert"}, maxVersion=newest)
    proxy = make_proxy(
        public_url=f"https://127.0.0.1:{free_port}", **make_certificate(tmp_path, "hub").traits, **options
    )

    await fails_at_once(proxy, "refuses new TLS connections", "alert", "clientAuth", "c.TraefikProxy.trusted_proxies")


class TestSniStrict:
    """With ``sniStrict``, Traefik has nothing for clients that ask for no name, or for one that it does not know."""

    @pytest.fixture
    def traits_of_strict(self, tmp_path: Path, free_port: int) -> dict[str, Any]:
        """The traits for such options, and for a certificate for hub.example.org."""
        pair = make_certificate(tmp_path, "hub", dns_names=["*.example.com", "hub.example.org"], addresses=[])
        return {"public_url": f"https://127.0.0.1:{free_port}", **pair.traits, **tls_options(sniStrict=True)}

    async def test_it_works_with_our_certificate(
        self, make_proxy: ProxyMaker, traits_of_strict: dict[str, Any]
    ) -> None:
        """The Hub asks for a name in the certificate, and users may as well; others are refused."""
        strict = make_proxy(**traits_of_strict)
        await strict.start()
        await strict.add_route("/user/ada/", "http://127.0.0.1:1", {})

        assert await self._handshake(strict, "hub.example.org") == ""
        assert await self._handshake(strict, "any.example.com") == ""
        assert "UNRECOGNIZED_NAME" in await self._handshake(strict, "other.example.net")
        assert "UNRECOGNIZED_NAME" in await self._handshake(strict, None)

    async def test_error_pages_are_shown(
        self, make_proxy: ProxyMaker, make_backend: BackendMaker, traits_of_strict: dict[str, Any]
    ) -> None:
        """Traefik asks itself for them, and so has to ask for a name, too."""
        hub = await make_backend("hub")
        proxy = make_proxy(**traits_of_strict, hub=SimpleNamespace(host=hub.url, base_url="/hub/", routespec="/"))
        await proxy.start()
        await proxy.add_route("/user/dead/", f"http://127.0.0.1:{ports.free_port()}", {})

        reader, writer = await self._connect(proxy, "hub.example.org")
        writer.write(
            b"GET /user/dead/ HTTP/1.1\r\nHost: hub.example.org\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
        )
        page = await asyncio.wait_for(reader.read(), 10 * PATIENCE)
        writer.close()
        assert page.startswith(b"HTTP/1.1 503 ")
        assert b'"path": "/hub/error/503"' in page

    async def test_with_a_certificate_for_no_name(self, make_proxy: ProxyMaker, tmp_path: Path, free_port: int) -> None:
        """The error says what to set."""
        pair = make_certificate(tmp_path, "no name", dns_names=[], addresses=[])
        proxy = make_proxy(public_url=f"https://127.0.0.1:{free_port}", **pair.traits, **tls_options(sniStrict=True))

        await fails_at_once(
            proxy, "refuses new TLS connections", "'127.0.0.1'", "sniStrict", "c.TraefikProxy.traefik_url"
        )

    @staticmethod
    async def _connect(proxy: TraefikTomlProxy, name: str | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = int(proxy.public_url.rpartition(":")[2])
        return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")

    async def _handshake(self, proxy: TraefikTomlProxy, name: str | None) -> str:
        """Return the error of a handshake, or ""."""
        try:
            _, writer = await self._connect(proxy, name)
        except ssl.SSLError as error:
            return str(error)
        writer.close()
        return ""


class TestWrongScheme:
    """Traefik answers 404 to https at an entry point for http, and the other way round; so the Hub tries both."""

    async def test_https_at_an_entry_point_for_http(self, make_proxy: ProxyMaker, free_port: int) -> None:
        """The error says which scheme works."""
        proxy = make_proxy(traefik_url=f"https://127.0.0.1:{free_port}")

        await fails_at_once(
            proxy,
            f"https://127.0.0.1:{free_port} answered 404",
            f"http://127.0.0.1:{free_port} serves",
            "with http://.",
        )

    async def test_http_at_an_entry_point_for_https(
        self, make_proxy: ProxyMaker, tmp_path: Path, free_port: int
    ) -> None:
        """The error says which scheme works."""
        proxy = make_proxy(
            public_url=f"https://127.0.0.1:{free_port}",
            traefik_url=f"http://127.0.0.1:{free_port}",
            **make_certificate(tmp_path, "hub").traits,
        )

        await fails_at_once(proxy, f"https://127.0.0.1:{free_port} serves", "with https://.")

    async def test_at_a_traefik_of_somebody_else(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """The first route that is added fails with it, and not only after check_route_timeout."""
        file = tmp_path / "watched" / "routes.toml"
        traefik = ForeignTraefik(tmp_path, provider={"filename": str(file)})
        url = traefik.url.replace("http:", "https:")
        proxy = make_proxy(should_start=False, dynamic_config_file=str(file), traefik_url=url, traefik_entrypoint="web")
        await proxy.get_all_routes()
        async with traefik:
            began = time.monotonic()
            with pytest.raises(RouteNotLive, match=f"{traefik.url} serves our routes"):
                await proxy.add_route("/", "http://127.0.0.1:1", {})

        assert time.monotonic() - began < 10 * PATIENCE


async def test_a_proxy_in_front_that_waits_for_traefik_is_no_refusal(make_proxy: ProxyMaker) -> None:
    """A 503 may end at any moment, so start_timeout counts."""
    async with always_answering("503 Service Unavailable") as front:
        proxy = make_proxy(traefik_url=front, start_timeout=2)
        began = time.monotonic()
        with pytest.raises(TraefikStartFailed, match="answered 503"):
            await proxy.start()

    assert time.monotonic() - began >= 2
