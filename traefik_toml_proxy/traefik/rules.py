"""A place -> the rule and priority of its Traefik router. Pure.

Traefik matches a path of which all but the reserved characters are percent-decoded (pkg/muxer/http/mux.go:99-176): a
reserved character is still as the client sent it. Browsers and JupyterHub send ``@`` and ``%40``, ``'`` and ``%27`` alike,
and configurable-http-proxy takes them as equal (lib/configproxy.js:451-464), so a rule takes both.
"""

from __future__ import annotations

import re

from ..routes import Place

# What stays percent-encoded in the path that Traefik matches (pkg/muxer/http/mux.go:98-170).
RESERVED = frozenset(":/?#[]@!$&'()*+,;=%")
# Of these, a path can hold the raw form too; the others would end the path, or be no character of their own.
RAW_OR_ENCODED = RESERVED - frozenset("/?#%")

_NOT_PLAIN = re.compile(r"[^ !#-\[\]-~]")  # all but printable ASCII without " and \


def go_string(text: str) -> str:
    """Return ``text`` as a Go interpreted string literal (The Go Programming Language Specification, String literals).

    Rules are parsed as Go expressions (pkg/rules/parser.go), so this is the only way text gets into a rule. ``║`` is how
    Traefik's file decoder joins lists (paerser/file/raw_node.go:95); it is escaped like what cannot be printed.
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
    """Return the rule that matches exactly the requests at or below ``place``, on whole segments."""
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
    """Return one decoded character as it is in the path that Traefik matches (the encoded form, of two)."""
    return f"%{ord(character):02X}" if character in RESERVED else character


def as_pattern(character: str) -> str:
    """Return the pattern (RE2) for one decoded character in the path that Traefik matches, in each of its forms."""
    if character in RAW_OR_ENCODED:
        return f"(?:{re.escape(character)}|{as_matched(character)})"
    if character in RESERVED:
        return as_matched(character)
    # RE2 takes any escaped ASCII punctuation (https://github.com/google/re2/wiki/Syntax); nothing else needs it.
    return "\\" + character if character in "\\.^|{}" else character


def priority(place: Place) -> int:
    """Return the priority of the router: more segments first, and any host before none.

    Of two routes that match one request, one is the beginning of the other, so the number of segments decides; Traefik's
    own default, the length of the rule's text (pkg/muxer/http/mux.go:75), would not. A route without a host beside routes
    with one is the Hub's ``/`` (jupyterhub/app.py:1167-1177).
    """
    return 1 + len(place.segments) + (1 if place.host else 0)
