"""A change that is not live in time, with a Traefik that others run: the error says why, by looking."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from support.backend import get
from support.certificates import make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.ports import free_port
from support.traefik import ForeignTraefik, write_default_certificate
from support.waiting import PATIENCE

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import RouteNotLive

_TIMEOUT = 1.0 * PATIENCE


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """The folder with the routes file."""
    folder = tmp_path / "watched"
    folder.mkdir()
    write_default_certificate(tmp_path, folder)
    return folder


def _proxy(make_proxy: ProxyMaker, traefik: ForeignTraefik, file: Path, **more: Any) -> TraefikTomlProxy:
    return make_proxy(
        should_start=False,
        dynamic_config_file=str(file),
        check_route_timeout=_TIMEOUT,
        **({"traefik_url": traefik.url, "traefik_entrypoint": "web"} | more),
    )


async def _error(proxy: TraefikTomlProxy, routespec: str = "/user/a/") -> str:
    """Add a route; return the error, which comes within a second after giving up."""
    began = time.monotonic()
    with pytest.raises(RouteNotLive) as caught:
        await proxy.add_route(routespec, "http://127.0.0.1:1", {})
    assert _TIMEOUT <= time.monotonic() - began < _TIMEOUT + 1 * PATIENCE
    return str(caught.value)


async def test_the_file_is_not_watched(tmp_path: Path, watched: Path, make_proxy: ProxyMaker) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with ForeignTraefik(tmp_path, provider={"directory": str(other)}) as traefik:
        error = await _error(_proxy(make_proxy, traefik, watched / "routes.toml"))

    assert f"watches the folder {other}, and so not {watched / 'routes.toml'}" in error
    assert f'Set providers.file.directory = "{watched}" there' in error


async def test_another_mount_namespace(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """Traefik knows the folder under another path, as in a container, and is not blamed for that."""
    there = tmp_path / "there"
    there.mkdir()
    provider, mount = {"directory": str(there)}, f"mount --bind {watched} {there}"
    async with ForeignTraefik(tmp_path, provider=provider, apart=mount) as traefik:
        proxy = _proxy(make_proxy, traefik, watched / "routes.toml")
        await proxy.add_route("/user/first/", (await make_backend("first")).url, {})
        assert (await get(traefik.url, "/user/first/")).by == "first"
        (watched / "theirs.toml").write_text("[http.routers\n")
        error = await _error(proxy)

    assert f"{watched / 'theirs.toml'}, in the same folder, is broken" in error


# Another application that has the whole entry point, and what is in front of it.
_THEIRS = """
[http.routers.theirs]
rule = "PathPrefix(`/`)"
entryPoints = ["web", "public"]
service = "theirs"
middlewares = [{middlewares}]
[[http.services.theirs.loadBalancer.servers]]
url = "{url}"
[http.middlewares.login.redirectRegex]
regex = ".*"
replacement = "https://login.example.org/"
[http.middlewares.password.basicAuth]
users = ["ada:$2y$05$hush"]
"""


@pytest.mark.parametrize(("middleware", "status"), [("", "200 (OK)"), ('"login"', "302 "), ('"password"', "401 ")])
async def test_the_file_is_not_watched_and_another_application_answers(
    tmp_path: Path,
    watched: Path,
    make_proxy: ProxyMaker,
    make_backend: BackendMaker,
    middleware: str,
    status: str,
) -> None:
    """The error has both: what answered, and why it was not the Hub."""
    other = tmp_path / "other"
    other.mkdir()
    theirs = _THEIRS.format(url=(await make_backend("theirs")).url, middlewares=middleware)
    (other / "theirs.toml").write_text(theirs)
    async with ForeignTraefik(tmp_path, provider={"directory": str(other)}) as traefik:
        error = await _error(_proxy(make_proxy, traefik, watched / "routes.toml"))

    assert f"answered {status}" in error
    assert f"watches the folder {other}, and so not {watched / 'routes.toml'}" in error
    assert "Something" not in error


async def test_another_entry_point_with_another_application(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    theirs = _THEIRS.format(url=(await make_backend("theirs")).url, middlewares="")
    (watched / "theirs.toml").write_text(theirs)
    provider = {"directory": str(watched)}
    async with ForeignTraefik(tmp_path, provider=provider, entry_point="public") as traefik:
        error = await _error(_proxy(make_proxy, traefik, watched / "routes.toml"))

    assert "answered 200 (OK)" in error
    assert 'Set c.TraefikProxy.traefik_entrypoint = "public"' in error


async def test_a_password_on_our_own_entry_point(tmp_path: Path, watched: Path, make_proxy: ProxyMaker) -> None:
    """The file is loaded, so what answered is the reason."""
    (watched / "theirs.toml").write_text('[http.middlewares.password.basicAuth]\nusers = ["ada:$2y$05$hush"]\n')
    http = {"middlewares": ["password@file"]}
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}, http=http) as traefik:
        error = await _error(_proxy(make_proxy, traefik, watched / "routes.toml"))

    assert "answered 401 (Unauthorized)" in error
    assert "Something asks for a password" in error
    assert "c.TraefikProxy.route_middlewares" in error


async def test_another_entry_point(tmp_path: Path, watched: Path, make_proxy: ProxyMaker) -> None:
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}, entry_point="public") as traefik:
        error = await _error(_proxy(make_proxy, traefik, watched / "routes.toml"))

    assert f"the entry point at {traefik.url} is not 'web'" in error
    assert 'Set c.TraefikProxy.traefik_entrypoint = "public"' in error


async def test_another_entry_point_that_has_https_from_its_routers_alone(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker
) -> None:
    """The router that shows it must speak https as well."""
    pair = make_certificate(tmp_path, "hub")
    provider = {"directory": str(watched)}
    async with ForeignTraefik(tmp_path, provider=provider, entry_point="public") as traefik:
        url = traefik.url.replace("http:", "https:")
        error = await _error(_proxy(make_proxy, traefik, watched / "routes.toml", traefik_url=url, **pair.traits))

    assert f"the entry point at {url} is not 'web'" in error
    assert 'Set c.TraefikProxy.traefik_entrypoint = "public"' in error


async def test_another_file_of_the_folder_is_broken(tmp_path: Path, watched: Path, make_proxy: ProxyMaker) -> None:
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}) as traefik:
        proxy = _proxy(make_proxy, traefik, watched / "routes.toml")
        await proxy.add_route("/user/first/", "http://127.0.0.1:1", {})
        (watched / "theirs.toml").write_text("[http.routers\n")
        error = await _error(proxy)

    assert f"{watched / 'theirs.toml'}, in the same folder, is broken" in error


async def test_a_copy_of_the_file(tmp_path: Path, watched: Path, make_proxy: ProxyMaker) -> None:
    """Made while the Hub runs. Traefik takes the first of two files with the same names, which may be the copy."""
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}) as traefik:
        proxy = _proxy(make_proxy, traefik, watched / "routes.toml")
        await proxy.add_route("/user/first/", "http://127.0.0.1:1", {})
        shutil.copy(watched / "routes.toml", watched / "copy.toml")
        error = await _error(proxy)

    assert f"{watched / 'copy.toml'} also has the routes of a Hub" in error
    assert "delete it" in error


async def test_throttled(tmp_path: Path, watched: Path, make_proxy: ProxyMaker) -> None:
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}, throttle="20s") as traefik:
        error = await _error(_proxy(make_proxy, traefik, watched / "routes.toml"))

    assert "holds back changes for 20 s" in error
    assert 'Set providers.providersThrottleDuration = "0s" there' in error


async def test_not_running(watched: Path, tmp_path: Path, make_proxy: ProxyMaker) -> None:
    traefik = ForeignTraefik(tmp_path, provider={"directory": str(watched)})
    error = await _error(_proxy(make_proxy, traefik, watched / "routes.toml"))

    assert f"Nobody answers at {traefik.url}: Traefik does not run, or listens elsewhere" in error


async def test_running_elsewhere(watched: Path, tmp_path: Path, make_proxy: ProxyMaker) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}) as traefik:
        error = await _error(_proxy(make_proxy, traefik, watched / "routes.toml", traefik_url=url))

    assert f"Nobody answers at {url}, but Traefik" in error
    assert f"web ({traefik.url.removeprefix('http://')})" in error
