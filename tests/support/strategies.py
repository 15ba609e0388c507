"""Strategies of the property tests (hostile text, routespecs, targets, data, routes, tables) and their shared settings."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from traefik_toml_proxy.routes import Place, Route, RouteTable, parse_routespec
from traefik_toml_proxy.traefik.dynamic import Certificate, DynamicSettings, ErrorPages

from .hostile import LOOKALIKES, RULE_INJECTIONS, TEMPLATE_INJECTIONS, TOML_INJECTIONS, UNICODE_TEXTS

# No test fails because the machine is slow.
SETTINGS = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])

# The standard library's parser, which is independent of the `toml` package.
read_toml: Callable[[str], dict[str, Any]] = importlib.import_module(
    "tomllib" if sys.version_info >= (3, 11) else "tomli"
).loads

# Characters and short texts that have broken readers and writers of TOML, Go and URLs.
_PIECES = [
    *("'", '"', '"""', "'''", "`", "\\", "\\\\", "u", "U", "\\u", "\\U", "0041", "00000041", "x41"),
    *(
        "\n",
        "\r",
        "\t",
        "\0",
        "\x17",
        "\x1b",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\u202e",
        "\ufffd",
        "é",
        "秀",
        "😀",
        "║",
    ),
    *(
        "{",
        "{{",
        "}}",
        "[",
        "]",
        "[[",
        "]]",
        ",",
        ".",
        "=",
        "#",
        ":",
        ";",
        "@",
        "%",
        "%2F",
        "%40",
        "%zz",
        "?",
        "&",
        "+",
        "$",
    ),
    *("/", "(", ")", "*", "|", "^", "~", "-", "_", " ", "a", "A", "true", "1", "2020-01-01", "12:00:00", "inf"),
]
# Characters with a meaning in TOML, in and around its strings.
_SYNTAX = ["\\", '"', "u", "U", "0041", "00000041", "\n", "\x17", "{", ",", "[", "]", "#", "=", "'", ".", "a", " "]
_TEXTS = [*RULE_INJECTIONS, *TOML_INJECTIONS, *TEMPLATE_INJECTIONS, *UNICODE_TEXTS, *LOOKALIKES]

pieces = st.one_of(st.sampled_from(_PIECES), st.text(max_size=3))


def joined(parts: st.SearchStrategy[str], max_size: int = 8) -> st.SearchStrategy[str]:
    """Texts made of a few of ``parts``."""
    return st.lists(parts, max_size=max_size).map("".join)


texts = st.one_of(joined(pieces), joined(st.sampled_from(_SYNTAX)), st.sampled_from(_TEXTS), st.text())


def can_be_a_segment(text: str) -> bool:
    return bool(text) and {".", ".."}.isdisjoint(text.replace("\\", "/").split("/"))


# The name of a user or a server, or a segment of another path, before any escaping.
segments = texts.filter(can_be_a_segment)

hosts = st.sampled_from(["", "", "example.com", "Example.COM", "alice.example.com", "a_b.x-y.org", "xn--4gb.example"])


@st.composite
def spellings(draw: st.DrawFn, segment: str) -> str:
    """A segment of a routespec: escaped as JupyterHub does it (jupyterhub/utils.py:503), raw, or in between."""
    escaped = quote(segment, safe="@~")
    raw = segment.replace("%", "%25").replace("/", "%2F")
    some = draw(st.lists(st.booleans(), min_size=len(segment), max_size=len(segment)))
    mixed = [quote(char, safe="") if char in "%/" or yes else char for char, yes in zip(segment, some, strict=True)]
    return draw(st.sampled_from([escaped, raw, "".join(mixed)]))


@st.composite
def routespecs(draw: st.DrawFn, host: st.SearchStrategy[str] = hosts) -> str:
    """Routespecs that requests can match."""
    path = "".join(draw(spellings(segment)) + "/" for segment in draw(st.lists(segments, max_size=3)))
    return draw(host) + "/" + path


target_hosts = st.sampled_from(
    ["127.0.0.1", "localhost", "hub.local", "a_b", "[::1]", "[fe80::1:2]", "[::ffff:10.0.0.1]"]
)
target_paths = st.one_of(
    st.sampled_from(["", "/", "/base", "/a//b", "/@/space%20word/"]),
    st.text("abcXYZ019._~!$&'()*+,;=:@/-", max_size=12).map("/x{}x".format).filter(lambda path: "/." not in path),
)
targets = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https"]),
    target_hosts,
    st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format)),
    target_paths,
)

# A Python string may hold lone surrogates, and JSON keeps them.
_any_text = st.one_of(texts, st.text(st.characters(), max_size=4))
_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts)
json_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
json_dicts = st.dictionaries(texts, json_values, max_size=3)

# Anything that a caller could pass as data.
objects = st.recursive(
    st.one_of(_scalars, st.floats(), _any_text, st.binary(max_size=3), st.complex_numbers()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(st.integers(), max_size=2),
        st.dictionaries(st.one_of(_any_text, st.integers(), st.none(), st.booleans(), st.floats()), inner, max_size=3),
    ),
    max_leaves=5,
)

routes = st.builds(Route.checked, routespecs(), targets, json_dicts)


@st.composite
def tables(draw: st.DrawFn, max_size: int = 4, min_size: int = 0) -> list[Route]:
    """Routes that can be in one table: no two have the same place."""
    return draw(st.lists(routes, min_size=min_size, max_size=max_size, unique_by=lambda route: route.place))


dynamic_settings = st.builds(
    DynamicSettings,
    entry_point=st.sampled_from(["http", "https", "public entry point"]),
    secret_path=st.just("/0123456789abcdef"),
    shared_places=st.sampled_from([None, (Place("", ("hub",)), Place("", ("user",))), (Place("", ()),)]),
    error_pages=st.sampled_from([None, ErrorPages("http://127.0.0.1:8081/hub/", "https://127.0.0.1:8000")]),
    trusted_proxies=st.sampled_from([(), ("10.0.0.0/8", "::1")]),
    route_middlewares=st.sampled_from([{}, {"mine": {"compress": {}}, "auth@docker": {}}]),
    default_certificate=st.sampled_from([lambda: None, lambda: Certificate("/state/hub.crt", "/state/hub.key")]),
    router_tls=st.booleans(),
)


def place_of(routespec: str) -> str:
    """Return the canonical spelling of a routespec."""
    return parse_routespec(routespec).canonical


# Names that are the beginning of one another, or one another in another spelling or case.
_few_segments = st.sampled_from(["a", "ab", "A", "a@b", "a%40b", "a/b", "a b", "é", "秀", "|", "user"])
_few_paths = st.lists(_few_segments, max_size=4).map(tuple)


@st.composite
def places_of_one_hub(draw: st.DrawFn) -> list[Place]:
    """Places of one Hub: all without a host, or, with host routing, all with one except the Hub's ``/``.

    (``Proxy.validate_routespec`` takes no others: jupyterhub/proxy.py:214-238.)
    """
    few_hosts = st.sampled_from(["example.com", "alice.example.com"]) if draw(st.booleans()) else st.just("")
    found = draw(st.lists(st.builds(Place, few_hosts, _few_paths), min_size=1, max_size=6, unique=True))
    return list(dict.fromkeys([*found, *draw(st.sampled_from([[], [Place("", ())]]))]))


def table_of_places(places: list[Place]) -> RouteTable:
    """Return a table with a route for each place."""
    return RouteTable(Route.checked(place.canonical, "http://127.0.0.1:1", {}) for place in places)
