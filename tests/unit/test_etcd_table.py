"""The keys and values that are kept in etcd, and which transactions turn one table into another."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given
from support.store_contract import route_of
from support.strategies import SETTINGS, routes, tables

from traefik_toml_proxy.errors import ConfigurationError, InvalidRoute
from traefik_toml_proxy.routes import Route
from traefik_toml_proxy.stores.etcd_table import (
    Head,
    Keys,
    Report,
    Step,
    check_size,
    leader_value,
    owner_in,
    plan,
    read_head,
    read_report,
    read_route,
    route_value,
)

KEYS = Keys.below("/jupyterhub/")


def test_all_keys_are_below_the_root() -> None:
    assert KEYS.leader == b"/jupyterhub/leader"
    assert KEYS.head == b"/jupyterhub/table/head"
    assert KEYS.table == (b"/jupyterhub/table/", b"/jupyterhub/table0")
    assert KEYS.routes == (b"/jupyterhub/table/routes/", b"/jupyterhub/table/routes0")
    assert KEYS.replicas == (b"/jupyterhub/replicas/", b"/jupyterhub/replicas0")


@pytest.mark.parametrize("root", ["", "/", "//"])
def test_a_root_is_needed(root: str) -> None:
    with pytest.raises(ConfigurationError, match="etcd_root"):
        Keys.below(root)


def test_a_key_has_its_name() -> None:
    assert KEYS.replica_of(KEYS.replica("pod-1")) == "pod-1"
    assert KEYS.routespec_of(b"/jupyterhub/table/routes/\xff") == "\udcff"
    assert KEYS.route("\udcff") == b"/jupyterhub/table/routes/\xff"


@SETTINGS
@given(routes)
def test_a_route_comes_back_exactly(route: Route) -> None:
    """From its key and its value."""
    routespec = KEYS.routespec_of(KEYS.route(route.routespec))

    assert read_route(routespec, route_value(route)) == route


@SETTINGS
@given(tables(), tables())
def test_a_plan_turns_one_table_into_the_other(before: list[Route], after: list[Route]) -> None:
    """With one operation for each routespec that has another route, or none, afterwards."""
    stored: dict[str, Route | None] = {route.routespec: route for route in before}
    wanted = {route.routespec: route for route in after}
    changed = {name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name)}
    steps = plan(KEYS, stored, after)
    keys = [next(iter(operation.values()))["key"] for step in steps for operation in step.operations]
    for step in steps:
        stored |= step.routes

    assert {name: route for name, route in stored.items() if route} == wanted
    assert sorted(b64decode(key) for key in keys) == sorted(KEYS.route(name) for name in changed)


def test_a_plan_has_only_what_has_changed() -> None:
    ada, bob, cleo = (route_of(name) for name in ("ada", "bob", "cleo"))
    (step,) = plan(KEYS, {"/user/ada/": ada, "/user/bob/": bob, "/bad/": None}, [bob, cleo])

    assert step.routes == {"/user/ada/": None, "/bad/": None, "/user/cleo/": cleo}
    kinds = [(kind, b64decode(body["key"])) for operation in step.operations for kind, body in operation.items()]
    assert kinds == [
        ("request_delete_range", KEYS.route("/user/ada/")),
        ("request_delete_range", KEYS.route("/bad/")),
        ("request_put", KEYS.route("/user/cleo/")),
    ]


def test_an_equal_route_is_not_written_again() -> None:
    assert plan(KEYS, {"/user/ada/": route_of("ada")}, [route_of("ada")]) == [Step([], {})]


def test_an_invalid_route_is_replaced() -> None:
    (step,) = plan(KEYS, {"/user/ada/": None}, [route_of("ada")])

    assert step.routes == {"/user/ada/": route_of("ada")}


def test_many_changes_take_several_transactions() -> None:
    """Of at most 119 changes each, as the head is one more."""
    steps = plan(KEYS, {}, [route_of(f"user{number}") for number in range(240)])

    assert [len(step.operations) for step in steps] == [119, 119, 2]


def test_large_changes_take_several_transactions() -> None:
    """Of at most a mebibyte each; one that is larger is alone."""
    large = [Route.checked(f"/user/{n}/", "http://127.0.0.1:1", {"x": "x" * 400_000}) for n in range(4)]
    huge = Route.checked("/user/huge/", "http://127.0.0.1:1", {"x": "x" * 1_200_000})

    assert [len(step.operations) for step in plan(KEYS, {}, [*large, huge])] == [2, 2, 1]


def test_a_route_that_etcd_would_not_take_is_refused() -> None:
    check_size(KEYS, Route.checked("/user/ada/", "http://127.0.0.1:1", {"x": "x" * 1_000_000}))
    with pytest.raises(InvalidRoute, match="etcd takes 1048576"):
        check_size(KEYS, Route.checked("/user/ada/", "http://127.0.0.1:1", {"x": "x" * 1_048_500}))


def test_a_head_comes_back_exactly() -> None:
    head = Head(7, "/secret", 3, "mark.0", "http://127.0.0.1:8081/hub/", 12)

    assert read_head(head.to_bytes()) == head


@pytest.mark.parametrize("revision", [7, None])
def test_a_report_comes_back_exactly(revision: int | None) -> None:
    report = Report(revision, "/secret", "http://10.0.0.1:8002", ready=True)

    assert read_report(report.to_bytes()) == report


BROKEN = [b"", b"{", b"[]", b"3", b"\xff", b"{}", b"[" * 100_000]


@pytest.mark.parametrize("value", [*BROKEN, b'{"format": 2}', b'{"format": 1}', b'{"format": 1, "revision": "7"}'])
def test_what_is_not_a_head_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_head(value)


@pytest.mark.parametrize("value", [*BROKEN, b'{"revision": "7", "secret": "", "url": "", "ready": true}'])
def test_what_is_not_a_report_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_report(value)


@pytest.mark.parametrize("value", [*BROKEN, b'{"target": "http://127.0.0.1:1"}', b'{"target": "x", "data": {}}'])
def test_what_is_not_a_route_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_route("/user/ada/", value)


def test_the_leader_is_known_by_name() -> None:
    assert owner_in(leader_value("process 7 on hub", "token")) == "process 7 on hub"
    assert owner_in(b"{}") == owner_in(b"x") == "an unknown process"
