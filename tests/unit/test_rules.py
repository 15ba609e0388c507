"""traefik_toml_proxy.traefik.rules: a route as the name, rule and priority of a router."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.routes import Route, parse_routespec
from traefik_toml_proxy.traefik.rules import go_string, priority, router_name, rule


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
    """What could end the literal, is not allowed in Go's source, or joins lists in Traefik, is escaped."""
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
    """Paths without reserved characters need no regular expression; of the others, both forms are matched."""
    assert expected == rule(parse_routespec(routespec))


@pytest.mark.parametrize(
    ("routespec", "expected"),
    [
        ("/", "root"),
        ("/user/alice/", "user-alice"),
        ("/user/Alice@Example.com/", "user-alice-40example-2ecom"),
        ("hub.example.com/user/a/", "hub-2eexample-2ecom-user-a"),
        ("/user/%E7%A7%80/", "user--e7-a7-80"),
        ("//a/", "a"),
        ("/user/" + "x" * 100 + "/", "user-" + "x" * 35),
        ("/123/", "123"),
        ("/@/", "40"),
    ],
)
def test_a_router_name_is_readable_and_ends_in_a_hash(routespec: str, expected: str) -> None:
    """People find a route by its name; the hash of the routespec makes it unique."""
    readable, _, digest = router_name(Route.checked(routespec, "http://h:1", {})).rpartition("-")

    assert expected == readable
    assert len(digest) == 32
    assert digest.isalnum()
    assert digest.islower()


@pytest.mark.parametrize(
    ("one", "other"), [("/Team-A/", "/team-a/"), ("/a@b/", "/a%40b/"), ("/a-40b/", "/a@b/"), ("/a/b/", "/a-b/")]
)
def test_routers_of_two_routespecs_have_two_names(one: str, other: str) -> None:
    """Names differ also where case is ignored, and where the readable part is the same."""
    names = {router_name(Route.checked(routespec, "http://h:1", {})).lower() for routespec in (one, other)}

    assert len(names) == 2


def test_a_router_keeps_its_name() -> None:
    """The name depends on the routespec alone, so that a new target is a change of the same router."""
    names = {router_name(Route.checked("/a/", f"http://{host}", {"host": host})) for host in ("one", "two")}

    assert len(names) == 1


@pytest.mark.parametrize(
    ("routespec", "expected"),
    [("/", 1), ("/a/", 2), ("/a/b/c/", 4), ("/" + "x" * 200 + "/", 2), ("example.com/", 2), ("example.com/a/", 3)],
)
def test_more_segments_come_first_and_any_host_before_none(routespec: str, expected: int) -> None:
    """The length of a name does not count, as it would in Traefik's own default (pkg/muxer/http/mux.go:75)."""
    assert expected == priority(parse_routespec(routespec))
