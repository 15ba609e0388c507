"""With ``should_start = False``, the proxy only writes its file, and somebody else runs the Traefik that watches it."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest
from support.backend import get
from support.fixtures import BackendMaker, ProxyMaker
from support.ports import free_port
from support.traefik import ForeignTraefik
from support.waiting import PATIENCE, eventually, meanwhile

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import ConfigurationError, RouteNotLive, StoreLocked

# Somebody else's file in the same folder, with a route on the same entry point.
_THEIRS = """
[http.routers.theirs]
rule = "PathPrefix(`/theirs`)"
entryPoints = ["web"]
service = "theirs"
[[http.services.theirs.loadBalancer.servers]]
url = "{url}"
"""


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """The folder with the routes file."""
    folder = tmp_path / "watched"
    folder.mkdir()
    return folder


def _external(make_proxy: ProxyMaker, traefik: ForeignTraefik, file: Path) -> TraefikTomlProxy:
    return make_proxy(
        should_start=False, dynamic_config_file=str(file), traefik_url=traefik.url, traefik_entrypoint="web"
    )


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


async def test_routes_are_live_in_a_traefik_that_watches_the_file(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """Changes are live at traefik_url when the call returns, as with a Traefik that the proxy starts."""
    file = watched / "routes.toml"
    traefik = ForeignTraefik(tmp_path, provider={"filename": str(file)})
    proxy = _external(make_proxy, traefik, file)
    one, two = await make_backend("one"), await make_backend("two")
    # Traefik watches a file only if it exists at start; the Hub's first call creates it.
    assert await proxy.get_all_routes() == {}

    async with traefik:
        await proxy.add_route("/user/a/", one.url, {"user": "a"})
        assert (await get(traefik.url, "/user/a/x")).by == "one"
        await proxy.add_route("/user/a/", two.url, {"user": "a"})
        assert (await get(traefik.url, "/user/a/x")).by == "two"
        await proxy.delete_route("/user/a/")
        assert (await get(traefik.url, "/user/a/x")).status == 404
        assert traefik.complaints == []


async def test_routes_are_live_in_a_traefik_that_watches_the_folder(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """The file may be created later, among files of other people, whose routes keep working."""
    theirs, ours = await make_backend("theirs"), await make_backend("ours")
    (watched / "theirs.toml").write_text(_THEIRS.format(url=theirs.url))
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}) as traefik:
        proxy = _external(make_proxy, traefik, watched / "routes.toml")

        served = []
        for number in range(5):
            await proxy.add_route(f"/user/{number}/", ours.url, {})
            served += [(await get(traefik.url, path)).by for path in (f"/user/{number}/", "/theirs/x")]

        assert served == ["ours", "theirs"] * 5
        assert traefik.complaints == []


@pytest.mark.parametrize("name", ["public", "users-443", "Web_1.a"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_any_entry_point_will_do(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, name: str, tls: bool
) -> None:
    """Whatever its name is, with TLS or without; and among others, on which none of our routes is."""
    provider = {"directory": str(watched)}
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    other = f"127.0.0.1:{free_port()}"
    async with ForeignTraefik(tmp_path, provider=provider, entry_point=name, tls=tls, other=other) as traefik:
        proxy = make_proxy(
            should_start=False,
            dynamic_config_file=str(watched / "routes.toml"),
            traefik_url=traefik.url,
            traefik_entrypoint=name,
        )
        await proxy.add_route("/user/a/", (await make_backend("a")).url, {})

        assert (await get(traefik.url, "/user/a/x", tls=anybody if tls else None)).by == "a"
        assert (await get(f"http://{other}", "/user/a/x")).status == 404
        assert traefik.complaints == []


async def test_in_a_watched_folder_one_change_is_one_reload(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker
) -> None:
    """Traefik reloads when a new version is moved into place, not while it is being written."""
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}) as traefik:
        proxy = _external(make_proxy, traefik, watched / "routes.toml")
        await proxy.add_route("/user/first/", "http://127.0.0.1:1", {})
        # Traefik handles events in order, so it has handled those of the very first version by now.
        before = traefik.files_read

        for number in range(10):
            await proxy.add_route(f"/user/{number}/", "http://127.0.0.1:1", {})

        assert traefik.files_read == before + 10


async def test_routes_are_live_in_a_traefik_that_watches_the_folder_around(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """Traefik reads the folders inside it, but does not watch them, so it is told: once for each change."""
    ours, other = await make_backend("ours"), await make_backend("other")
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}) as traefik:
        proxy = make_proxy(
            should_start=False,
            dynamic_config_file=str(watched / "hub" / "routes.toml"),
            watched_folder=str(watched),
            traefik_url=traefik.url,
            traefik_entrypoint="web",
        )
        await proxy.add_route("/user/a/", ours.url, {})
        before, served = traefik.files_read, []

        for backend in [other, ours] * 3:
            await proxy.add_route("/user/a/", backend.url, {})
            served.append((await get(traefik.url, "/user/a/")).by)

        assert served == ["other", "ours"] * 3
        assert traefik.files_read == before + 6
        assert traefik.complaints == []


async def test_the_first_call_does_not_wait_for_traefik(watched: Path, make_proxy: ProxyMaker) -> None:
    """The Hub first asks for all routes, perhaps before Traefik runs; that creates the file."""
    proxy = make_proxy(should_start=False, dynamic_config_file=str(watched / "routes.toml"))
    began = time.monotonic()

    assert await proxy.get_all_routes() == {}
    assert await proxy.get_route("/user/a/") is None

    assert time.monotonic() - began < 1 * PATIENCE
    assert (watched / "routes.toml").stat().st_mode & 0o777 == 0o600
    assert _names(watched) == ["routes.toml", "routes.toml.tmp"]


async def test_an_add_fails_in_time_if_nobody_answers_at_traefik_url(watched: Path, make_proxy: ProxyMaker) -> None:
    """The error names the file, the URL, the answer and what to check; the route stays written."""
    file, url = watched / "routes.toml", f"http://127.0.0.1:{free_port()}"
    proxy = make_proxy(
        should_start=False,
        dynamic_config_file=str(file),
        traefik_url=url,
        check_route_timeout=1,
        public_url="http://:1",
    )
    began = time.monotonic()

    with pytest.raises(RouteNotLive) as failure:
        await proxy.add_route("/user/a/", "http://127.0.0.1:1", {})

    assert 1 <= time.monotonic() - began < 3 * PATIENCE
    said = str(failure.value)
    expected = (str(file), url, "no answer", "Traefik does not run", "c.TraefikProxy.traefik_url")
    assert [text for text in expected if text not in said] == []
    assert list(await proxy.get_all_routes()) == ["/user/a/"]


async def test_an_add_fails_in_time_if_traefik_has_another_entry_point(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker
) -> None:
    """If traefik_entrypoint is not Traefik's name for it, the error shows Traefik's 404."""
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}, entry_point="public") as traefik:
        proxy = make_proxy(
            should_start=False,
            dynamic_config_file=str(watched / "routes.toml"),
            traefik_url=traefik.url,
            check_route_timeout=1 * PATIENCE,
        )

        with pytest.raises(RouteNotLive, match=r"answered 404 \(Not Found\), without our revision"):
            await proxy.add_route("/user/a/", "http://127.0.0.1:1", {})


async def test_a_delete_that_is_not_live_in_time_only_warns(
    watched: Path, make_proxy: ProxyMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """An error would keep the Hub from stopping the user's server; the route is gone from the file."""
    proxy = make_proxy(
        should_start=False,
        dynamic_config_file=str(watched / "routes.toml"),
        traefik_url=f"http://127.0.0.1:{free_port()}",
        check_route_timeout=1,
    )
    with pytest.raises(RouteNotLive):
        await proxy.add_route("/user/a/", "http://127.0.0.1:1", {})
    caplog.clear()

    await proxy.delete_route("/user/a/")

    # The watcher says so as well, if it has looked five times by then.
    warnings = [record.getMessage() for record in caplog.records if "are not served" not in record.getMessage()]
    assert [warning[:30] for warning in warnings] == ["Deleting '/user/a/': Revision "]
    assert await proxy.get_all_routes() == {}


async def test_routes_that_were_written_before_traefik_starts_are_served(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """Traefik and the Hub may be started in any order."""
    file = watched / "routes.toml"
    traefik = ForeignTraefik(tmp_path, provider={"filename": str(file)})
    proxy = _external(make_proxy, traefik, file)
    backend = await make_backend("a")
    adding = asyncio.create_task(proxy.add_route("/user/a/", backend.url, {}))
    await eventually(file.exists)

    async with traefik:
        await adding
        assert (await get(traefik.url, "/user/a/")).by == "a"


async def test_routes_outlive_the_hub(
    tmp_path: Path, watched: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """While the Hub is down, Traefik keeps serving; the next Hub finds the routes and can change them."""
    file = watched / "routes.toml"
    backend, other = await make_backend("a"), await make_backend("other")
    async with ForeignTraefik(tmp_path, provider={"directory": str(watched)}) as traefik:
        hub = _external(make_proxy, traefik, file)
        await hub.add_route("/user/a/", backend.url, {"user": "a", "server_name": ""})
        routes = await hub.get_all_routes()
        answers = []

        async def keep_asking() -> None:
            while True:
                answers.append((await get(traefik.url, "/user/a/")).by)

        async with meanwhile(keep_asking()):
            await hub.stop()
            seen = len(answers)
            await eventually(lambda: len(answers) > seen + 5)
            next_hub = _external(make_proxy, traefik, file)
            assert await next_hub.get_all_routes() == routes
            seen = len(answers)
            await eventually(lambda: len(answers) > seen + 5)

        assert set(answers) == {"a"}
        await next_hub.add_route("/user/a/", other.url, {"user": "a", "server_name": ""})
        assert (await get(traefik.url, "/user/a/")).by == "other"


async def test_two_hubs_do_not_write_one_file(watched: Path, make_proxy: ProxyMaker) -> None:
    """The second one is refused, with an error that names the file, and the first goes on."""
    settings = {"should_start": False, "dynamic_config_file": str(watched / "routes.toml")}
    first, second = make_proxy(**settings), make_proxy(**settings)
    await first.get_all_routes()

    with pytest.raises(StoreLocked, match=r"routes\.toml is already used by another process"):
        await second.get_all_routes()

    assert await first.get_all_routes() == {}


async def test_a_file_that_traefik_would_not_load_is_refused(watched: Path, make_proxy: ProxyMaker) -> None:
    """The name must end in .toml; the error says so at once."""
    proxy = make_proxy(should_start=False, dynamic_config_file=str(watched / "routes.conf"))

    with pytest.raises(ConfigurationError, match=r"must end in \.toml"):
        await proxy.get_all_routes()

    assert _names(watched) == []


async def test_the_group_can_be_allowed_to_read_the_file(watched: Path, make_proxy: ProxyMaker) -> None:
    """dynamic_config_file_mode sets the mode of every version, for a Traefik that runs as another user."""
    file = watched / "routes.toml"
    proxy = make_proxy(should_start=False, dynamic_config_file=str(file), dynamic_config_file_mode=0o640)

    await proxy.get_all_routes()
    assert file.stat().st_mode & 0o777 == 0o640
