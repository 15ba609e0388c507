"""Laws of traefik/rules.py, checked with an interpreter of Traefik's rules (support/rule_reading.py)."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from support.rule_reading import TOKENS, belongs, read_go_string, read_rule, requests
from support.strategies import SETTINGS, hosts, places_of_one_hub, segments, spellings, table_of_places

from traefik_toml_proxy.routes import Place, parse_routespec
from traefik_toml_proxy.traefik.rules import go_string, priority, rule


@given(host=hosts, segments=st.lists(segments, max_size=3).map(tuple), data=st.data())
@SETTINGS
def test_a_rule_matches_the_requests_at_or_below_its_place(
    host: str, segments: tuple[str, ...], data: st.DataObject
) -> None:
    """Promise 5: whole segments match, raw or encoded; ``%2F`` does not end a segment; hosts match in any case."""
    spelled = "".join(data.draw(spellings(segment)) + "/" for segment in segments)
    matches = read_rule(rule(parse_routespec(f"{host}/{spelled}")))
    request = data.draw(requests(host, segments))

    assert belongs(request, host, segments) == matches(request)


@given(text=st.text())
@SETTINGS
def test_go_reads_back_any_text(text: str) -> None:
    """The Go Programming Language Specification, String literals: within the quotes, any character may appear."""
    assert text == read_go_string(go_string(text))
    assert re.fullmatch(TOKENS, go_string(text))


@given(places=places_of_one_hub(), data=st.data())
@SETTINGS
def test_the_longest_prefix_wins(places: list[Place], data: st.DataObject) -> None:
    """Promise 5: of all routers that match, the one with the highest priority has the longest prefix."""
    asked = data.draw(st.sampled_from(places))
    request = data.draw(requests(asked.host, asked.segments))

    matching = [place for place in places if read_rule(rule(place))(request)]
    first = max(matching, key=priority, default=None)
    route = table_of_places(places).match(request.host, request.path)

    assert (route and route.place) == (first and first.canonical)
    assert len(matching) == len({priority(place) for place in matching})
