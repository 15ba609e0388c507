"""Laws of stores/toml_document.py: what is rendered is read back, and depends on the table alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import SETTINGS, dynamic_settings, read_toml, routes, tables

from traefik_toml_proxy.routes import Change, Route, RouteTable, Snapshot
from traefik_toml_proxy.stores import toml_document
from traefik_toml_proxy.stores.toml_document import TomlRenderer, read_snapshot
from traefik_toml_proxy.stores.toml_text import loads
from traefik_toml_proxy.traefik.dynamic import DynamicSettings

revisions = st.integers(0, 10**15)


def given_routes(table: RouteTable) -> dict[str, dict[str, Any]]:
    """Return the routes as dicts, by routespec."""
    return {route.routespec: route.as_dict() for route in table}


@given(settings=dynamic_settings, routes=tables(), revision=revisions)
@SETTINGS
def test_a_snapshot_is_read_back_exactly(settings: DynamicSettings, routes: list[Route], revision: int) -> None:
    """Promise 6, exact memory: routespec, target and data come back byte for byte."""
    rendered = TomlRenderer(settings, writer="a test").render(Snapshot(revision, RouteTable(routes)))

    snapshot = read_snapshot(rendered.decode())

    assert snapshot is not None
    assert revision == snapshot.revision
    assert {route.routespec: route for route in routes} == {route.routespec: route for route in snapshot.table}


@given(settings=dynamic_settings, routes=tables(), revision=revisions)
@SETTINGS
def test_all_readers_see_the_same_file(settings: DynamicSettings, routes: list[Route], revision: int) -> None:
    """The reader of this package and that of the standard library agree on every key and value of the file."""
    text = TomlRenderer(settings, writer="a test").render(Snapshot(revision, RouteTable(routes))).decode()

    assert read_toml(text) == loads(text)


@given(settings=dynamic_settings, routes=tables(), revision=revisions)
@SETTINGS
def test_no_route_starts_a_template_or_a_list(settings: DynamicSettings, routes: list[Route], revision: int) -> None:
    """Traefik sees neither ``{{``, nor the character with which it joins lists in a rule (paerser/file/raw_node.go:95)."""
    text = TomlRenderer(settings, writer="a test").render(Snapshot(revision, RouteTable(routes))).decode()

    assert "{{" not in text
    assert not [router for router in read_toml(text)["http"]["routers"].values() if "║" in router["rule"]]


@given(settings=dynamic_settings, routes=tables(), revision=revisions)
@SETTINGS
def test_each_route_has_its_own_router_and_service(
    settings: DynamicSettings, routes: list[Route], revision: int
) -> None:
    """Promise 4, one route cannot touch another: each has one router, below the front routers, and one service."""
    http = read_toml(TomlRenderer(settings, writer="a test").render(Snapshot(revision, RouteTable(routes))).decode())[
        "http"
    ]
    names = settings.names
    services = {name: service for name, service in http.get("services", {}).items() if names.is_route(name)}
    routers = {name: router for name, router in http["routers"].items() if names.is_route(name)}
    urls = {name: service["loadBalancer"]["servers"][0]["url"] for name, service in services.items()}

    assert sorted(route.target for route in routes) == sorted(urls[router["service"]] for router in routers.values())
    assert all(http["routers"].keys() >= set(router["parentRefs"]) for router in routers.values())
    assert {(settings.entry_point,)} >= {
        tuple(r["entryPoints"]) for r in http["routers"].values() if "entryPoints" in r
    }
    assert routers.keys() == services.keys()


@given(settings=dynamic_settings, data=st.data(), known=st.lists(routes, min_size=1, max_size=5))
@SETTINGS
def test_a_used_renderer_renders_as_a_new_one(
    settings: DynamicSettings, data: st.DataObject, known: list[Route]
) -> None:
    """What it keeps of earlier tables has no effect on the bytes."""
    other_targets = [Route(route.routespec, "http://other:1", "{}", route.place) for route in known]
    changes = st.one_of(
        st.sampled_from([*known, *other_targets]).map(lambda route: Change(route.routespec, route)),
        st.sampled_from(known).map(lambda route: Change(route.routespec, None)),
    )
    renderer, table = TomlRenderer(settings, writer="a test"), RouteTable()
    for revision, batch in enumerate(data.draw(st.lists(st.lists(changes, max_size=3), min_size=1, max_size=5))):
        table, _ = table.with_changes(batch)
        snapshot = Snapshot(revision, table)
        assert TomlRenderer(settings, writer="a test").render(snapshot) == renderer.render(snapshot)


@given(settings=dynamic_settings, routes=tables(), data=st.data())
@SETTINGS
def test_the_order_of_adding_does_not_matter(
    settings: DynamicSettings, routes: list[Route], data: st.DataObject
) -> None:
    """Two tables with the same routes have the same text."""
    shuffled = data.draw(st.permutations(routes))

    expected = TomlRenderer(settings, writer="a test").render(Snapshot(1, RouteTable(routes)))
    assert expected == TomlRenderer(settings, writer="a test").render(Snapshot(1, RouteTable(shuffled)))


@given(settings=dynamic_settings, routes=tables(max_size=2), data=st.data())
@SETTINGS
def test_a_damaged_file_is_read_or_a_value_error(
    settings: DynamicSettings, routes: list[Route], data: st.DataObject
) -> None:
    """Promise 8, it mends itself: whatever has happened to the file, reading it raises nothing but ValueError."""
    text = TomlRenderer(settings, writer="a test").render(Snapshot(1, RouteTable(routes))).decode()
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    damaged = text[:start] + data.draw(st.text(max_size=5)) + text[end:]

    try:
        snapshot = read_snapshot(damaged)
    except ValueError:
        return
    assert snapshot is None or snapshot.revision >= 0


@given(settings=dynamic_settings, routes=tables(max_size=4), data=st.data())
@SETTINGS
def test_reading_by_lines_gives_what_a_toml_parser_gives(
    settings: DynamicSettings, routes: list[Route], data: st.DataObject
) -> None:
    """A file is read line by line as it is read whole, also where somebody has edited it."""
    text = TomlRenderer(settings, writer="a test").render(Snapshot(1, RouteTable(routes))).decode()
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    edited = text[:start] + data.draw(st.sampled_from(["", text[start:end] * 2, text[start:end]])) + text[end:]

    def read() -> dict[str, dict[str, Any]] | None:
        try:
            snapshot = read_snapshot(edited)
        except ValueError:
            return None
        return given_routes(snapshot.table) if snapshot else {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toml_document, "_read_lines", lambda _: None)
        whole = read()
    by_lines = read()
    assert by_lines == whole or by_lines is None or whole is None
