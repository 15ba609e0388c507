"""traefik_toml_proxy.traefik.rules: a place as the rule and priority of a router."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.routes import parse_routespec
from traefik_toml_proxy.traefik.rules import go_string, priority, rule


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '""'),
        ("/user/é秀 ~`'{}", '"/user/é秀 ~`\'{}"'),
        ('a"b', r'"a\"b"'),
        ("a\\b", r'"a\\b"'),
        ("\0\n\r\t\x7f", r'"\u0000\u000a\u000d\u0009\u007f"'),
        ("\ufeff\u202e\u2028", r'"\ufeff\u202e\u2028"'),
        ("║", r'"\u2551"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_text_in_a_rule_is_a_go_string(text: str, expected: str) -> None:
    """Characters that end a literal, are not allowed in Go source, or join lists in Traefik are escaped."""
    assert expected == go_string(text)


@pytest.mark.parametrize(
    ("routespec", "expected"),
    [
        ("/", 'PathPrefix("/")'),
        ("/hub/", 'Path("/hub") || PathPrefix("/hub/")'),
        ("/user/alice", 'Path("/user/alice") || PathPrefix("/user/alice/")'),
        ("/user/a~b_c-d.e/", 'Path("/user/a~b_c-d.e") || PathPrefix("/user/a~b_c-d.e/")'),
        ("/a//b/", 'Path("/a//b") || PathPrefix("/a//b/")'),
        ("/user/a%20b/", 'Path("/user/a b") || PathPrefix("/user/a b/")'),
        ("/user/a%22b/", r'Path("/user/a\"b") || PathPrefix("/user/a\"b/")'),
        ("/user/a%2fb/", 'Path("/user/a%2Fb") || PathPrefix("/user/a%2Fb/")'),
        ("/user/%25%3F%23/", 'Path("/user/%25%3F%23") || PathPrefix("/user/%25%3F%23/")'),
        ("/user/.%2B.*/", r'PathRegexp("^/user/\\.(?:\\+|%2B)\\.(?:\\*|%2A)(?:/|$)")'),
        ("/user/a@b/", 'PathRegexp("^/user/a(?:@|%40)b(?:/|$)")'),
        ("/@/|^{}%5C%2F", r'PathRegexp("^/(?:@|%40)/\\|\\^\\{\\}\\\\%2F(?:/|$)")'),
        ("/:[]!$/", r'PathRegexp("^/(?::|%3A)(?:\\[|%5B)(?:\\]|%5D)(?:!|%21)(?:\\$|%24)(?:/|$)")'),
        ("/&'()*/", r"""PathRegexp("^/(?:\\&|%26)(?:'|%27)(?:\\(|%28)(?:\\)|%29)(?:\\*|%2A)(?:/|$)")"""),
        ("/+,;=/", r'PathRegexp("^/(?:\\+|%2B)(?:,|%2C)(?:;|%3B)(?:=|%3D)(?:/|$)")'),
        ("example.com/", 'Host("example.com") && PathPrefix("/")'),
        ("Example.COM/a/", 'Host("example.com") && (Path("/a") || PathPrefix("/a/"))'),
        ("example.com/@/", 'Host("example.com") && (PathRegexp("^/(?:@|%40)(?:/|$)"))'),
    ],
)
def test_a_rule_is_about_whole_segments_raw_or_encoded(routespec: str, expected: str) -> None:
    """Paths without reserved characters need no regular expression; reserved ones match in both forms."""
    assert expected == rule(parse_routespec(routespec))


@pytest.mark.parametrize(
    ("routespec", "expected"),
    [("/", 1), ("/a/", 2), ("/a/b/c/", 4), ("/" + "x" * 200 + "/", 2), ("example.com/", 2), ("example.com/a/", 3)],
)
def test_more_segments_have_priority_and_a_host_has_priority_over_none(routespec: str, expected: int) -> None:
    """The length of the names does not count, unlike in Traefik's default priority (pkg/muxer/http/mux.go:75)."""
    assert expected == priority(parse_routespec(routespec))
