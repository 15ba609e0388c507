"""letsencrypt_*: a real Traefik gets certificates from a real ACME server on loopback, and renews them."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from support.backend import get
from support.examples import install
from support.fixtures import BackendMaker, ProxyMaker
from support.hub import RealHub
from support.inside import traefik_pid
from support.mock_hub import HubMaker, needs_mock_hub
from support.pebble import MISSING, Pebble
from support.ports import free_ports
from support.waiting import eventually

from traefik_toml_proxy import TraefikTomlProxy

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {' '.join(MISSING)}"),
    pytest.mark.timeout(300),
]

NAMES = ["hub.example.org", "jupyter.example.org"]
# Traefik renews a certificate of an hour twenty minutes before its end, so these ones at its next start.
SHORT = {"certificatesResolvers": {"letsencrypt": {"acme": {"certificatesDuration": 1}}}}


async def served(url: str, tls: ssl.SSLContext, name: str) -> x509.Certificate | None:
    """Return the certificate for a name, if it is one that the client trusts."""
    port = urlsplit(url).port
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    except ssl.SSLError:
        return None
    content = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(content)


def made(make_proxy: ProxyMaker, pebble: Pebble, https: int, http: int, **traits: Any) -> TraefikTomlProxy:
    """Return a proxy that gets certificates from there; JupyterHub has made the scheme of its URL http."""
    return make_proxy(
        public_url=f"http://127.0.0.1:{https}/",
        redirect_http=http,
        letsencrypt_domains=NAMES,
        letsencrypt_server=pebble.url,
        letsencrypt_ca=str(pebble.ca_file),
        **traits,
    )


@pytest.mark.parametrize("challenge", ["tls", "http"])
async def test_certificates_are_issued_and_renewed(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, challenge: str
) -> None:
    """Over either challenge; a browser that trusts the authority reaches the routes by each name."""
    https, http = free_ports(2)
    # The other challenge has no chance: nobody listens where it would be answered.
    ports = {"http_port": http if challenge == "http" else 1, "tls_port": https if challenge == "tls" else 1}
    async with Pebble(tmp_path, **ports) as pebble:
        email = {"tls": "admin@example.org", "http": ""}[challenge]
        proxy = made(
            make_proxy,
            pebble,
            https,
            http,
            letsencrypt_challenge=challenge,
            letsencrypt_email=email,
            extra_static_config=SHORT,
        )
        await proxy.start()
        await proxy.add_route("/", (await make_backend("hub")).url, {})
        tls = await pebble.client()
        first = {name: await eventually(_served(proxy.public_url, tls, name), within=30) for name in NAMES}

        assert (
            (await get(f"http://127.0.0.1:{http}", "/x", host=NAMES[0]))
            .headers["location"]
            .startswith("https://hub.ex")
        )
        (storage,) = Path(proxy.state_dir).glob("acme-*.json")
        assert storage.stat().st_mode & 0o777 == 0o600
        for name in NAMES:
            reader, writer = await asyncio.open_connection("127.0.0.1", https, ssl=tls, server_hostname=name)
            writer.write(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            assert b'"name": "hub"' in await reader.read()
            writer.close()

        os.kill(traefik_pid(proxy), signal.SIGKILL)
        for name in NAMES:
            second = await eventually(_served(proxy.public_url, tls, name, not_this=first[name]), within=60)
            assert second.serial_number != first[name].serial_number


def _served(url: str, tls: ssl.SSLContext, name: str, not_this: x509.Certificate | None = None) -> Callable[[], Any]:
    async def another() -> x509.Certificate | None:
        try:
            certificate = await served(url, tls, name)
        except OSError:  # Traefik is being started
            return None
        return None if certificate == not_this else certificate

    return another


@needs_mock_hub
async def test_a_real_hub_is_reached_over_https(tmp_path: Path, make_hub: HubMaker) -> None:
    """JupyterHub makes the scheme of its bind_url http, for want of ssl_cert; the proxy speaks https all the same."""
    (https,) = free_ports(1)
    async with Pebble(tmp_path, http_port=1, tls_port=https) as pebble:
        hub = await make_hub(
            {
                "letsencrypt_domains": NAMES[:1],
                "letsencrypt_server": pebble.url,
                "letsencrypt_ca": str(pebble.ca_file),
            },
            bind_url=f"https://127.0.0.1:{https}/base/",
        )
        assert hub.bind_url == f"http://127.0.0.1:{https}/base/"
        await eventually(_served(hub.proxy.public_url, await pebble.client(), NAMES[0]), within=30)
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        answer = await get(hub.bind_url, "/base/hub/login", host=NAMES[0], tls=anybody)

        assert answer.status == 200


async def test_the_example_works(tmp_path: Path) -> None:
    """A real Hub, started as in examples/letsencrypt, gets its certificate from an ACME server in place of Let's Encrypt."""
    https, http = free_ports(2)
    url = f"https://127.0.0.1:{https}"
    changes = {"https://:443": url, "redirect_http = 80": f"redirect_http = {http}"}
    config = install("letsencrypt/jupyterhub_config.py", tmp_path, changes=changes)
    async with Pebble(tmp_path, http_port=1, tls_port=https) as pebble:
        server = f"c.TraefikProxy.letsencrypt_server = {pebble.url!r}\n"
        server += f"c.TraefikProxy.letsencrypt_ca = {str(pebble.ca_file)!r}\n"
        async with RealHub(tmp_path, config, url, more=server):
            assert await eventually(_served(url, await pebble.client(), "hub.example.org"), within=60)
            answer = await get(f"http://127.0.0.1:{http}", "/hub/login", host="hub.example.org")

    assert answer.headers["location"] == f"https://hub.example.org:{https}/hub/login"


async def test_until_a_certificate_comes_our_own_is_served(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """The Hub starts, and its routes are live, even if the ACME server is down; so are later changes."""
    https, http = free_ports(2)
    proxy = made(make_proxy, Pebble(tmp_path, http_port=1, tls_port=1), https, http)
    await proxy.start()
    await proxy.add_route("/", (await make_backend("hub")).url, {})
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE

    assert (await get(f"https://127.0.0.1:{https}", "/", tls=anybody)).by == "hub"


async def test_with_strict_options_the_hub_starts_before_a_certificate_comes(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """The proxy's own questions, and those for error pages, ask for the name in its own certificate."""
    https, http = free_ports(2)
    strict = {"tls": {"options": {"default": {"sniStrict": True}}}}
    backend = await make_backend("hub")
    hub = SimpleNamespace(host=backend.url, base_url="/hub/", routespec="/")
    pebble = Pebble(tmp_path, http_port=1, tls_port=1)
    proxy = made(make_proxy, pebble, https, http, extra_dynamic_config=strict, hub=hub)
    await proxy.start()
    await proxy.add_route("/", backend.url, {})
    await proxy.add_route("/user/ada/", f"http://127.0.0.1:{free_ports(1)[0]}", {})
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE

    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        await get(f"https://127.0.0.1:{https}", "/", tls=anybody)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", https, ssl=anybody, server_hostname="traefik-toml-proxy.invalid"
    )
    writer.write(b"GET /user/ada/ HTTP/1.1\r\nHost: traefik-toml-proxy.invalid\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: " in answer  # that of the error page


async def test_the_file_with_the_keys_is_private_again(tmp_path: Path, make_proxy: ProxyMaker) -> None:
    """Traefik gets no certificates if others can read it, as after a copy from elsewhere."""
    https, http = free_ports(2)
    proxy = made(make_proxy, Pebble(tmp_path, http_port=1, tls_port=1), https, http)
    await proxy.start()
    await proxy.stop()
    (storage,) = Path(proxy.state_dir).glob("acme-*.json")
    storage.chmod(0o644)
    await proxy.start()

    assert storage.stat().st_mode & 0o777 == 0o600
