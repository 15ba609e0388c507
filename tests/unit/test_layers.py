"""traefik.layers: groups of routes, each with a parent router."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from traefik_toml_proxy.routes import Place, parse_routespec
from traefik_toml_proxy.traefik import layers
from traefik_toml_proxy.traefik.layers import FLAT, Layers, arrange, key
from traefik_toml_proxy.traefik.names import Names


def arranged(*routespecs: str) -> Layers:
    """Return the layers of routes with these routespecs."""
    return arrange(sorted({key(parse_routespec(routespec)) for routespec in routespecs}), Names())


def rules(*routespecs: str) -> set[str]:
    """Return the different rules of the parents; the one for all other requests is always among them."""
    return {parent.rule for parent in arranged("/", *routespecs).parents}


def numbers(before: str, count: int = 1000, after: str = "/") -> list[str]:
    """Return many routespecs that differ only in a number."""
    return [f"{before}{number:03}{after}" for number in range(count)]


def test_few_routes_are_flat() -> None:
    """A small file stays easy to read. README says 100."""
    assert arranged(*numbers("/user/a", 99)) == FLAT
    assert arrange([], Names()) == FLAT
    assert arranged(*numbers("/user/a", 100)) != FLAT


def test_routes_for_some_hosts_and_for_all_are_flat() -> None:
    """JupyterHub has no such table: only its ``/`` is for all hosts when others are for one."""
    assert arranged(*numbers("/user/a"), "example.org/") == FLAT
    assert arranged(*numbers("example.org/user/a"), "/") != FLAT


def test_a_key_is_the_host_and_segments_that_each_end_in_a_slash() -> None:
    """The Hub's ``/`` encloses all others; an encoded slash does not end a segment."""
    places = [Place("", ()), Place("h", ()), Place("", ("a", "b")), Place("h", ("a/b",))]

    assert [key(place) for place in places] == ["", "h/", "/a/b/", "h/a\udc2fb/"]


def test_parents_are_prefixes_and_ranges() -> None:
    """Names with numbers are grouped by their digits."""
    found = rules(*numbers("/user/student"))

    assert {'PathPrefix("/")', 'PathRegexp("^/user/student0[0-3]")'} <= found
    outside = '(PathPrefix("/")) && !(PathPrefix("/user/student"))'
    assert all(rule.startswith(('PathPrefix("/', 'PathRegexp("^/user/student')) for rule in found - {outside})


def test_a_plain_prefix_needs_no_regular_expression() -> None:
    """Comparing prefixes is the cheapest for Traefik."""
    found = rules(*(f"/user/{name}{number}/" for name in ("alice", "bob", "carol") for number in range(10, 50)))

    assert {'PathPrefix("/user/alice")', 'PathPrefix("/user/bob")', 'PathPrefix("/user/carol")'} <= found


@pytest.mark.parametrize(
    ("others", "routespecs", "rule"),
    [
        (["/", "/services/a/"], numbers("/user/s"), '(PathPrefix("/")) && !(PathPrefix("/user/s"))'),
        (["/", "/user/z/"], numbers("/user/@"), '(PathPrefix("/")) && !(PathRegexp("^/user/(?:@|%40)"))'),
        (["/"], numbers("u-", after=".example.org/"), '(PathPrefix("/")) && !(HostRegexp("^u-"))'),
    ],
)
def test_requests_outside_all_regions_are_compared_with_none_of_them(
    others: list[str], routespecs: list[str], rule: str
) -> None:
    """One parent comes first and has none of the users' routes as children: many users do not slow down the Hub's pages."""
    keys = sorted(key(parse_routespec(routespec)) for routespec in [*others, *routespecs])
    found = arrange(keys, Names())
    first = max(found.parents, key=lambda parent: parent.priority)
    children = {one for one, names in zip(keys, found.parents_of, strict=True) if first.name in names}

    assert first.rule == rule
    assert children == {key(parse_routespec(routespec)) for routespec in others}


def test_without_a_route_outside_there_is_no_parent_for_it() -> None:
    """Nor is there one if the regions have no common prefix."""
    for routespecs in (numbers("/user/s"), ["/", *numbers("/user/s"), *numbers("/services/s")]):
        assert not [parent for parent in arranged(*routespecs).parents if "!" in parent.rule]


@pytest.mark.parametrize(
    ("routespecs", "rule"),
    [
        (numbers("/user/@"), 'PathRegexp("^/user/(?:@|%40)0[0-3]")'),
        (numbers("/user/a@"), 'PathRegexp("^/user/a(?:@|%40)0[0-3]")'),
        (numbers("/user/%25"), 'PathRegexp("^/user/%250[0-3]")'),
        (numbers("/user/a%2F"), 'PathRegexp("^/user/a%2F0[0-3]")'),
        (numbers("/user/%20"), 'PathRegexp("^/user/ 0[0-3]")'),
        (numbers("example.org/user/a"), 'Host("example.org") && PathRegexp("^/user/a0[0-3]")'),
        (numbers("u-", after=".example.org/"), 'HostRegexp("^u-0[0-3]")'),
        (numbers("u.", after=".example.org/"), 'HostRegexp("^u\\\\.0[0-3]")'),
    ],
)
def test_names_match_in_each_of_their_forms(routespecs: list[str], rule: str) -> None:
    """Reserved characters match raw and encoded (pkg/muxer/http/mux.go:99-176); in hosts, pattern characters are escaped."""
    assert rule in rules(*routespecs)


@pytest.mark.parametrize(
    ("region", "rule"),
    [
        (("",), 'PathPrefix("/")'),
        (("/user/a",), 'PathPrefix("/user/a")'),
        (("/user/a/",), 'Path("/user/a") || PathPrefix("/user/a/")'),
        (("/user/a@",), 'PathRegexp("^/user/a(?:@|%40)")'),
        (("/user/a@/",), 'PathRegexp("^/user/a(?:@|%40)(?:/|$)")'),
        (("/user/", 0x24, 0x27), 'PathRegexp("^/user/(?:[\\\\$&-\']|%24|%25|%26|%27)")'),
        (("/user/a", 0x2E, 0x2F), 'PathRegexp("^/user/a(?:[.]|/|$)")'),
        (("/user/", 0x8000, 0xFFFF), 'PathRegexp("^/user/(?:[耀-\\ud7ff\\ue000-\\uffff]|%2F)")'),
        (("/user/", 0x5C, 0x5F), 'PathRegexp("^/user/(?:[\\\\\\\\-_]|%5D)")'),
        (("/user/", 0x100000, 0x1FFFFF), 'PathRegexp("^/user/[\\U00100000-\\U0010ffff]")'),
        (("h/",), 'Host("h") && PathPrefix("/")'),
        (("h/user/a",), 'Host("h") && PathPrefix("/user/a")'),
        (("h/user/a/",), 'Host("h") && (Path("/user/a") || PathPrefix("/user/a/"))'),
        (("h/", 0x60, 0x6F), 'Host("h") && PathRegexp("^/[`-o]")'),
        (("h",), 'HostRegexp("^h")'),
        (("h.",), 'HostRegexp("^h\\\\..")'),
        (("h", 0x2E, 0x2F), 'HostRegexp("^h(?:[.]|$)")'),
        (("h.", 0x30, 0x3F), 'HostRegexp("^h\\\\.[0-9]")'),
    ],
)
def test_the_rule_of_a_region(region: tuple[str, int, int], rule: str) -> None:
    """It matches a prefix, and after it a character of a range if there is one, in all their forms."""
    assert rule == layers._rule(layers._Region(*region))


# A table of each kind, and one with everything.
WORDS = [f"{one}{two}{three}" for one in "aeiostr" for two in ("an", "be", "ch", "do", "li") for three in "aelmnorsty"]
TABLES = {
    "students": numbers("/user/student"),
    "words": [f"/user/{word}/" for word in WORDS],
    "addresses": [f"/user/{word}@example.com/" for word in WORDS],
    "reserved": [f"/user/{code}{word}/" for code in ("@", "%25", "%2F", "'", "+") for word in WORDS],
    "ideographs": [f"/user/{chr(0x4E00 + 7 * number)}/" for number in range(1000)],
    "a busy user": ["/user/busy/", *numbers("/user/busy/", 500)],
    "hosts": numbers("u-", after=".example.org/"),
    "users of hosts": [f"{host}.example.org/user/{word}/" for host in ("a", "b", "b-2", "c.d") for word in WORDS],
    "all of them below each other": ["/" + "a/" * depth for depth in range(1, 300)],
    "all of them longer than the last": [f"/user/{'a' * length}/" for length in range(1, 300)],
    "a prefix": numbers("/base/of/the/hub/user/student"),
}
TABLES["everything"] = [spec for table in TABLES.values() for spec in table if spec.startswith("/")]


@pytest.mark.parametrize("name", TABLES)
def test_a_request_is_compared_with_few_routers(name: str) -> None:
    """The parents, and the children of any one of them, are at most 3.1 times the square root of the routes, and three."""
    found = arranged("/", *TABLES[name])
    children = Counter(parent for parents in found.parents_of for parent in parents)

    assert found.parents
    assert len(found.parents) + max(children.values()) <= 3.1 * math.sqrt(len(found.parents_of)) + 3


def moves(name: str, every: int) -> tuple[int, list[int]]:
    """Add every n-th route of a table to the others, one by one.

    Returns:
        How many routes there are, and for each that was added, how many others got other parents.
    """
    keys = sorted({key(parse_routespec(routespec)) for routespec in TABLES[name]})
    late = keys[::every]
    before = sorted(set(keys) - set(late))
    known = dict(zip(before, arrange(before, Names()).parents_of, strict=True))
    moved = []
    for new in late:
        ordered = sorted([*known, new])
        now = dict(zip(ordered, arrange(ordered, Names()).parents_of, strict=True))
        moved.append(sum(parents != now[one] for one, parents in known.items()))
        known = now
    return len(keys), moved


@pytest.mark.parametrize("name", [name for name in TABLES if not name.startswith("all of them")])
def test_a_new_route_moves_few_others_on_average(name: str) -> None:
    """On average over many additions, it is fewer than twice the square root of the number of routes.

    Left out is the table in which each name is a prefix of the next one: there, all routes are neighbors.
    """
    count, moved = moves(name, every=max(len(TABLES[name]) // 40, 1))

    assert sum(moved) / len(moved) < 2 * math.sqrt(count)


@pytest.mark.parametrize("name", ["students", "a prefix", "hosts", "users of hosts"])
def test_no_new_route_moves_very_many_others(name: str) -> None:
    """Not even while the table grows by a quarter, and the regions with it: they do not all change at once."""
    count, moved = moves(name, every=5)

    assert max(moved) < 6 * math.sqrt(count)
