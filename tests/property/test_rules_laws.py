"""Laws of traefik/rules.py, held against a reading of rules as Traefik reads them (support/rule_reading.py)."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from support.rule_reading import TOKENS, belongs, read_go_string, read_rule, requests
from support.strategies import SETTINGS, hosts, routespecs, segments, spellings

from traefik_toml_proxy.routes import Place, Route, parse_routespec
from traefik_toml_proxy.traefik.rules import go_string, priority, router_name, rule


@given(host=hosts, segments=st.lists(segments, max_size=3).map(tuple), data=st.data())
@SETTINGS
def test_a_rule_matches_the_requests_at_or_below_its_place(
    host: str, segments: tuple[str, ...], data: st.DataObject
) -> None:
    """Promise 5: whole path segments, raw or encoded; a slash that is ``%2F`` stays in its segment; hosts in any case."""
    spelled = "".join(data.draw(spellings(segment)) + "/" for segment in segments)
    matches = read_rule(rule(parse_routespec(f"{host}/{spelled}")))
    request = data.draw(requests(host, segments))

    assert belongs(request, host, segments) == matches(request)


@given(text=st.text())
@SETTINGS
def test_go_reads_back_any_text(text: str) -> None:
    """The Go Programming Language Specification, String literals: between quotes, any character but those that end it."""
    assert text == read_go_string(go_string(text))
    assert re.fullmatch(TOKENS, go_string(text))


# Names that are the beginning of one another, or one another in another spelling or case.
few_segments = st.sampled_from(["a", "ab", "A", "a@b", "a%40b", "a/b", "a b", "é", "秀", "|", "user"])
few_paths = st.lists(few_segments, max_size=4).map(tuple)


@st.composite
def places(draw: st.DrawFn) -> list[Place]:
    """Places of one Hub: all without a host, or, with host routing, all with one but for the Hub's ``/``.

    (``Proxy.validate_routespec`` takes no others: jupyterhub/proxy.py:214-238.)
    """
    few_hosts = st.sampled_from(["example.com", "alice.example.com"]) if draw(st.booleans()) else st.just("")
    found = draw(st.lists(st.builds(Place, few_hosts, few_paths), min_size=1, max_size=6, unique=True))
    return list(dict.fromkeys([*found, *draw(st.sampled_from([[], [Place("", ())]]))]))


@given(places=places(), data=st.data())
@SETTINGS
def test_the_longest_prefix_wins(places: list[Place], data: st.DataObject) -> None:
    """Promise 5: of all routers that match, the one with the highest priority is the one with the longest prefix."""
    asked = data.draw(st.sampled_from(places))
    request = data.draw(requests(asked.host, asked.segments))

    prefixes = [place for place in places if belongs(request, place.host, place.segments)]
    matching = [place for place in places if read_rule(rule(place))(request)]

    assert prefixes == matching
    longest = sorted(prefixes, key=lambda place: (place.host != "", len(place.segments)))
    assert longest == sorted(matching, key=priority)
    assert len(matching) == len({priority(place) for place in matching})


def name_of(routespec: str) -> str:
    """Return the name of the router of a route with this routespec."""
    return router_name(Route.checked(routespec, "http://h:1", {}))


@given(routespec=routespecs())
@SETTINGS
def test_a_router_name_is_one_that_every_provider_takes(routespec: str) -> None:
    """Only letters, digits and ``-``: no ``@`` (pkg/server/provider/provider.go:18-29), not all digits."""
    name = name_of(routespec)

    assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
    assert not name.isdigit()


pairs = st.one_of(
    st.tuples(routespecs(), routespecs()),
    routespecs().map(lambda routespec: (routespec, routespec.swapcase())),
    routespecs().map(lambda routespec: (routespec, parse_routespec(routespec).canonical)),
)


@given(pair=pairs)
@SETTINGS
def test_router_names_differ_also_where_case_is_ignored(pair: tuple[str, str]) -> None:
    """Siblings are merged where case is ignored (pkg/config/kv/kv_node.go:70), so the names of two routes never are."""
    one, two = pair

    assert (one == two) == (name_of(one).lower() == name_of(two).lower())
