"""Laws of routes.py: everything is accepted exactly or refused with a reason; a table is a dict with one more rule."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.rule_reading import belongs, requests
from support.strategies import (
    SETTINGS,
    hosts,
    json_dicts,
    objects,
    place_of,
    places_of_one_hub,
    routes,
    routespecs,
    segments,
    spellings,
    table_of_places,
    targets,
    texts,
)

from traefik_toml_proxy.errors import InvalidRoute
from traefik_toml_proxy.routes import Change, Place, Route, RouteTable, check_target, data_to_json, parse_routespec

any_text = st.one_of(texts, st.text(st.characters(), max_size=6))


def refusal_of(check: Callable[[], object]) -> InvalidRoute | None:
    """Return the InvalidRoute that ``check`` raises, or None; any other exception fails the test."""
    try:
        check()
    except InvalidRoute as refusal:
        return refusal
    return None


@given(routespec=st.one_of(any_text, any_text.map("/{}/".format), any_text.map("/user/{}/".format)))
@SETTINGS
def test_a_routespec_is_accepted_or_refused(routespec: str) -> None:
    """Promise 4: any text is served correctly or refused with a ValueError that names it."""
    refusal = refusal_of(lambda: parse_routespec(routespec))

    assert refusal is None or (refusal.routespec == routespec and str(refusal).isprintable())


@given(routespec=routespecs())
@SETTINGS
def test_the_canonical_spelling_names_the_same_place(routespec: str) -> None:
    """It is a routespec, and the canonical spelling of itself."""
    place = parse_routespec(routespec)

    assert place == parse_routespec(place.canonical)
    assert place == Route.checked(routespec, "http://127.0.0.1:1", {}).parsed_place


@given(host=hosts, segments=st.lists(segments, max_size=3), data=st.data())
@SETTINGS
def test_a_name_is_the_same_segment_however_it_is_spelled(host: str, segments: list[str], data: st.DataObject) -> None:
    """In a routespec, user names are percent-encoded and service names are raw (jupyterhub/user.py:684)."""
    spelled = [data.draw(spellings(segment)) for segment in segments]
    routespec = host + "/" + "".join(text + "/" for text in spelled)

    place = parse_routespec(routespec)

    assert (host.lower(), tuple(segments)) == (place.host, place.segments)


@given(host=hosts, segments=st.lists(segments, max_size=3), other=st.lists(segments, max_size=3), data=st.data())
@SETTINGS
def test_a_place_has_one_canonical_spelling(
    host: str, segments: list[str], other: list[str], data: st.DataObject
) -> None:
    """Two routespecs have the same place if and only if their canonical spellings are equal."""
    one = host + "/" + "".join(data.draw(spellings(segment)) + "/" for segment in segments)
    two = host.swapcase() + "/" + "".join(data.draw(spellings(segment)) + "/" for segment in other)

    assert (segments == other) == (place_of(one) == place_of(two))


@given(target=st.one_of(any_text, any_text.map("http://{}".format), any_text.map("http://h:1/{}".format)))
@SETTINGS
def test_a_target_is_accepted_or_refused(target: str) -> None:
    """Promise 4: an accepted target is ASCII without any character that ends a URL; the error shows a refused one."""
    refusal = refusal_of(lambda: check_target("/x/", target))

    assert refusal is None or (refusal.routespec == "/x/" and str(refusal).isprintable())
    assert refusal or (target.isascii() and {*'"\\{}<>^`| ?#'}.isdisjoint(target))


@given(target=targets)
@SETTINGS
def test_every_usual_target_is_accepted(target: str) -> None:
    """``http[s]://host[:port][/path]`` may have a host name, an IPv4 or an IPv6 address."""
    check_target("/x/", target)


@given(data=objects)
@SETTINGS
def test_data_is_accepted_or_refused(data: object) -> None:
    """Promise 6: accepted data comes back equal and of the same types; all other data is refused with a ValueError."""
    try:
        route = Route.checked("/x/", "http://h:1", data)
    except InvalidRoute:
        return
    assert repr(data) == repr(route.data)


_any_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), any_text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(any_text, inner, max_size=3)),
    max_leaves=8,
)


@given(
    data=st.one_of(_any_json, st.dictionaries(any_text, _any_json, max_size=3)), depth=st.sampled_from([0, 0, 99, 100])
)
@SETTINGS
def test_what_was_json_is_checked_like_anything_else(data: object, depth: int) -> None:
    """What is read back needs fewer checks, with the same outcome."""
    for _ in range(depth):
        data = {"in": data}
    read = json.loads(json.dumps(data))

    def outcome(make: Callable[[str, str, object], Route]) -> Route | str:
        try:
            return make("/x/", "http://h:1", read)
        except InvalidRoute as refusal:
            return str(refusal)

    assert outcome(Route.read) == outcome(Route.checked)


@given(data=json_dicts)
@SETTINGS
def test_each_caller_gets_its_own_dict(data: dict[str, Any]) -> None:
    """Promise 6: every JSON dict is accepted and comes back equal; changing it does not change the route."""
    before = copy.deepcopy(data)
    route = Route.checked("/x/", "http://h:1", data)

    assert data == route.data
    route.data["changed"] = True
    data["changed"] = True
    assert before == route.as_dict()["data"]


@given(data=json_dicts, depth=st.sampled_from([100, 101, 400, 990, 1000, 10_000]))
@SETTINGS
def test_data_of_any_depth_is_accepted_or_refused(data: dict[str, Any], depth: int) -> None:
    """Promise 4: nested data raises no other error, neither now nor when all routes are asked for."""
    nested: dict[str, Any] = data
    for _ in range(depth):
        nested = {"in": nested}
    with pytest.raises(InvalidRoute, match="its data is"):
        data_to_json("/x/", nested)


@given(data=st.data(), known=st.lists(routes, min_size=1, max_size=5))
@SETTINGS
def test_a_table_is_a_dict_in_which_a_place_has_one_routespec(data: st.DataObject, known: list[Route]) -> None:
    """A batch of changes does what the same changes do to a dict in order, except for two spellings of a place."""
    others = [Route.checked(route.routespec, "http://other:1", {}) for route in known]
    spelled = [Route.checked(route.place, "http://spelled:1", {}) for route in known]
    changes = st.one_of(
        st.sampled_from([*known, *others, *spelled]).map(lambda route: Change(route.routespec, route)),
        st.sampled_from([*known, *spelled]).map(lambda route: Change(route.routespec, None)),
    )
    table, model = RouteTable(), dict[str, Route]()
    for batch in data.draw(st.lists(st.lists(changes, max_size=4), min_size=1, max_size=4)):
        table.with_changes(data.draw(st.lists(changes, max_size=2)))  # as when a commit fails: the table is discarded
        before, unchanged = table, dict(model)
        table, outcomes = table.with_changes(batch)

        assert [_change(model, change) for change in batch] == [_told(outcome) for outcome in outcomes]
        assert model == {route.routespec: route for route in table}
        assert len(model) == len(table)
        assert unchanged == {route.routespec: route for route in before}
        assert (model == unchanged) == (table is before)
        again, outcomes = before.with_changes(table.changes_since(before))
        assert not any(isinstance(outcome, InvalidRoute) for outcome in outcomes)
        assert model == {route.routespec: route for route in again}


def _change(model: dict[str, Route], change: Change) -> bool | str:
    """Apply a change to a dict; return whether it changed anything, or which routespec was refused."""
    before = model.get(change.routespec)
    if change.route is None:
        return model.pop(change.routespec, None) is not None
    places = {route.place: route.routespec for route in model.values()}
    if places.get(change.route.place, change.routespec) != change.routespec:
        return change.routespec
    model[change.routespec] = change.route
    return before != change.route


def _told(outcome: bool | InvalidRoute) -> bool | str:
    return outcome.routespec if isinstance(outcome, InvalidRoute) else outcome


@given(routespec=routespecs(), target=targets, data=json_dicts)
@SETTINGS
def test_a_route_returns_what_was_given(routespec: str, target: str, data: dict[str, Any]) -> None:
    """Promise 6: get_all_routes returns, byte for byte, what add_route was given."""
    route = Route.checked(routespec, target, data)

    assert {"routespec": routespec, "target": target, "data": data} == route.as_dict()


@given(one=routes, two=routes)
@SETTINGS
def test_two_routes_share_a_table_unless_they_share_a_place(one: Route, two: Route) -> None:
    """A place has one routespec: each request for it would match both spellings."""
    assume(one.routespec != two.routespec)
    same = place_of(one.routespec) == place_of(two.routespec)

    _, outcomes = RouteTable([one]).with_changes([Change(two.routespec, two)])

    assert same == isinstance(outcomes[0], InvalidRoute)


@given(places=places_of_one_hub(), data=st.data())
@SETTINGS
def test_matching_is_finding_the_longest_prefix(places: list[Place], data: st.DataObject) -> None:
    """Promise 5, held against the plainest definition: of all places that a request is in, the one with most segments."""
    asked = data.draw(st.sampled_from(places))
    request = data.draw(requests(asked.host, asked.segments))

    enclosing = [place for place in places if belongs(request, place.host, place.segments)]
    expected = max(enclosing, key=lambda place: (place.host != "", len(place.segments)), default=None)
    found = table_of_places(places).match(request.host, request.path)

    assert (expected and expected.canonical) == (found and found.place)
