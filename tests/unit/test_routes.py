"""routes: the checks of routespecs, targets and data, and the route table."""

from __future__ import annotations

from typing import Any

import pytest

from traefik_toml_proxy.errors import InvalidRoute
from traefik_toml_proxy.routes import (
    Change,
    Place,
    Route,
    RouteTable,
    Snapshot,
    check_target,
    data_to_json,
    parse_routespec,
)


def route(routespec: str, target: str = "http://127.0.0.1:8001", data: object = None) -> Route:
    """Return a route with default values but for these."""
    return Route.checked(routespec, target, {} if data is None else data)


@pytest.mark.parametrize(
    ("routespec", "host", "segments", "canonical"),
    [
        ("/", "", (), "/"),
        ("/user/alice/", "", ("user", "alice"), "/user/alice/"),
        ("/user/alice", "", ("user", "alice"), "/user/alice/"),
        ("Hub.Example.COM/", "hub.example.com", (), "hub.example.com/"),
        ("alice.example.com/user/Alice/", "alice.example.com", ("user", "Alice"), "alice.example.com/user/Alice/"),
        ("_a-b.xn--4gb/", "_a-b.xn--4gb", (), "_a-b.xn--4gb/"),
        ("/user/a%20b/", "", ("user", "a b"), "/user/a%20b/"),
        ("/services/a b/", "", ("services", "a b"), "/services/a%20b/"),
        ("/user/a@b~/", "", ("user", "a@b~"), "/user/a@b~/"),
        ("/user/a%40b/", "", ("user", "a@b"), "/user/a@b/"),
        ("/user/a%2Fb/", "", ("user", "a/b"), "/user/a%2Fb/"),
        ("/user/%25zz/", "", ("user", "%zz"), "/user/%25zz/"),
        ("/%E7%A7%80/", "", ("秀",), "/%E7%A7%80/"),
        ("/秀/", "", ("秀",), "/%E7%A7%80/"),
        ("/x?y#z/", "", ("x?y#z",), "/x%3Fy%23z/"),
        ("/a//b/", "", ("a", "", "b"), "/a//b/"),
        ("//a/", "", ("", "a"), "//a/"),
        ("/.../", "", ("...",), "/.../"),
        ("/%0A%00/", "", ("\n\0",), "/%0A%00/"),
    ],
)
def test_a_routespec_names_a_host_and_segments(
    routespec: str, host: str, segments: tuple[str, ...], canonical: str
) -> None:
    """Hosts become lower case, segments are decoded, and the last slash may be missing."""
    place = parse_routespec(routespec)

    assert place == Place(host, segments)
    assert place.canonical == canonical


@pytest.mark.parametrize(
    ("routespec", "reason"),
    [
        ("", "it has no path"),
        ("example.com", "it has no path"),
        ("example.com:8000/", "'example.com:8000' is not a host name"),
        ("*.example.com/", "is not a host name"),
        ("[::1]/", "is not a host name"),
        ("-a.com/", "is not a host name"),
        ("a..com/", "is not a host name"),
        ("é.com/", r"'\\xe9.com' is not a host name .* use punycode"),
        ("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}.com/", "is not a host name"),
        ("x" * 254 + "/", "is not a host name"),
        ("//", "more than one slash"),
        ("/a//", "more than one slash"),
        ("/100%/", "the percent sign in '100%'"),
        ("/%zz/", "the percent sign in '%zz'"),
        ("/%ff/", "'%ff' is not UTF-8"),
        ("/%ED%A0%80/", "is not UTF-8"),
        ("/\ud800/", r"'\\ud800' is not UTF-8"),
        ("/./", "a '.' or '..' segment"),
        ("/a/../b/", "a '.' or '..' segment"),
        ("/%2e%2E/", "a '.' or '..' segment"),
        ("/a%2F../", "a '.' or '..' segment"),
        ("/a%5C..%5Cb/", "a '.' or '..' segment"),
    ],
)
def test_a_routespec_that_cannot_be_matched_exactly_is_refused(routespec: str, reason: str) -> None:
    """The error names the routespec and says why."""
    with pytest.raises(InvalidRoute, match=reason) as refusal:
        parse_routespec(routespec)
    assert refusal.value.routespec == routespec


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:8001",
        "https://hub.local",
        "http://host_name.:1",
        "http://[::1]:8001",
        "http://[::ffff:10.0.0.1]",
        "HTTP://HUB:8001",
        "http://h:1/",
        "http://h:1/base//x/%20a@b;c=d&e!$'()*+,~",
        "http://h:1/...",
        "http+unix://%2Frun%2Fhub.sock",
        "http+unix://%2Frun%2Fa%20b.sock/base/",
        "unix+http://%2Frun%2Fhub.sock",
        "http+unix://%2F" + 53 * "%C3%A9",
    ],
)
def test_a_target_is_a_url_with_a_host_or_socket_and_a_path(target: str) -> None:
    """``http[s]://host[:port][/path]``, or the same with a unix socket; not every proxy can reach every one."""
    check_target("/", target)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http+unix:///run/hub.sock", "has no host"),
        ("http+unix://run%2Fhub.sock", "has no host"),
        ("http+unix://%2Frun%2Fhub%00.sock", "has no host"),
        ("http+unix://%2Frun%2Fhub%zz.sock", "has no host"),
        ("http+unix://%2F" + 107 * "x", "a path of more than 107 bytes"),
        ("http+unix://%2F" + 53 * "%C3%A9" + "x", "a path of more than 107 bytes"),
        ("https+unix://%2Frun%2Fhub.sock", "does not start with http"),
        ("http://[::1", "is not a URL"),
        ("http://h:x", "is not a URL"),
        ("http://h:65536", "is not a URL"),
        ("http://h/é", "must be percent-encoded in a URL"),
        ("http://h/\n", "must be percent-encoded in a URL"),
        ("http://h/a b", "must be percent-encoded in a URL"),
        ("http://h/{a}", "in its path that must be percent-encoded"),
        ("http://h/%zz", "in its path that must be percent-encoded"),
        ("", "does not start with"),
        ("h:8001", "does not start with"),
        ("ws://h", "does not start with"),
        ("http://user@h", "has a user name or password"),
        ("http://user:secret@h", "has a user name or password"),
        ("http://h:", "has no usable port"),
        ("http://h:0", "has no usable port"),
        ("http://h/?", "has a query or a fragment"),
        ("http://h/#", "has a query or a fragment"),
        ("http://", "has no host"),
        ("http:///x", "has no host"),
        ("http://-h", "has no host"),
        ("http://a,b", "has no host"),
        ("http://h%41", "has no host"),
        ("http://[::1]x:80", "has no host|is not a URL"),
        ("http://x[::1]:80", "has no host|is not a URL"),
        ("http://[fe80::1%eth0]:80", "has no host"),
        ("http://[1:2]:80", "is not a URL"),
        ("http://[]:80", "is not a URL"),
        ("http://h/../x", "a '.' or '..' segment"),
        ("http://h/%2e%2E/x", "a '.' or '..' segment"),
        ("http://h/a%2F..%2Fb", "a '.' or '..' segment"),
    ],
)
def test_any_other_target_is_refused(target: str, reason: str) -> None:
    """The error names the route, shows the target, and says why."""
    with pytest.raises(InvalidRoute, match=f"The route '/x/' is refused: its target .*({reason})"):
        check_target("/x/", target)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "{}"),
        ({"user": "alice", "n": [1, 2.5, None, True]}, '{"user":"alice","n":[1,2.5,null,true]}'),
        ({"é": "\ud800"}, r'{"\u00e9":"\ud800"}'),
    ],
)
def test_data_is_kept_as_json_in_ascii(data: dict[str, Any], expected: str) -> None:
    """Any JSON parser reads the same dict from it."""
    assert expected == data_to_json("/x/", data)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "{}",
        {"a": (1, 2)},
        {1: "a"},
        {None: "a"},
        {"a": {1}},
        {"a": b"x"},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 10**5000},
        {"a": "\ud83d\ude00"},
        {("a",): 1},
    ],
)
def test_data_that_json_would_change_is_refused(data: object) -> None:
    """A tuple would come back as a list, a key as text, two surrogates as one character."""
    with pytest.raises(InvalidRoute, match="The route '/x/' is refused: its data is not"):
        data_to_json("/x/", data)


def test_data_that_contains_itself_is_refused() -> None:
    """It would be endless as JSON."""
    data: dict[str, Any] = {}
    data["itself"] = data
    with pytest.raises(InvalidRoute, match="its data is not JSON"):
        data_to_json("/x/", data)


def nested(levels: int) -> dict[str, Any]:
    """Return a dict that is nested this deep."""
    data: dict[str, Any] = {"leaf": 1}
    for _ in range(levels - 1):
        data = {"in": data}
    return data


def test_data_may_be_nested_a_hundred_levels_deep() -> None:
    """With more levels, it would depend on the stack whether it can be read."""
    assert route("/x/", data=nested(100)).data == nested(100)
    with pytest.raises(InvalidRoute, match="its data is nested more than 100 levels deep"):
        route("/x/", data=nested(101))
    with pytest.raises(InvalidRoute, match="its data is not JSON"):
        route("/x/", data=nested(100_000))


def test_a_route_returns_its_data_as_a_fresh_dict() -> None:
    """Changing a dict that get_all_routes returned does not change the route."""
    data = {"user": "alice", "servers": ["a"]}
    kept = route("/user/alice/", "http://h:1/", data)

    assert kept.as_dict() == {"routespec": "/user/alice/", "target": "http://h:1/", "data": data}
    assert kept.data is not data
    kept.data["servers"].append("b")
    data["user"] = "bob"
    assert kept.data == {"user": "alice", "servers": ["a"]}


def test_a_route_knows_its_place() -> None:
    """The place has the canonical spelling; the routespec is kept as it was given."""
    kept = route("/user/a%40b")

    assert (kept.routespec, kept.place) == ("/user/a%40b", "/user/a@b/")


def test_a_canonical_routespec_is_stored_once() -> None:
    """Place and routespec are the same string object, which saves memory with 10,000 users."""
    routespec = "/user/alice/"
    kept = route(routespec)

    assert kept.place is routespec


def test_a_table_finds_a_route_by_its_routespec_alone() -> None:
    """The same place in another spelling is not found, as in JupyterHub's own dict of routes."""
    alice = route("/user/alice/")
    table = RouteTable([alice, route("/")])

    assert table.get("/user/alice/") is alice
    assert table.get("/user/alice") is None
    assert [r.routespec for r in table] == ["/user/alice/", "/"]
    assert len(table) == 2


def test_a_table_refuses_two_spellings_of_a_place() -> None:
    """Each request would match both; the error names them."""
    with pytest.raises(InvalidRoute, match="'/user/a%40b/' is refused: '/user/a@b/' is the same place"):
        RouteTable([route("/user/a@b/"), route("/user/a%40b/")])


def add(kept: Route) -> Change:
    """Return a change that adds a route."""
    return Change(kept.routespec, kept)


def delete(routespec: str) -> Change:
    """Return a change that deletes a route."""
    return Change(routespec, None)


@pytest.mark.parametrize(
    ("changes", "outcomes", "after"),
    [
        ([add(route("/b/"))], [True], ["/a/", "/b/"]),
        ([add(route("/a/", "http://new:1"))], [True], ["/a/"]),
        ([add(route("/a/"))], [False], ["/a/"]),
        ([delete("/a/")], [True], []),
        ([delete("/b/")], [False], ["/a/"]),
        ([delete("/a/"), add(route("/%61/"))], [True, True], ["/%61/"]),
        ([add(route("/b/")), delete("/b/"), delete("/b/")], [True, True, False], ["/a/"]),
        ([], [], ["/a/"]),
    ],
)
def test_changes_are_applied_in_order(changes: list[Change], outcomes: list[bool], after: list[str]) -> None:
    """The result says for each change whether it changed anything; the old table stays as it was."""
    before = RouteTable([route("/a/")])

    table, changed = before.with_changes(changes)

    assert outcomes == changed
    assert after == [kept.routespec for kept in table]
    assert [kept.routespec for kept in before] == ["/a/"]


def test_a_refused_change_does_not_affect_the_others() -> None:
    """The second spelling of a place is refused; the other changes are made."""
    table, (refused, done) = RouteTable([route("/a/")]).with_changes([add(route("/%61/")), add(route("/b/"))])

    assert isinstance(refused, InvalidRoute)
    assert refused.routespec == "/%61/"
    assert done is True
    assert [kept.routespec for kept in table] == ["/a/", "/b/"]


def test_changes_that_cancel_each_other_return_the_same_table() -> None:
    """A caller can tell with ``is`` whether there is anything to write."""
    before = RouteTable([route("/a/")])

    after, outcomes = before.with_changes([delete("/a/"), add(route("/a/"))])

    assert after is before
    assert outcomes == [True, True]


def test_a_table_that_is_discarded_leaves_no_trace() -> None:
    """After a failed commit, the old table goes on: its places are as if the changes had never been tried."""
    before = RouteTable([route("/a/")])

    before.with_changes([delete("/a/"), add(route("/b/"))])
    _, (same_place, free_place) = before.with_changes([add(route("/%61/")), add(route("/%62/"))])

    assert isinstance(same_place, InvalidRoute)
    assert free_place is True


def table(*routespecs: str) -> RouteTable:
    """Return a table of routes with these routespecs."""
    return RouteTable(Route.checked(routespec, "http://h:1", {}) for routespec in routespecs)


MATCHED = table(
    "/",
    "/user/a/",
    "/user/a/b/",
    "/user/x%40y/",
    "/s/a%2Fb/",
    "//a/",
    "/%25zz/",
    "hub.example.org/",
    "hub.example.org/user/a/",
)


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("", "/", "/"),
        ("", "/hub/login", "/"),
        ("", "/user/a", "/user/a/"),
        ("", "/user/a/", "/user/a/"),
        ("", "/user/a//b", "/user/a/"),
        ("", "/user/a/lab/tree", "/user/a/"),
        ("", "/user/a/b", "/user/a/b/"),
        ("", "/user/a/bc", "/user/a/"),
        ("", "/user/ab", "/"),
        ("", "/user/A", "/"),
        ("", "/user", "/"),
        ("", "/%75ser/%61", "/user/a/"),
        ("", "/user/x@y/z", "/user/x%40y/"),
        ("", "/user/x%40y", "/user/x%40y/"),
        ("", "/s/a%2fb/c", "/s/a%2Fb/"),
        ("", "/s/a/b", "/"),
        ("", "//a/b", "//a/"),
        ("", "/a/b", "/"),
        ("", "/user/../user/a/", "/"),
        ("", "/%zz/x", "/%25zz/"),
        ("", "/user/%FF/", "/"),
        ("", "/" + "x/" * 5000, "/"),
        ("127.0.0.1:8000", "/user/a/", "/user/a/"),
        ("[::1]:8000", "/user/a/", "/user/a/"),
        ("hub.example.org", "/user/a/x", "hub.example.org/user/a/"),
        ("HUB.example.org.:8000", "/user/a/x", "hub.example.org/user/a/"),
        ("hub.example.org", "/user/a/b", "hub.example.org/user/a/"),
        ("hub.example.org", "/user/ab", "hub.example.org/"),
        ("other.example.org", "/user/ab", "/"),
        ("hub.example.org/user", "/a/", "/"),
    ],
)
def test_a_request_takes_the_route_with_the_longest_prefix(host: str, path: str, expected: str) -> None:
    """On whole decoded segments; routes of the request's host come first."""
    route = MATCHED.match(host, path)

    assert route is not None
    assert expected == route.routespec


@pytest.mark.parametrize("path", ["*", "", "user/a/", "http://h/user/a/"])
def test_what_is_no_path_takes_no_route(path: str) -> None:
    """A path begins with a slash."""
    assert MATCHED.match("", path) is None


def test_a_request_outside_of_all_routes_takes_none() -> None:
    """Without a route for ``/`` there is none for the rest."""
    assert table().match("h", "/") is None
    assert table("/user/a/").match("h", "/user/") is None
    assert table("h.org/").match("other.org", "/") is None


def test_a_deep_route_is_still_matched_after_other_changes() -> None:
    """Adding a route with fewer segments, or deleting another, does not hide it."""
    deep = table("/", "/user/a/b/")
    added, _ = deep.with_changes([Change("/hub/", Route.checked("/hub/", "http://h:1", {}))])
    deleted, _ = deep.with_changes([Change("/", None)])
    found = [routes.match("", "/user/a/b/c") for routes in (added, deleted)]

    assert [route and route.routespec for route in found] == ["/user/a/b/", "/user/a/b/"]


def test_matching_follows_each_change() -> None:
    """A longer route is taken from when it is added until it is deleted; the table before the change is as it was."""
    short = table("/")
    longer, _ = short.with_changes([Change("/user/a/b/", Route.checked("/user/a/b/", "http://h:1", {}))])
    short_again, _ = longer.with_changes([Change("/user/a/b/", None)])
    found = [routes.match("", "/user/a/b/c") for routes in (short, longer, short_again)]

    assert [route and route.routespec for route in found] == ["/", "/user/a/b/", "/"]


def test_a_snapshot_is_a_table_with_a_number() -> None:
    """Two snapshots are the same only with the same revision and the same table."""
    table = RouteTable()

    assert Snapshot(1, table) == Snapshot(1, table)
    assert Snapshot(1, table) != Snapshot(2, table)
