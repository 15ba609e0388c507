"""Laws of traefik/layers.py: layers do not change which route a request takes, and need fewer comparisons."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rule_reading import Request, read_rule, requests
from support.strategies import SETTINGS, can_be_a_segment, dynamic_settings, read_toml, table_of_places, tables
from support.strategies import segments as any_segments

from traefik_toml_proxy.routes import Place, Route, RouteTable, Snapshot
from traefik_toml_proxy.stores.toml_document import TomlRenderer, read_snapshot
from traefik_toml_proxy.traefik import layers
from traefik_toml_proxy.traefik.dynamic import DynamicSettings
from traefik_toml_proxy.traefik.layers import Layers, arrange, key
from traefik_toml_proxy.traefik.names import Names
from traefik_toml_proxy.traefik.rules import priority, rule

FEW = 8


@pytest.fixture(autouse=True, scope="module")
def _small_tables_have_layers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "FEW_ROUTES", FEW)
        yield


# Names that are prefixes of each other, or differ in a character that is reserved, encoded, or far from the others.
_CHARACTERS = [
    "a",
    "b",
    "c",
    "@",
    "%",
    "/",
    "+",
    "'",
    "0",
    "1",
    "é",
    "秀",
    "\ufffd",
    "\ue000",
    "\U0010ffff",
    "\0",
    ".",
    "[",
]
_others = st.one_of(st.sampled_from(["user", "a", "ab"]), any_segments.filter(lambda text: len(text) < 100))
_hosts = st.one_of(
    st.lists(st.sampled_from(["a", "b", "0", "-", "."]), min_size=1, max_size=4)
    .map("".join)
    .filter(re.compile(r"[ab0]([ab0-]*[ab0])?(\.[ab0]([ab0-]*[ab0])?)*").fullmatch),
    st.sampled_from(["user-a.example.com", "user-b.example.com", "user_c.example.com"]),
)


@st.composite
def some_places(draw: st.DrawFn, least: int = FEW) -> list[Place]:
    """Places of one Hub: all without a host, or all with one except the Hub's ``/`` (see ``test_rules_laws.py``)."""
    host = _hosts if draw(st.booleans()) else st.just("")
    few = draw(st.lists(st.sampled_from(_CHARACTERS), min_size=2, max_size=6, unique=True))
    near = st.lists(st.sampled_from(few), min_size=1, max_size=3).map("".join).filter(can_be_a_segment)
    paths = st.one_of(
        near.map(lambda name: ("user", name)), st.lists(st.one_of(near, near, _others), max_size=4).map(tuple)
    )
    found = draw(st.lists(st.builds(Place, host, paths), min_size=least, max_size=40, unique=True))
    return list(dict.fromkeys([*found, *draw(st.sampled_from([[], [Place("", ())]]))]))


def arranged(places: list[Place]) -> tuple[Layers, dict[Place, tuple[str, ...]]]:
    """Return the layers of places, and the names of the parents of each place."""
    ordered = sorted(places, key=key)
    found = arrange([key(place) for place in ordered], Names())
    return found, dict(zip(ordered, found.parents_of, strict=True))


def taken(request: Request, found: Layers, parents_of: dict[Place, tuple[str, ...]]) -> Place | None:
    """Return the place whose router Traefik chooses for a request (pkg/server/router/router.go)."""
    matching = [parent for parent in found.parents if read_rule(parent.rule)(request)]
    if not matching:
        return None
    parent = max(matching, key=lambda parent: parent.priority)
    children = [place for place, names in parents_of.items() if parent.name in names]
    return max((place for place in children if read_rule(rule(place))(request)), key=priority, default=None)


@given(places=some_places(), data=st.data())
@settings(SETTINGS, max_examples=150)
def test_a_request_takes_the_route_with_the_longest_prefix(places: list[Place], data: st.DataObject) -> None:
    """Promise 5, through both layers, including requests that match a parent but none of its children."""
    found, parents_of = arranged(places)
    table = table_of_places(places)
    for _ in range(10):
        asked = data.draw(st.sampled_from(places))
        request = data.draw(requests(asked.host, asked.segments))
        route = table.match(request.host, request.path)
        place = taken(request, found, parents_of)
        assert (route and route.place) == (place and place.canonical)


@given(places=some_places())
@SETTINGS
def test_a_request_is_compared_with_few_routers(places: list[Place]) -> None:
    """Parents plus the children of any parent: at most 3.1 times the square root of the number of routes, plus 3."""
    found, parents_of = arranged(places)
    children = Counter(name for names in parents_of.values() for name in names)

    assert len(found.parents) + max(children.values()) <= 3.1 * math.sqrt(len(places)) + 3


@given(places=some_places())
@SETTINGS
def test_each_router_has_a_parent_and_each_parent_children(places: list[Place]) -> None:
    """To Traefik, a missing parent is an error, and so is a parent without children; names are unique."""
    found, parents_of = arranged(places)
    names = [parent.name for parent in found.parents]

    assert all(parents_of.values())
    assert set(names) == {name for names in parents_of.values() for name in names}
    assert len(names) == len(set(names))


@given(places=some_places(least=FEW + 2))
@SETTINGS
def test_only_the_neighbours_of_a_change_get_other_parents(places: list[Place]) -> None:
    """If one route replaces another, only routes move whose parent matches requests for one of the two."""
    one, other, *rest = places
    before, parents_before = arranged([one, *rest])
    after, parents_after = arranged([other, *rest])
    requests_for = [
        Request(place.host or "x", "".join(f"/{quote(s, safe='')}" for s in place.segments) or "/")
        for place in (one, other)
    ]
    touched = {
        parent.name for parent in (*before.parents, *after.parents) if any(map(read_rule(parent.rule), requests_for))
    }

    moved = [place for place in rest if parents_before[place] != parents_after[place]]

    assert [place for place in moved if touched.isdisjoint(parents_before[place] + parents_after[place])] == []


@given(places=some_places())
@SETTINGS
def test_two_places_have_two_keys(places: list[Place]) -> None:
    """One key is a prefix of the other if and only if its place encloses the other place."""
    assert len(places) == len({key(place) for place in places})
    for one in places:
        for other in places:
            encloses = one.host in ("", other.host) and one.segments == other.segments[: len(one.segments)]
            same_host = one.host == other.host or not one.segments
            assert (encloses and same_host) == key(other).startswith(key(one))


layered_tables = tables(min_size=FEW, max_size=FEW + 2)


@given(settings=dynamic_settings, routes=layered_tables)
@SETTINGS
def test_a_snapshot_in_layers_is_read_back_exactly(settings: DynamicSettings, routes: list[Route]) -> None:
    """Promise 6, exact memory; all readers see the same file."""
    snapshot = read_snapshot(TomlRenderer(settings, writer="a test").render(Snapshot(1, RouteTable(routes))).decode())

    assert snapshot is not None
    assert {route.routespec: route for route in routes} == {route.routespec: route for route in snapshot.table}


@given(settings=dynamic_settings, routes=layered_tables, data=st.data())
@SETTINGS
def test_a_used_renderer_renders_layers_as_a_new_one(
    settings: DynamicSettings, routes: list[Route], data: st.DataObject
) -> None:
    """What it keeps of earlier tables has no effect, whether they had layers or not."""
    renderer = TomlRenderer(settings, writer="a test")
    for revision in range(4):
        some = data.draw(st.lists(st.sampled_from(routes), unique_by=lambda route: route.place))
        snapshot = Snapshot(revision, RouteTable(some if revision % 2 else routes))
        assert TomlRenderer(settings, writer="a test").render(snapshot) == renderer.render(snapshot)


@given(settings=dynamic_settings, routes=layered_tables)
@SETTINGS
def test_children_and_parents_have_no_settings_of_each_other(settings: DynamicSettings, routes: list[Route]) -> None:
    """A child has no entry points and no TLS, and a parent has no service (pkg/server/router/router.go:90-165)."""
    http = read_toml(TomlRenderer(settings, writer="a test").render(Snapshot(1, RouteTable(routes))).decode())["http"]
    routers = http["routers"]
    anywhere = routers.pop(settings.names.anywhere, {})
    children = [router for router in routers.values() if "parentRefs" in router]
    parents = {name for router in children for name in router["parentRefs"]}

    assert [router for router in children if {"entryPoints", "tls"} & router.keys()] == []
    for router in routers.values():
        assert ("parentRefs" in router) != (router.get("entryPoints") == [settings.entry_point])
        assert ("tls" in router) == (settings.router_tls and "parentRefs" not in router)
    assert [name for name, router in routers.items() if ("service" in router) == (name in parents)] == []
    # Only this one belongs to all entry points.
    assert {"parentRefs", "entryPoints"}.isdisjoint(anywhere)
    assert ("tls" in anywhere) == (settings.router_tls and bool(anywhere))
