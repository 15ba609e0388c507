"""Any text that JupyterHub accepts in a name or in data is served exactly or refused, and affects no other route."""

from __future__ import annotations

import asyncio
import importlib
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import toml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.backend import Backend, get
from support.fixtures import BackendMaker, ProxyMaker
from support.hostile import LONG_TEXTS, NAMES, RAW_NAMES, as_browsers_send, escaped

from traefik_toml_proxy import InvalidRoute, TraefikTomlProxy

# A TOML parser that the proxy does not use; on Python 3.10 it is a package of its own.
tomllib: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

BYSTANDERS = ["/", "/user/bystander/", "/user/bystander/server/", "/services/bystander/"]


class Served:
    """A real proxy with some routes of bystanders, and one backend; the target's path shows which route a request took."""

    def __init__(self, proxy: TraefikTomlProxy, backend: Backend) -> None:
        self.proxy = proxy
        self._backend = backend
        self._tags: dict[str, str] = {}

    def target(self, routespec: str) -> str:
        """The target of ``routespec``, always the same one."""
        tag = self._tags.setdefault(routespec, f"route-{len(self._tags)}")
        return f"{self._backend.url}/{tag}"

    async def add(self, routespec: str, data: dict[str, Any] | None = None) -> None:
        """Add a route to its own target."""
        await self.proxy.add_route(routespec, self.target(routespec), data or {})

    async def add_all(self, routespecs: Iterable[str]) -> None:
        """Add many routes at once, as check_routes does."""
        await asyncio.gather(*(self.add(routespec) for routespec in routespecs))

    async def arrived(self, paths: Iterable[str]) -> list[str]:
        """Return for each request the path that its target saw (the target's own path first), or the status."""
        some = asyncio.Semaphore(20)

        async def one(path: str) -> str:
            async with some:
                answer = await get(self.proxy.public_url, path)
            return str(answer.seen.get("path", answer.status))

        return await asyncio.gather(*map(one, paths))

    def expected(self, routespec: str, path: str) -> str:
        """What :meth:`arrived` returns if ``path`` took the route of ``routespec`` and arrived unchanged."""
        return "/" + self.target(routespec).rpartition("/")[2] + path

    async def check_bystanders(self) -> None:
        """Check that the bystanders' routes are served as before."""
        paths = [f"{routespec}some//file?z=%2F" for routespec in BYSTANDERS]
        assert [self.expected(r, p) for r, p in zip(BYSTANDERS, paths, strict=True)] == await self.arrived(paths)

    def file_status(self) -> tuple[int, int]:
        """The inode and time of the file, which change with every version."""
        status = (Path(self.proxy.state_dir) / "dynamic.toml").stat()
        return status.st_ino, status.st_mtime_ns

    def check_file_and_log(self) -> None:
        """Check that two TOML parsers read the same from the file, and that Traefik has logged no error."""
        folder = Path(self.proxy.state_dir)
        text = (folder / "dynamic.toml").read_text("utf-8")
        assert tomllib.loads(text) == toml.loads(text)
        assert (folder / "traefik.log").read_text() == ""


@pytest.fixture
async def served(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> Served:
    """A proxy that serves the bystanders."""
    served = Served(proxy, await make_backend("one for all"))
    await served.add_all(BYSTANDERS)
    return served


def _spellings(name: str) -> set[str]:
    """The spellings of a name in a request: JupyterHub's, fully escaped, and raw, where Traefik escapes only ``|``."""
    return {escaped(name), quote(name, safe=""), as_browsers_send(name).replace("|", "%7C")}


async def test_users_of_any_name_are_served_side_by_side(served: Served) -> None:
    """Each of 250 hostile user names reaches its own server, in JupyterHub's spelling and in others."""
    routespecs = {name: f"/user/{escaped(name)}/" for name in NAMES}
    await served.add_all(routespecs.values())
    requests = [
        (routespec, f"/user/{form}/lab?x=1") for name, routespec in routespecs.items() for form in _spellings(name)
    ]
    requests += [("/", f"/elsewhere{routespec}") for routespec in routespecs.values()]
    expected = [served.expected(routespec, path) for routespec, path in requests]

    assert expected == await served.arrived([path for _, path in requests])
    await served.check_bystanders()
    served.check_file_and_log()


async def test_services_of_any_name_are_served_side_by_side(served: Served) -> None:
    """JupyterHub passes on a service's name raw."""
    routespecs = {name: f"/services/{name}/" for name in RAW_NAMES}
    await served.add_all(routespecs.values())
    requests = [
        (routespec, f"/services/{form}/x") for name, routespec in routespecs.items() for form in _spellings(name)
    ]
    expected = [served.expected(routespec, path) for routespec, path in requests]

    assert expected == await served.arrived([path for _, path in requests])
    await served.check_bystanders()
    served.check_file_and_log()


async def test_named_servers_of_any_name_leave_the_default_server_alone(served: Served) -> None:
    """Requests that are not below a named server's path go to the user's default server, however similar they look."""
    names = [name for name in NAMES if name not in LONG_TEXTS]
    routespecs = {name: f"/user/bystander/{escaped(name)}/" for name in names}
    await served.add_all(routespecs.values())
    default = "/user/bystander/"
    beside = [f"{default}{escaped(name)}-beside/x" for name in names]
    below = [f"{routespec}x" for routespec in routespecs.values()]

    assert [served.expected(default, path) for path in beside] == await served.arrived(beside)
    assert [
        served.expected(routespec, path) for routespec, path in zip(routespecs.values(), below, strict=True)
    ] == await served.arrived(below)
    await served.check_bystanders()
    served.check_file_and_log()


async def test_deleting_hostile_names_leaves_the_table_as_it_was(served: Served) -> None:
    """Each route can be deleted by its own routespec, and no other route goes with it."""
    before = await served.proxy.get_all_routes()
    routespecs = [f"/user/{escaped(name)}/" for name in NAMES] + [f"/services/{name}/" for name in RAW_NAMES]
    await served.add_all(routespecs)

    await asyncio.gather(*(served.proxy.delete_route(routespec) for routespec in routespecs))

    assert before == await served.proxy.get_all_routes()
    paths = [f"/user/{escaped(name)}/x" for name in NAMES]
    assert [served.expected("/", path) for path in paths] == await served.arrived(paths)
    await served.check_bystanders()
    served.check_file_and_log()


async def test_data_of_any_text_comes_back_as_it_was(served: Served) -> None:
    """A route's data is kept byte for byte, and never becomes part of Traefik's configuration."""
    data: dict[str, Any] = {name: {"as a value": name, "in a list": [name, {name: None}]} for name in NAMES[:-50]}
    data["long"] = LONG_TEXTS
    data["\ud800 a lone surrogate"] = {"\udfff": "\ud83d"}

    await served.add("/user/a/", data)

    assert (await served.proxy.get_route("/user/a/") or {})["data"] == data
    assert await served.arrived(["/user/a/x"]) == [served.expected("/user/a/", "/user/a/x")]
    await served.check_bystanders()
    served.check_file_and_log()


async def test_a_second_spelling_of_a_place_is_refused(served: Served) -> None:
    """The first routespec for the same requests is served as before."""
    first, *others = ["/user/a%40%62/", "/user/a%40b/", "/user/a@b/", "/user/a@%62/", "/user/%61%40b/"]
    await served.add(first)

    refusals = await asyncio.gather(*map(served.add, others), return_exceptions=True)

    assert [InvalidRoute] * len(others) == [type(refusal) for refusal in refusals]
    assert all("same place in another spelling" in str(refusal) for refusal in refusals)
    requests = ["/user/a@b/x", "/user/a%40b/x"]
    assert [served.expected(first, path) for path in requests] == await served.arrived(requests)
    served.check_file_and_log()


# A routespec, and a word from the error.
REFUSED_ROUTESPECS = {
    "/user/./": "'.' or '..' segment",
    "/user/../": "'.' or '..' segment",
    "/../": "'.' or '..' segment",
    "/user/%2e/": "'.' or '..' segment",
    "/user/%2E%2e/": "'.' or '..' segment",
    "/user/.%2E/": "'.' or '..' segment",
    "/user/a%2F..%2Fb/": "'.' or '..' segment",
    "/user/a%2f%2e%2e/": "'.' or '..' segment",
    "/user/..\\a/": "'.' or '..' segment",
    "/user/a%5C../": "'.' or '..' segment",
    "/services/%zz/": "percent sign",
    "/services/100%/": "percent sign",
    "/services/%/": "percent sign",
    "/services/%{{/": "percent sign",
    "/services/%\u0660\u0661/": "percent sign",
    "/user/%FF/": "UTF-8",
    "/user/%C3/": "UTF-8",
    "/user/%ED%A0%80/": "UTF-8",
    "/user/\ud800/": "UTF-8",
    "//": "more than one slash",
    "/user/a//": "more than one slash",
    "evil.example`) || PathPrefix(`/": "host-based route",
}


async def test_a_routespec_that_cannot_be_served_is_refused_with_a_reason(served: Served) -> None:
    """The ValueError says why and shows the routespec, escaped, on one line; nothing is written."""
    before = served.file_status()

    refusals = await asyncio.gather(*map(served.add, REFUSED_ROUTESPECS), return_exceptions=True)

    assert all(isinstance(refusal, ValueError) for refusal in refusals)
    said = dict(zip(REFUSED_ROUTESPECS, map(str, refusals), strict=True))
    assert {routespec: reason in said[routespec] for routespec, reason in REFUSED_ROUTESPECS.items()} == dict.fromkeys(
        said, True
    )
    assert {routespec: ascii(routespec)[1:-1].rstrip("/") in text for routespec, text in said.items()} == dict.fromkeys(
        said, True
    )
    assert all(text.isprintable() and len(text) < 500 for text in said.values())
    assert before == served.file_status()


async def test_a_very_long_routespec_is_shown_in_part(served: Served) -> None:
    """The error is of a readable length."""
    with pytest.raises(InvalidRoute, match=r"… \(10010 characters\)") as refusal:
        await served.add("/user/" + "x" * 10_000 + "/../")

    assert len(str(refusal.value)) < 500


REFUSED_HOSTS = [
    "*",
    "*.example.org",
    "a.example.org:8000",
    "evil.example`) || PathPrefix(`/",
    'evil.example") || PathPrefix("',
    "a\nb",
    "{{.}}",
    "a b",
    "é.example.org",
    ".example.org",
    "a..b",
    "-a.example.org",
    "[__1]",
    "a%2Eb",
    "x" * 254,
    "║",
]


async def test_a_host_that_is_no_plain_host_name_is_refused(make_proxy: ProxyMaker, make_backend: BackendMaker) -> None:
    """No port, no pattern, no other text is accepted."""
    proxy = make_proxy(host_routing=True)
    await proxy.start()
    backend = await make_backend("hub")
    await proxy.add_route("/", backend.url, {})

    refusals = await asyncio.gather(
        *(proxy.add_route(f"{host}/", backend.url, {}) for host in REFUSED_HOSTS), return_exceptions=True
    )

    assert [InvalidRoute] * len(REFUSED_HOSTS) == [type(refusal) for refusal in refusals]
    assert all("is not a host name" in str(refusal) for refusal in refusals)
    assert all(str(refusal).isprintable() for refusal in refusals)
    assert (await get(proxy.public_url, "/x")).by == "hub"


REFUSED_TARGETS = [
    "",
    "127.0.0.1:8000",
    "ftp://127.0.0.1",
    "http://",
    "http://:8000",
    "http+unix://%2Ftmp%2Fx.sock",
    "http://user:password@127.0.0.1",
    "http://127.0.0.1:0",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:",
    "http://127.0.0.1:8000/?x",
    "http://127.0.0.1:8000/#x",
    "http://127.0.0.1:8000/a b",
    'http://127.0.0.1:8000/"\n[http.routers.evil]',
    "http://127.0.0.1:8000/{{.}}",
    "http://127.0.0.1:8000/║",
    "http://127.0.0.1:8000/%zz",
    "http://127.0.0.1:8000/../x",
    "http://127.0.0.1:8000/%2e%2e/x",
    "http://127.0.0.1\n:8000",
    "http://127.0.0.1\t:8000",
    "http://é.example",
    "http://[::1",
    "http://[evil]",
    "http://*",
    "http://\ud800",
]


async def test_a_target_that_cannot_be_reached_exactly_is_refused(served: Served) -> None:
    """The route that was there before stays."""
    await served.add("/user/a/")

    refusals = await asyncio.gather(
        *(served.proxy.add_route("/user/a/", target, {}) for target in REFUSED_TARGETS), return_exceptions=True
    )

    assert [InvalidRoute] * len(REFUSED_TARGETS) == [type(refusal) for refusal in refusals]
    assert all("'/user/a/'" in str(refusal) and str(refusal).isprintable() for refusal in refusals)
    assert await served.arrived(["/user/a/x"]) == [served.expected("/user/a/", "/user/a/x")]
    await served.check_bystanders()
    served.check_file_and_log()


REFUSED_DATA: list[Any] = [
    {"a": math.nan},
    {"a": math.inf},
    {1: "a"},
    {"a": (1, 2)},
    {"a": {1, 2}},
    {"a": b"x"},
    {"a": object()},
    ["not a dict"],
    "text",
]


async def test_data_that_json_would_change_is_refused(served: Served) -> None:
    """Other routes in the same batch are added."""
    *refusals, taken = await asyncio.gather(
        *(served.proxy.add_route("/user/a/", "http://127.0.0.1:1", data) for data in REFUSED_DATA),
        served.add("/user/b/"),
        return_exceptions=True,
    )

    assert [InvalidRoute] * len(REFUSED_DATA) == [type(refusal) for refusal in refusals]
    assert taken is None
    assert await served.proxy.get_route("/user/a/") is None
    assert await served.arrived(["/user/b/"]) == [served.expected("/user/b/", "/user/b/")]


async def test_a_refused_route_among_many_fails_alone(served: Served) -> None:
    """Of a hundred concurrent adds, ten are invalid, and the other ninety are served."""
    good = [f"/user/good-{number}/" for number in range(90)]
    bad = [f"/user/{'.' * (number % 2 + 1)}/{number}/" for number in range(10)]

    outcomes = await asyncio.gather(*map(served.add, good + bad), return_exceptions=True)

    assert [type(None)] * 90 + [InvalidRoute] * 10 == [type(outcome) for outcome in outcomes]
    assert [served.expected(routespec, routespec) for routespec in good] == await served.arrived(good)
    await served.check_bystanders()


_PIECES = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from(["{{", "}}", '"', "`", "\\", "\\u", "\\U", "\n", "║", "%", "%2F", "]]", "|", "(", "$", "^", "."]),
)
_NAMES = st.lists(_PIECES, min_size=1, max_size=12).map("".join).filter(lambda name: set(name) - set("./\\"))


# One proxy for all examples: what one example leaves behind would harm the next.
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(names=st.lists(_NAMES, min_size=20, max_size=40, unique=True))
async def test_random_names_are_served_and_deleted(served: Served, names: list[str]) -> None:
    """Dozens of random names at a time are each served exactly, and leave nothing when they are deleted."""
    good = [name for name in names if not {".", ".."} & set(name.replace("\\", "/").split("/"))]
    routespecs = [f"/user/{escaped(name)}/" for name in good]
    await served.add_all(routespecs)
    paths = [f"{routespec}x" for routespec in routespecs]

    assert [served.expected(r, p) for r, p in zip(routespecs, paths, strict=True)] == await served.arrived(paths)
    await served.check_bystanders()
    served.check_file_and_log()

    await asyncio.gather(*map(served.proxy.delete_route, routespecs))
    assert set(BYSTANDERS) == set(await served.proxy.get_all_routes())
