"""A small interpreter of Traefik's rules, for tests only, and requests to match with them.

Rules are Go expressions (pkg/rules/parser.go) over ``Path``, ``PathPrefix``, ``PathRegexp``, ``Host``, ``HostRegexp``,
``HeaderRegexp``, ``Method`` and ``ClientIP``, with ``!``, ``&&`` and ``||`` (pkg/muxer/http/matcher.go). They are matched
against a path that is percent-decoded but for the reserved characters (pkg/muxer/http/mux.go:99-176).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from string import ascii_letters, digits, punctuation
from urllib.parse import unquote_to_bytes

from hypothesis import strategies as st

# What Go accepts raw in a path (net/url, validEncoded); if there is any other character, it re-encodes the whole path.
GO_TAKES_RAW = ascii_letters + digits + "-_.~!$&'()*+,;=:@[]"
# What stays encoded in the path that rules are matched with.
RESERVED = ":/?#[]@!$&'()*+,;=%"


@dataclass(frozen=True)
class Request:
    """What a client sends: a host, and a path without its query, as on the wire; a method, and headers."""

    host: str
    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    client: str = "127.0.0.1"

    @property
    def matched_host(self) -> str:
        """The host that Traefik matches (pkg/middlewares/requestdecorator/request_decorator.go)."""
        return self.host.lower().partition(":")[0]

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
        """The parts of the path between its slashes, each decoded, as in configurable-http-proxy (lib/trie.js)."""
        return [unquote_to_bytes(text) for text in self.path.split("/")[1:]]


RESERVED_BYTES = [character.encode() for character in RESERVED]
Matcher = Callable[[Request], bool]

TOKENS = re.compile(r'\s*(?:(?P<name>[A-Za-z]+)|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<mark>&&|\|\||[()!,]))')
GO_ESCAPES = re.compile(r'\\(?:(?P<plain>[abfnrtv\\"])|u(?P<four>[0-9a-f]{4})|U(?P<eight>[0-9a-f]{8}))|(?P<broken>\\)')
GO_PLAIN = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))


def read_go_string(literal: str) -> str:
    """Return the value of an interpreted string literal (The Go Programming Language Specification, String literals)."""
    text = literal[1:-1]
    assert {"\0", "\n", "\r", "\ufeff"}.isdisjoint(text), "not allowed in Go's source"

    def undo(escape: re.Match[str]) -> str:
        assert not escape["broken"]
        return GO_PLAIN[escape["plain"]] if escape["plain"] else chr(int(escape["four"] or escape["eight"], 16))

    return GO_ESCAPES.sub(undo, text)


def read_rule(text: str) -> Matcher:
    """Parse a rule."""
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
    if token == "!":
        inner, token = _single(next(tokens), tokens)
        return (lambda request: not inner(request)), token
    if token == "(":
        inner, token = _either(next(tokens), tokens)
        assert token == ")"
        return inner, next(tokens)
    assert next(tokens) == "("
    arguments, after = [read_go_string(next(tokens))], next(tokens)
    while after == ",":
        arguments.append(read_go_string(next(tokens)))
        after = next(tokens)
    assert after == ")"
    return MATCHERS[token](*arguments), next(tokens)


def _path(argument: str) -> Matcher:
    assert argument.startswith("/")
    return lambda request: request.matched_path == argument


def _path_prefix(argument: str) -> Matcher:
    assert argument.startswith("/")
    return lambda request: request.matched_path.startswith(argument)


def _path_regexp(argument: str) -> Matcher:
    # In Go, `$` is only the end of the text, and only punctuation may be escaped (RE2 syntax).
    escaped = re.findall(r"\\(.)", argument, re.DOTALL)
    assert set(escaped) <= set(punctuation)
    pattern = re.compile(re.sub(r"(\\.)|\$", lambda found: found[1] or r"\Z", argument, flags=re.DOTALL))
    return lambda request: pattern.search(request.matched_path) is not None


def _host_regexp(argument: str) -> Matcher:
    assert argument.isascii()
    pattern = re.compile(argument.replace("$", r"\Z"))
    return lambda request: pattern.search(request.matched_host) is not None


def _host(argument: str) -> Matcher:
    assert argument.isascii()
    return lambda request: request.matched_host.removesuffix(".") == argument.lower()


def _header_regexp(name: str, argument: str) -> Matcher:
    pattern = re.compile(argument)
    return lambda request: any(pattern.search(value) for key, value in request.headers if key.lower() == name.lower())


def _method(argument: str) -> Matcher:
    return lambda request: request.method == argument


def _client_ip(argument: str) -> Matcher:
    network = ipaddress.ip_network(argument)
    return lambda request: ipaddress.ip_address(request.client) in network


MATCHERS: dict[str, Callable[..., Matcher]] = {
    "Path": _path,
    "PathPrefix": _path_prefix,
    "PathRegexp": _path_regexp,
    "Host": _host,
    "HostRegexp": _host_regexp,
    "HeaderRegexp": _header_regexp,
    "Method": _method,
    "ClientIP": _client_ip,
}


def belongs(request: Request, host: str, segments: tuple[str, ...]) -> bool:
    """Whether a request is for a place or below it, decided by comparing segments."""
    wanted = [segment.encode() for segment in segments]
    same_host = host.lower() in ("", request.host.lower().partition(":")[0].removesuffix("."))
    return same_host and request.segments[: len(wanted)] == wanted


@st.composite
def sent_segments(draw: st.DrawFn, segment: str, raw: str) -> str:
    """A segment as a client may send it: each character is encoded, in upper or lower case, or raw if ``raw`` has it."""
    sent = ""
    for character in segment:
        encoded = "".join(f"%{byte:02X}" for byte in character.encode())
        forms = [encoded, encoded.lower(), *character * (character in raw)]
        sent += draw(st.sampled_from(forms))
    return sent


@st.composite
def requests(draw: st.DrawFn, host: str, segments: tuple[str, ...]) -> Request:
    """Requests for a place, below it, above it, and for places with similar names."""
    # Where Go re-encodes a path, `%2F` becomes a slash; so a path has either that or characters that Go does not accept raw.
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
