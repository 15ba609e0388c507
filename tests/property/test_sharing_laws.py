"""Laws of traefik/sharing.py: whatever routes several Hubs on one Traefik have, each request goes to the right one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.rule_reading import Request, belongs, read_rule, requests
from support.strategies import SETTINGS

from traefik_toml_proxy.routes import Place, Route, RouteTable, Snapshot
from traefik_toml_proxy.traefik import layers
from traefik_toml_proxy.traefik.dynamic import DynamicSettings, ErrorPages, Objects
from traefik_toml_proxy.traefik.names import Names
from traefik_toml_proxy.traefik.pieces import Assembler
from traefik_toml_proxy.traefik.sharing import default_namespace, lowest_priority, takes_host
from traefik_toml_proxy.traefik.tree import deep_merge

FEW = 6


@pytest.fixture(autouse=True, scope="module")
def _small_tables_have_layers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "FEW_ROUTES", FEW)
        yield


@dataclass(frozen=True)
class SomeHub:
    """A Hub: where it is, and which routes it has below its base_url."""

    base: tuple[str, ...]
    hosts: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]
    trusted: tuple[str, ...]

    @property
    def table(self) -> RouteTable:
        """Its routes, including that of the Hub itself. Each target has the name of its route."""
        places = [Place("", (*self.base, *path)) for path in ((), *self.paths)]
        return RouteTable(Route.checked(place.canonical, "http://127.0.0.1:1", {}) for place in dict.fromkeys(places))

    def objects(self) -> Objects:
        """Return all objects of HTTP in its file."""
        base = Place("", self.base)
        assembly = Assembler(
            DynamicSettings(
                entry_point="web",
                secret_path="/secret",
                hosts=self.hosts,
                shared_places=(base, Place("", (*self.base, "user")), Place("", (*self.base, "services"))),
                lowest_priority=lowest_priority(base, self.hosts),
                error_pages=ErrorPages("http://127.0.0.1:8081/hub/", "http://127.0.0.1:8000"),
                trusted_proxies=self.trusted,
                names=Names(default_namespace("web", base, self.hosts)),
            )
        ).assemble(Snapshot(1, self.table))
        found = deep_merge(assembly.remaining["http"], assembly.revision.objects())
        for piece in [*assembly.routers, *assembly.routes]:
            found = deep_merge(found, piece.objects())
        for piece in assembly.routes:
            found["routers"][piece.name]["parentRefs"] = list(piece.parents)
        return found

    def rank(self, host: str) -> tuple[int, int]:
        """Return how much it is in front of others for a request that may be for it."""
        return len(self.base), 0 if not self.hosts else 2 if host in self.hosts else 1

    def may_have(self, request: Request) -> bool:
        """Whether a request is for its hosts, and for its base_url or below it."""
        return takes_host(self.hosts, request.matched_host.removesuffix(".")) and belongs(request, "", self.base)


_bases = st.sampled_from([(), ("h2",), ("h2", "x"), ("user",), ("user", "a"), ("h",), ("a@b",), ("h2", "user")])
_hosts: st.SearchStrategy[tuple[str, ...]] = st.sampled_from(
    [
        *[(), (), ("a.example.org",), ("*.example.org",), ("b.org",), ("b.org", "*.example.org")],
        *[("a.example.org", "*.b.org"), ("*.b.org", "b.org")],
    ]
)


def _collide(one: SomeHub, other: SomeHub) -> bool:
    """Whether nothing tells whose a request is."""
    return one.base == other.base and not {*one.hosts}.isdisjoint(other.hosts)


_paths = st.lists(
    st.one_of(
        st.sampled_from(["a", "ab", "a@b", "b", "0", "1"]).map(lambda name: ("user", name)),
        st.sampled_from([("services", "x"), ("user", "a", "b"), ("h2", "user", "a"), ("docs",)]),
    ),
    max_size=FEW + 2,
    unique=True,
).map(tuple)
hubs = st.lists(
    st.builds(SomeHub, _bases, _hosts, _paths, st.sampled_from([(), ("127.0.0.1/32",)])),
    min_size=2,
    max_size=4,
    unique_by=lambda hub: (hub.base, hub.hosts),
).filter(
    lambda hubs: all(
        one.base != other.base or not {*one.hosts} & {*other.hosts} for one, other in combinations(hubs, 2)
    )
)


def taken(request: Request, files: list[Objects]) -> str | None:
    """Return the service to which Traefik sends a request, from its files merged into one (pkg/server/router/router.go)."""
    routers: dict[str, Any] = {}
    for objects in files:
        # Of two routers with one name, Traefik takes the first and skips the others.
        routers = objects["routers"] | routers
    matching = {name: router for name, router in routers.items() if _matcher(router["rule"])(request)}
    name, found = _first({name: router for name, router in matching.items() if "parentRefs" not in router})
    while found is not None and "service" not in found:
        name, found = _first({child: each for child, each in matching.items() if name in each.get("parentRefs", ())})
    return None if found is None else str(found["service"])


_matcher = lru_cache(read_rule)


def _first(routers: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    ordered = sorted(routers.items(), key=lambda item: -item[1]["priority"])
    assert len(ordered) < 2 or ordered[0][1]["priority"] > ordered[1][1]["priority"], f"a tie: {ordered[:2]}"
    return ordered[0] if ordered else ("", None)


_headers = st.sampled_from([(), (("Accept-Encoding", "gzip"),), (("X-Scheme", "https"), ("Accept-Encoding", "gzip"))])


@given(hubs=hubs, headers=_headers, data=st.data())
@settings(SETTINGS, max_examples=150, phases=[Phase.reuse, Phase.generate])  # making an example smaller takes minutes
def test_a_request_goes_to_the_hub_with_the_longest_base_url(
    hubs: list[SomeHub], headers: tuple[tuple[str, str], ...], data: st.DataObject
) -> None:
    """Then to one with host names, whatever routes and layers there are; and there, to the route of the longest prefix."""
    files = [hub.objects() for hub in hubs]
    for _ in range(5):
        asked = data.draw(st.sampled_from(hubs))
        path = data.draw(st.sampled_from([(), ("hub",), *asked.paths]))
        host = data.draw(st.sampled_from(["a.example.org", "b.org", "c.example.org", "x.b.org", "other.org"]))
        sent = data.draw(requests(host, (*asked.base, *path)))
        request = Request(host, sent.path, headers=headers)
        able = [hub for hub in hubs if hub.may_have(request)]
        best = max(able, key=lambda hub: hub.rank(request.matched_host.removesuffix(".")), default=None)
        route = best and best.table.match(host, request.path)
        names = best and Names(default_namespace("web", Place("", best.base), best.hosts))
        assert taken(request, files) == (names.route(route) if names and route else None)


@given(hubs=hubs)
@SETTINGS
def test_nothing_in_two_files_has_the_same_name(hubs: list[SomeHub]) -> None:
    """Traefik would skip the second, whichever Hub it is of."""
    found = [(kind, name) for hub in hubs for kind, by_name in hub.objects().items() for name in by_name]

    assert len(found) == len(set(found))
