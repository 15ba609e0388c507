"""Converts a place to the rule and the priority of its Traefik router. Pure.

Before it matches a path, Traefik percent-decodes all characters except the reserved ones, which stay as the client sent them
(pkg/muxer/http/mux.go:99-176). Browsers and JupyterHub send both ``@`` and ``%40``, and both ``'`` and ``%27``, and
configurable-http-proxy treats these forms as equal (lib/configproxy.js:451-464), so a rule matches both.
"""

from __future__ import annotations

import re

from ..routes import Place

# The reserved characters, which Traefik does not decode (pkg/muxer/http/mux.go:98-170).
RESERVED = frozenset(":/?#[]@!$&'()*+,;=%")
# The reserved characters that a path may also contain raw. The others would end the segment or the path, or start an escape.
RAW_OR_ENCODED = RESERVED - frozenset("/?#%")

_NOT_PLAIN = re.compile(r"[^ !#-\[\]-~]")  # everything except printable ASCII without " and \


def go_string(text: str) -> str:
    """Return ``text`` as a Go interpreted string literal (The Go Programming Language Specification, String literals).

    Rules are parsed as Go expressions (pkg/rules/parser.go), so all text in a rule must go through this function. ``║`` is
    escaped like unprintable characters, because Traefik's file decoder joins lists with it (paerser/file/raw_node.go:95).
    """
    return '"' + _NOT_PLAIN.sub(_go_escaped, text) + '"'


def _go_escaped(special: re.Match[str]) -> str:
    character = special[0]
    if character in '"\\':
        return "\\" + character
    if character.isprintable() and character != "║":
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def rule(place: Place) -> str:
    """Return the rule that matches the requests at or below ``place``, comparing whole segments."""
    path = _path_rule(place.segments)
    if not place.host:
        return path
    return f"Host({go_string(place.host)}) && {path if not place.segments else '(' + path + ')'}"


def _path_rule(segments: tuple[str, ...]) -> str:
    if not segments:
        return 'PathPrefix("/")'
    path = "".join("/" + segment for segment in ("".join(map(as_matched, text)) for text in segments))
    if not any(RAW_OR_ENCODED.intersection(text) for text in segments):
        return f"Path({go_string(path)}) || PathPrefix({go_string(path + '/')})"
    pattern = "".join("/" + "".join(map(as_pattern, text)) for text in segments)
    return f"PathRegexp({go_string('^' + pattern + '(?:/|$)')})"


def as_matched(character: str) -> str:
    """Return one decoded character as it is in the path that Traefik matches; a reserved one in its encoded form."""
    return f"%{ord(character):02X}" if character in RESERVED else character


def as_pattern(character: str) -> str:
    """Return the RE2 pattern that matches one decoded character, in all its forms in the path that Traefik matches."""
    if character in RAW_OR_ENCODED:
        return f"(?:{re.escape(character)}|{as_matched(character)})"
    if character in RESERVED:
        return as_matched(character)
    # Only these need escaping; RE2 accepts any escaped ASCII punctuation (https://github.com/google/re2/wiki/Syntax).
    return "\\" + character if character in "\\.^|{}" else character


def priority(place: Place) -> int:
    """Return the priority of the router, which grows with the number of segments, and is higher with a host.

    If two routes match a request, one is a prefix of the other, so the number of segments is the right order. Traefik's
    default, the length of the rule (pkg/muxer/http/mux.go:75), is not. Among routes with hosts, the only one without is the
    Hub's ``/`` (jupyterhub/app.py:1167-1177).
    """
    return 1 + len(place.segments) + (1 if place.host else 0)
