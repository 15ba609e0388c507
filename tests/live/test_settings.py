"""The admin's settings reach Traefik: trusted proxies, extra configuration, environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toml
from support.backend import Backend, get
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import revision_path, traefik_pid
from support.processes import environment

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import ConfigurationError, TraefikStartFailed

_FROM_A_PROXY = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Host": "hub.example.org"}


async def _headers_seen(proxy: TraefikTomlProxy, backend: Backend) -> dict[str, str]:
    """Send a request as a proxy in front of Traefik does, and return the headers that reach the backend."""
    await proxy.start()
    await proxy.add_route("/", backend.url, {})
    headers: dict[str, str] = (await get(proxy.public_url, "/", headers=_FROM_A_PROXY)).seen["headers"]
    return headers


@pytest.mark.parametrize("trusted", [["127.0.0.1"], ["10.1.2.3", "127.0.0.0/8"]])
async def test_forwarded_headers_from_trusted_proxies_are_kept(
    make_proxy: ProxyMaker, make_backend: BackendMaker, trusted: list[str]
) -> None:
    """If TLS is terminated in front of Traefik, JupyterHub learns from X-Forwarded-Proto that its users speak https."""
    headers = await _headers_seen(make_proxy(trusted_proxies=trusted), await make_backend("hub"))

    assert headers["X-Forwarded-Proto"] == "https"
    assert headers["X-Forwarded-For"] == "192.0.2.7, 127.0.0.1"
    assert headers["X-Forwarded-Host"] == "hub.example.org"


@pytest.mark.parametrize("trusted", [[], ["192.0.2.7", "2001:db8::/32"]])
async def test_forwarded_headers_from_anybody_else_are_replaced(
    make_proxy: ProxyMaker, make_backend: BackendMaker, trusted: list[str]
) -> None:
    """A client cannot pretend to have another address, or to use https."""
    proxy = make_proxy(trusted_proxies=trusted)
    headers = await _headers_seen(proxy, await make_backend("hub"))

    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Host"] == proxy.public_url.removeprefix("http://")


@pytest.mark.parametrize("wrong", ["localhost", "10.0.0.1/33", "10.0.0.0-10.0.0.9", "", "*", '"]\n[api]'])
async def test_an_invalid_trusted_proxy_is_refused(make_proxy: ProxyMaker, wrong: str) -> None:
    """The error names the value, before anything is started."""
    proxy = make_proxy(trusted_proxies=["10.0.0.1", wrong])

    with pytest.raises(
        ConfigurationError, match=r"trusted_proxies: .* is neither an IP address nor a network"
    ) as failure:
        await proxy.start()

    assert ascii(wrong) in str(failure.value)


async def test_the_admin_s_configuration_is_added_to_ours(make_proxy: ProxyMaker, make_backend: BackendMaker) -> None:
    """The admin's middleware at the entry point applies to every route, and their router works next to ours."""
    static = {"entryPoints": {"http": {"http": {"middlewares": ["mine@file"]}}}}
    dynamic = {
        "http": {
            "middlewares": {"mine": {"headers": {"customResponseHeaders": {"X-Mine": "{{ braces }} and `quotes`"}}}},
            "routers": {"mine": {"rule": "Path(`/mine`)", "entryPoints": ["http"], "service": "noop@internal"}},
        }
    }
    proxy = make_proxy(extra_static_config=static, extra_dynamic_config=dynamic)
    await proxy.start()
    await proxy.add_route("/", (await make_backend("hub")).url, {})

    hub, mine = await get(proxy.public_url, "/x"), await get(proxy.public_url, "/mine")

    assert (hub.by, hub.headers["x-mine"]) == ("hub", "{{ braces }} and `quotes`")
    assert (mine.status, mine.headers["x-mine"]) == (418, "{{ braces }} and `quotes`")


async def test_the_admin_s_static_configuration_wins(make_proxy: ProxyMaker, make_backend: BackendMaker) -> None:
    """It can override a setting of the proxy; other settings in the same table stay."""
    proxy = make_proxy(extra_static_config={"entryPoints": {"http": {"http": {"sanitizePath": True}}}})
    await proxy.start()
    await proxy.add_route("/", (await make_backend("hub")).url, {})

    assert (await get(proxy.public_url, "/a//b?c;d")).seen["path"] == "/a/b?c%3Bd"


async def test_a_namespace_is_in_all_names_also_with_a_traefik_of_ones_own(
    make_proxy: ProxyMaker, make_backend: BackendMaker, tmp_path: Path
) -> None:
    """So that the names stay when that Traefik is shared later."""
    proxy = make_proxy(namespace="lab")
    await proxy.start()
    await proxy.add_route("/user/ada/", (await make_backend("ada")).url, {})
    objects = toml.loads((tmp_path / "state/dynamic.toml").read_text())["http"]
    names = [name for kind in ("routers", "services", "middlewares") for name in objects[kind]]

    assert [name for name in names if not name.startswith("lab_")] == []
    assert (await get(proxy.public_url, "/user/ada/")).by == "ada"


async def test_an_object_of_ours_can_be_extended(make_proxy: ProxyMaker) -> None:
    """Tables are merged at every level: our settings stay unless the admin overrides them."""
    more = {"headers": {"customResponseHeaders": {"X-More": "1"}}}
    proxy = make_proxy(extra_dynamic_config={"http": {"middlewares": {"jupyterhub-revision": more}}})
    await proxy.start()

    answer = await get(proxy.public_url, revision_path(proxy))

    assert answer.headers["x-more"] == "1"
    assert answer.headers["x-jupyterhub-routes-revision"].isdigit()


async def test_a_setting_that_traefik_does_not_know_fails_the_start(make_proxy: ProxyMaker) -> None:
    """The error has Traefik's own message, and nothing is left running."""
    proxy = make_proxy(extra_static_config={"providers": {"file": {"nosuchoption": True}}})

    with pytest.raises(TraefikStartFailed, match="nosuchoption"):
        await proxy.start()


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("extra_dynamic_config", {"jupyterhub": {"routes": {}}}),
        ("extra_dynamic_config", {"http": {"routers": {'"]\n[api]': {"rule": "x"}}}}),
        ("extra_dynamic_config", {"http": {"routers": {"a": {"rule": "\ud800"}}}}),
        ("extra_static_config", {"log": {"level": "\ud800"}}),
        ("extra_static_config", {'a"]\n[api': {}}),
    ],
)
async def test_a_setting_that_cannot_be_written_is_refused(
    make_proxy: ProxyMaker, trait: str, value: dict[str, Any]
) -> None:
    """The error names the trait, before anything is started."""
    proxy = make_proxy(**{trait: value})

    with pytest.raises(ConfigurationError, match=trait):
        await proxy.start()


async def test_traefik_gets_traefik_env_and_no_secrets(make_proxy: ProxyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets no secrets of the Hub, and no proxy variables, which would divert users' requests."""
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "secret of the Hub")
    monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", "secret of the Hub")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("TRAEFIK_LOG_LEVEL", "DEBUG")
    proxy = make_proxy(traefik_env={"GODEBUG": "x509ignoreCN=1", "DNS_TOKEN": "for Traefik"})
    await proxy.start()

    given = environment(traefik_pid(proxy))

    assert given["DNS_TOKEN"] == "for Traefik"
    assert given["GODEBUG"] == "x509ignoreCN=1"
    assert {"CONFIGPROXY_AUTH_TOKEN", "JUPYTERHUB_CRYPT_KEY", "HTTP_PROXY", "TRAEFIK_LOG_LEVEL"}.isdisjoint(given)
