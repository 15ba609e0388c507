"""The public entry point: https with the certificate of JupyterHub.ssl_cert, and the forms of JupyterHub.bind_url."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.backend import get
from support.certificates import Pair, make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.traefik import ForeignTraefik

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.addresses import listen_address, reachable_url
from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.traefik import layers


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """A certificate and its key."""
    return make_certificate(tmp_path, "hub")


@pytest_asyncio.fixture
async def proxy(make_proxy: ProxyMaker, free_port: int, pair: Pair) -> TraefikTomlProxy:
    """A started proxy whose entry point speaks https with the certificate of ``pair``."""
    proxy = make_proxy(public_url=f"https://127.0.0.1:{free_port}/", **pair.traits)
    await proxy.start()
    return proxy


async def test_the_entry_point_shows_the_given_certificate(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, pair: Pair
) -> None:
    """A client that trusts only this certificate reaches the routes, and the backend learns that it was https."""
    backend = await make_backend("a")
    await proxy.add_route("/user/a/", backend.url, {})

    seen = (await get(proxy.public_url, "/user/a//x%2F?y", tls=pair.client())).seen
    assert seen["path"] == "/user/a//x%2F?y"
    assert seen["headers"]["X-Forwarded-Proto"] == "https"


async def test_http_is_not_served_on_the_https_port(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, pair: Pair
) -> None:
    """No password is sent in clear text because of a link with the wrong scheme."""
    await proxy.add_route("/", (await make_backend("hub")).url, {})

    assert (await get(proxy.public_url, "/")).status == 404
    assert (await get(proxy.public_url, "/", tls=pair.client())).by == "hub"


async def test_a_route_change_keeps_the_certificate(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, pair: Pair
) -> None:
    """Every version of the file has the same certificate, even without any route."""
    backend = await make_backend("a")

    served = []
    for _ in range(5):
        await proxy.add_route("/user/a/", backend.url, {})
        served.append((await get(proxy.public_url, "/user/a/", tls=pair.client())).by)
        await proxy.delete_route("/user/a/")
        served.append((await get(proxy.public_url, "/user/a/", tls=pair.client())).by)

    assert served == ["a", None] * 5


async def test_the_admin_s_dynamic_configuration_wins(
    tmp_path: Path, make_proxy: ProxyMaker, free_port: int, pair: Pair
) -> None:
    """A default certificate in extra_dynamic_config replaces the proxy's."""
    mine = make_certificate(tmp_path, "mine")
    certificate = {"certFile": str(mine.cert), "keyFile": str(mine.key)}
    proxy = make_proxy(
        public_url=f"https://127.0.0.1:{free_port}",
        **pair.traits,
        extra_dynamic_config={"tls": {"stores": {"default": {"defaultCertificate": certificate}}}},
    )
    await proxy.start()

    assert (await get(proxy.public_url, "/", tls=mine.client())).status == 404


async def test_certificate_and_key_may_be_one_file_with_a_relative_path(
    make_proxy: ProxyMaker, free_port: int, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traefik's working directory is not the Hub's, but it finds the files."""
    both = pair.cert.with_name("both.pem")
    both.write_bytes(pair.key.read_bytes() + pair.cert.read_bytes())
    monkeypatch.chdir(both.parent)
    proxy = make_proxy(public_url=f"https://127.0.0.1:{free_port}", ssl_cert="both.pem", ssl_key="")

    await proxy.start()

    assert (await get(proxy.public_url, "/", tls=pair.client())).status == 404


async def test_a_foreign_traefik_shows_the_given_certificate(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, pair: Pair
) -> None:
    """If its entry point speaks TLS, it uses JupyterHub's certificate."""
    watched = tmp_path / "watched"
    watched.mkdir()
    traefik = ForeignTraefik(tmp_path, provider={"directory": str(watched)}, tls=True)
    proxy = make_proxy(
        should_start=False,
        public_url="https://127.0.0.1:1",
        traefik_url=traefik.url,
        traefik_entrypoint="web",
        dynamic_config_file=str(watched / "routes.toml"),
        **pair.traits,
    )
    async with traefik:
        await proxy.add_route("/user/a/", (await make_backend("a")).url, {})

        assert (await get(traefik.url, "/user/a/", tls=pair.client())).by == "a"
        assert traefik.complaints == []


@pytest.mark.parametrize("should_start", [True, False])
async def test_many_routes_are_served_over_https(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, free_port: int, pair: Pair, should_start: bool
) -> None:
    """In two layers, too, every route is served over https, and none over http."""
    watched = tmp_path / "watched"
    watched.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        settings: dict[str, Any] = {"public_url": f"https://127.0.0.1:{free_port}"}
        if not should_start:
            traefik = ForeignTraefik(tmp_path, provider={"directory": str(watched)}, tls=True)
            await stack.enter_async_context(traefik)
            settings["public_url"] = traefik.url.replace("http://", "https://")
            settings |= {"traefik_url": traefik.url, "traefik_entrypoint": "web"}
            settings |= {"dynamic_config_file": str(watched / "routes.toml"), "should_start": False}
        proxy = make_proxy(**pair.traits, **settings)
        if should_start:
            await proxy.start()
        backends = [await make_backend(name) for name in ("a", "b")]
        specs = [f"/user/{number}/" for number in range(layers.FEW_ROUTES + 20)]
        await asyncio.gather(*(proxy.add_route(spec, backends[at % 2].url, {}) for at, spec in enumerate(specs)))

        file = watched / "routes.toml" if not should_start else Path(proxy.state_dir) / "dynamic.toml"
        assert "parentRefs" in file.read_text()
        for number in (0, 1, 7, layers.FEW_ROUTES + 19):
            assert (await get(settings["public_url"], specs[number], tls=pair.client())).by == "ab"[number % 2]
        plain = settings["public_url"].replace("https://", "http://")
        assert (await get(plain, specs[0])).status in (400, 404)


def _unusable(folder: Path) -> dict[str, Pair]:
    """Return pairs of files that are not a certificate and its key."""
    good, other = make_certificate(folder, "good"), make_certificate(folder, "other")
    (folder / "garbage.crt").write_bytes(b"\x00\xff garbage")
    return {
        "no certificate": Pair(folder / "nowhere.crt", good.key),
        "no key": Pair(good.cert, folder / "nowhere.key"),
        "of two pairs": Pair(good.cert, other.key),
        "encrypted": make_certificate(folder, "encrypted", password=b"secret"),
        "no PEM": Pair(folder / "garbage.crt", good.key),
    }


@pytest.mark.parametrize("should_start", [True, False])
@pytest.mark.parametrize("kind", ["no certificate", "no key", "of two pairs", "encrypted", "no PEM"])
async def test_a_certificate_that_cannot_be_used_is_an_error_before_anything_runs(
    tmp_path: Path, make_proxy: ProxyMaker, free_port: int, kind: str, should_start: bool
) -> None:
    """Traefik would silently use its own certificate; the error names both files."""
    pair = _unusable(tmp_path)[kind]
    proxy = make_proxy(
        public_url=f"https://127.0.0.1:{free_port}",
        **pair.traits,
        should_start=should_start,
    )
    begin = {True: proxy.start, False: proxy.get_all_routes}[should_start]

    with pytest.raises(ConfigurationError) as failure:
        await begin()

    said = str(failure.value)
    assert [text for text in (str(pair.cert), str(pair.key), "JupyterHub.ssl_cert") if text not in said] == []
    assert not (tmp_path / "state" / "dynamic.toml").exists()
    assert not (tmp_path / "state" / "traefik-process.json").exists()


async def test_the_error_says_that_a_key_is_encrypted(make_proxy: ProxyMaker, tmp_path: Path) -> None:
    """The usual message would not."""
    pair = make_certificate(tmp_path, "encrypted", password=b"secret")
    proxy = make_proxy(public_url="https://127.0.0.1:1", **pair.traits)

    with pytest.raises(ConfigurationError, match="the key is encrypted"):
        await proxy.start()


@pytest.mark.parametrize(
    "form", ["http://127.0.0.1:{}", "http://127.0.0.1:{}/", "http://127.0.0.1:{}/base/%40/", "http://localhost:{}"]
)
async def test_the_proxy_listens_where_bind_url_says(
    make_proxy: ProxyMaker, make_backend: BackendMaker, free_port: int, form: str
) -> None:
    """A path in the URL is for the Hub, not for the entry point."""
    proxy = make_proxy(public_url=form.format(free_port))
    await proxy.start()
    await proxy.add_route("/x/", (await make_backend("x")).url, {})

    assert (await get(f"http://127.0.0.1:{free_port}", "/x/")).by == "x"


@pytest.mark.skipif(not _has_ipv6_loopback(), reason="this machine has no IPv6 loopback")
async def test_the_proxy_listens_on_ipv6(make_proxy: ProxyMaker, make_backend: BackendMaker, free_port: int) -> None:
    """An IPv6 address is in brackets, as in any URL."""
    proxy = make_proxy(public_url=f"http://[::1]:{free_port}/")
    await proxy.start()
    await proxy.add_route("/x/", (await make_backend("x")).url, {})

    assert (await get(f"http://[::1]:{free_port}", "/x/")).by == "x"


# bind_url, Traefik's address, the Hub's URL. No test listens on more than loopback, so these are only computed.
_ADDRESSES = [
    ("http://:8000", ":8000", "http://127.0.0.1:8000"),
    ("http://:8000/base/", ":8000", "http://127.0.0.1:8000"),
    ("http://*:8000", ":8000", "http://127.0.0.1:8000"),
    ("http://0.0.0.0:8000", "0.0.0.0:8000", "http://127.0.0.1:8000"),
    ("http://[::]:8000", "[::]:8000", "http://[::1]:8000"),
    ("http://[::1]:8000/", "[::1]:8000", "http://[::1]:8000"),
    ("https://:443", ":443", "https://127.0.0.1:443"),
    ("https://", ":443", "https://127.0.0.1:443"),
    ("http://127.0.0.1", "127.0.0.1:80", "http://127.0.0.1:80"),
    ("https://hub.example.org/", "hub.example.org:443", "https://hub.example.org:443"),
]


@pytest.mark.parametrize(("public_url", "address", "url"), _ADDRESSES)
def test_every_form_of_bind_url_has_an_address_to_listen_on_and_one_to_ask(
    public_url: str, address: str, url: str
) -> None:
    """If Traefik listens on all addresses, the Hub uses loopback."""
    assert (listen_address(public_url), reachable_url(public_url)) == (address, url)


@pytest.mark.parametrize("public_url", ["http+unix://%2Ftmp%2Fhub.sock", "unix+http://%2Ftmp%2Fhub.sock"])
async def test_a_unix_socket_is_refused(make_proxy: ProxyMaker, tmp_path: Path, public_url: str) -> None:
    """Traefik cannot listen there; the error says what to set instead, and no file is created."""
    proxy = make_proxy(public_url=public_url)

    with pytest.raises(ConfigurationError, match=r"unix socket .* Set c\.JupyterHub\.bind_url to an address"):
        await proxy.start()

    assert not (tmp_path / "state").exists()
