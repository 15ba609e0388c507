"""Laws of traefik/names.py: names that every provider takes, and none twice."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import SETTINGS, routespecs

from traefik_toml_proxy.routes import Route, parse_routespec
from traefik_toml_proxy.traefik.names import Names

NAMES = Names()


def name_of(routespec: str) -> str:
    """Return the name of the router of a route with this routespec."""
    return NAMES.route(Route.checked(routespec, "http://h:1", {}))


@given(routespec=routespecs())
@SETTINGS
def test_a_router_name_is_valid_for_every_provider(routespec: str) -> None:
    """It has only letters, digits and ``-``, no ``@`` (pkg/server/provider/provider.go:18-29), and is not a number."""
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
def test_router_names_differ_even_when_case_is_ignored(pair: tuple[str, str]) -> None:
    """The key-value providers ignore case and merge equal names (pkg/config/kv/kv_node.go:70)."""
    one, two = pair

    assert (one == two) == (name_of(one).lower() == name_of(two).lower())


namespaces = st.sampled_from(["", "a", "b", "a-b", "jupyterhub", "jupyterhub-front", "root", "user-a"])


@given(one=st.tuples(namespaces, routespecs()), other=st.tuples(namespaces, routespecs()), text=st.text())
@SETTINGS
def test_names_in_two_namespaces_differ(one: tuple[str, str], other: tuple[str, str], text: str) -> None:
    """Those of routes, and those of everything else; and a route never has the name of anything else."""

    def all_names(namespace: str, routespec: str) -> list[str]:
        names = Names(namespace)
        route = names.route(Route.checked(routespec, "http://h:1", {}))
        return [
            route,
            names.region(text),
            names.front,
            names.secret,
            names.revision,
            names.errors,
            f"{names.front}-changed",
        ]

    first, second = all_names(*one), all_names(*other)

    assert len(set(first)) == len(first)
    assert (one[0] == other[0]) == bool(set(first[1:]) & set(second[1:]))
    assert (one == other) == (first[0] == second[0])
    assert {first[0], second[0]}.isdisjoint(first[1:] + second[1:])
