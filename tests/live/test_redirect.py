"""redirect_http: on a second entry point of a real Traefik, plain http is sent to https."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.backend import get
from support.certificates import Pair, make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import traefik_pid
from support.ports import free_ports

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import ConfigurationError, TraefikStartFailed


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """A certificate and its key."""
    return make_certificate(tmp_path, "hub")


def listening(pid: int) -> set[tuple[str, int]]:
    """Return the addresses and ports of IPv4 and IPv6 that a process listens on."""
    inodes = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = set()
    for family, file in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/{pid}/net/{file}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                host, port = fields[1].split(":")
                words = [bytes.fromhex(word)[::-1] for word in re.findall(".{8}", host)]
                found.add((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


async def started(make_proxy: ProxyMaker, pair: Pair, **traits: object) -> tuple[TraefikTomlProxy, str]:
    """Return a started proxy with a redirect, and the URL for plain http."""
    https, http = free_ports(2)
    proxy = make_proxy(public_url=f"https://127.0.0.1:{https}/", redirect_http=http, **pair.traits, **traits)
    await proxy.start()
    return proxy, f"http://127.0.0.1:{http}"


@pytest.mark.parametrize(
    "path", ["/", "/user/a//b?x=1&y=%2F", "//two", "/a%2Fb/../c", "/hub/login?next=%2Fuser%2Fa%2F%2F", "/a;b?c;d"]
)
@pytest.mark.parametrize(("method", "status"), [("GET", 302), ("HEAD", 307), ("POST", 307), ("PUT", 307)])
async def test_plain_http_is_sent_to_the_same_path_over_https(
    make_proxy: ProxyMaker, pair: Pair, path: str, method: str, status: int
) -> None:
    """Not for ever, and without a changed method; nothing in the path is lost."""
    proxy, plain = await started(make_proxy, pair)

    answer = await get(plain, path, method=method, headers={"Content-Length": "0"})

    assert answer.status == status
    assert answer.headers["location"] == proxy.public_url.rstrip("/") + path


async def test_the_host_of_the_request_is_kept_and_the_port_is_that_of_users(
    make_proxy: ProxyMaker, pair: Pair
) -> None:
    """Port 443 of a router may be forwarded to another port here; JupyterHub.public_url says so."""
    app = SimpleNamespace(public_url="https://hub.example.org/base/", cleanup_proxy=True)
    _, plain = await started(make_proxy, pair, app=app)

    for host in ("hub.example.org", "hub.example.org:80", "other.example.org:8080"):
        answer = await get(plain, "/base//x", host=host)
        assert answer.headers["location"] == f"https://{host.partition(':')[0]}/base//x"


async def test_routes_are_served_over_https_alone(
    make_proxy: ProxyMaker, make_backend: BackendMaker, pair: Pair
) -> None:
    """Also a router of the admin's own that names no entry point."""
    own = {"http": {"routers": {"mine": {"rule": "Path(`/mine`)", "service": "noop@internal"}}}}
    proxy, plain = await started(make_proxy, pair, extra_dynamic_config=own)
    await proxy.add_route("/", (await make_backend("hub")).url, {})

    assert (await get(plain, "/x")).status == 302
    assert (await get(plain, "/mine")).status == 302
    assert (await get(proxy.public_url, "/x", tls=pair.client())).by == "hub"
    assert (await get(proxy.public_url, "/mine", tls=pair.client())).status == 418


async def test_nobody_can_pretend_that_it_is_https_already(make_proxy: ProxyMaker, pair: Pair) -> None:
    """X-Forwarded-Proto of a client is ignored."""
    _, plain = await started(make_proxy, pair)

    assert (await get(plain, "/x", headers={"X-Forwarded-Proto": "https"})).status == 302


async def test_nothing_listens_wider_than_asked(make_proxy: ProxyMaker, pair: Pair) -> None:
    """A port alone is opened where bind_url is, on loopback here."""
    proxy, plain = await started(make_proxy, pair)
    ports = {int(url.rstrip("/").rpartition(":")[2]) for url in (proxy.public_url, plain)}

    assert listening(traefik_pid(proxy)) == {("127.0.0.1", port) for port in ports}


async def test_a_port_that_is_taken_fails_the_start(make_proxy: ProxyMaker, pair: Pair) -> None:
    """The error says so."""
    https, http = free_ports(2)
    with socket.create_server(("127.0.0.1", http)):
        proxy = make_proxy(public_url=f"https://127.0.0.1:{https}/", redirect_http=f"127.0.0.1:{http}", **pair.traits)
        with pytest.raises(TraefikStartFailed, match=f"the address is taken .*127.0.0.1:{http}"):
            await proxy.start()


async def test_without_https_it_is_an_error(make_proxy: ProxyMaker) -> None:
    """The browser would be sent in circles."""
    with pytest.raises(ConfigurationError, match="redirect_http is set, but there is no https"):
        await make_proxy(redirect_http=80).start()
