"""Laws of traefik/rules.py, held against a small reading of rules as Traefik reads them, written for this test alone.

Rules are Go expressions (pkg/rules/parser.go) over ``Path``, ``PathPrefix``, ``PathRegexp`` and ``Host``
(pkg/muxer/http/matcher.go). They are matched against a path that is percent-decoded but for the reserved characters
(pkg/muxer/http/mux.go:99-176).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from string import ascii_letters, digits, punctuation
from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import SETTINGS, hosts, routespecs, segments, spellings

from traefik_toml_proxy.routes import Place, Route, parse_routespec
from traefik_toml_proxy.traefik.rules import go_string, priority, router_name, rule

# What Go takes raw in a path (net/url, validEncoded); one other character, and it encodes the whole path anew.
GO_TAKES_RAW = ascii_letters + digits + "-_.~!$&'()*+,;=:@[]"
# What stays encoded in the path that is matched.
RESERVED = ":/?#[]@!$&'()*+,;=%"


@dataclass(frozen=True)
class Request:
    """What a client sends: a host, and a path without its query, as it is on the wire."""

    host: str
    path: str

    @property
    def matched_path(self) -> str:
        """The path that Traefik matches (pkg/muxer/http/mux.go:99-176)."""
        path = self.path
        if set(path) - set(GO_TAKES_RAW + "/%"):
            path = "".join(
                chr(byte) if chr(byte) in ascii_letters + digits + "-_.~$&+,/:;=@" else f"%{byte:02X}"
                for byte in unquote_to_bytes(path)
            )
        escapes = re.compile(rb"%[0-9A-Fa-f]{2}")
        decoded = escapes.sub(
            lambda escape: (
                escape[0].upper() if unquote_to_bytes(escape[0]) in RESERVED_BYTES else unquote_to_bytes(escape[0])
            ),
            path.encode(),
        )
        return decoded.decode("utf-8", "surrogateescape")

    @property
    def segments(self) -> list[bytes]:
        """The path between its slashes, each part decoded, as configurable-http-proxy has it (lib/trie.js)."""
        return [unquote_to_bytes(text) for text in self.path.split("/")[1:]]


RESERVED_BYTES = [character.encode() for character in RESERVED]
Matcher = Callable[[Request], bool]

TOKENS = re.compile(r'\s*(?:(?P<name>[A-Za-z]+)|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<mark>&&|\|\||[()]))')
GO_ESCAPES = re.compile(r'\\(?:(?P<plain>[abfnrtv\\"])|u(?P<four>[0-9a-f]{4})|U(?P<eight>[0-9a-f]{8}))|(?P<broken>\\)')
GO_PLAIN = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))


def read_go_string(literal: str) -> str:
    """Read an interpreted string literal (The Go Programming Language Specification, String literals)."""
    text = literal[1:-1]
    assert {"\0", "\n", "\r", "\ufeff"}.isdisjoint(text), "not allowed in Go's source"

    def undo(escape: re.Match[str]) -> str:
        assert not escape["broken"]
        return GO_PLAIN[escape["plain"]] if escape["plain"] else chr(int(escape["four"] or escape["eight"], 16))

    return GO_ESCAPES.sub(undo, text)


def read_rule(text: str) -> Matcher:
    """Read a whole rule."""
    tokens = _tokens(text)
    matcher, after = _either(next(tokens), tokens)
    assert after == "", f"something after the end: {after}"
    return matcher


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        token = TOKENS.match(text, at)
        assert token, f"not Go: {text[at:]}"
        at = token.end()
        yield token[0].strip() if not token["string"] else token["string"]
    yield ""


def _either(token: str, tokens: Iterator[str]) -> tuple[Matcher, str]:
    one, token = _both(token, tokens)
    if token != "||":
        return one, token
    other, token = _either(next(tokens), tokens)
    return (lambda request: one(request) or other(request)), token


def _both(token: str, tokens: Iterator[str]) -> tuple[Matcher, str]:
    one, token = _single(token, tokens)
    if token != "&&":
        return one, token
    other, token = _both(next(tokens), tokens)
    return (lambda request: one(request) and other(request)), token


def _single(token: str, tokens: Iterator[str]) -> tuple[Matcher, str]:
    if token == "(":
        inner, token = _either(next(tokens), tokens)
        assert token == ")"
        return inner, next(tokens)
    opening, argument, closing = next(tokens), read_go_string(next(tokens)), next(tokens)
    assert (opening, closing) == ("(", ")")
    return MATCHERS[token](argument), next(tokens)


def _path(argument: str) -> Matcher:
    assert argument.startswith("/")
    return lambda request: request.matched_path == argument


def _path_prefix(argument: str) -> Matcher:
    assert argument.startswith("/")
    return lambda request: request.matched_path.startswith(argument)


def _path_regexp(argument: str) -> Matcher:
    # In Go `$` is the very end, and what an escape may stand before is punctuation (RE2 syntax).
    escaped = re.findall(r"\\(.)", argument, re.DOTALL)
    assert set(escaped) <= set(punctuation)
    pattern = re.compile(re.sub(r"(\\.)|\$", lambda found: found[1] or r"\Z", argument, flags=re.DOTALL))
    return lambda request: pattern.search(request.matched_path) is not None


def _host(argument: str) -> Matcher:
    assert argument.isascii()
    return lambda request: request.host.lower().partition(":")[0].removesuffix(".") == argument.lower()


MATCHERS: dict[str, Callable[[str], Matcher]] = {
    "Path": _path,
    "PathPrefix": _path_prefix,
    "PathRegexp": _path_regexp,
    "Host": _host,
}


def belongs(request: Request, host: str, segments: tuple[str, ...]) -> bool:
    """Say by segments alone whether a request is for a place or below it."""
    wanted = [segment.encode() for segment in segments]
    same_host = host.lower() in ("", request.host.lower().partition(":")[0].removesuffix("."))
    return same_host and request.segments[: len(wanted)] == wanted


@st.composite
def sent_segments(draw: st.DrawFn, segment: str, raw: str) -> str:
    """One segment as a client may send it: each character encoded, in capitals or not, or raw if it is one of ``raw``."""
    sent = ""
    for character in segment:
        encoded = "".join(f"%{byte:02X}" for byte in character.encode())
        forms = [encoded, encoded.lower(), *character * (character in raw)]
        sent += draw(st.sampled_from(forms))
    return sent


@st.composite
def requests(draw: st.DrawFn, host: str, segments: tuple[str, ...]) -> Request:
    """Requests for a place, below it, above it, and for others with nearly its name."""
    # Where Go encodes a path anew, `%2F` becomes a slash; so a path has either that, or characters that Go does not take.
    also_raw = "" if "/" in "".join(segments) else '|"<>^`{}\\é秀'
    names = list(segments)
    how = draw(st.sampled_from(["same", "same", "same", "longer", "case", "above", "below"]))
    if names and how == "longer":
        names[-1] += draw(st.sampled_from(["b", "2", "@", "%", "%2F", "A", "\n", "…", "x" if also_raw else "/"]))
    if names and how == "case":
        names[-1] = names[-1].swapcase()
    if how == "above":
        names = names[:-1]
    if how == "below":
        names = ["", *names]
    path = "".join("/" + draw(sent_segments(name, GO_TAKES_RAW + also_raw)) for name in names)
    path += draw(st.sampled_from(["", "/", "/lab", "//", "/a/b", "%FF", "/%0A", "/é" if also_raw else "/%2F"]))
    sent_host = draw(st.sampled_from([host, host.upper(), f"{host}:8000", f"{host}.", "other.example.com"]))
    return Request(sent_host or "example.com", path if path.startswith("/") else f"/{path}")


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
