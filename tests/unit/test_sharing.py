"""traefik_toml_proxy.traefik.sharing: what tells several Hubs on one Traefik apart."""

from __future__ import annotations

import re

import pytest
from support.rule_reading import Request, read_rule

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.routes import Place, parse_routespec
from traefik_toml_proxy.traefik.dynamic import DynamicSettings
from traefik_toml_proxy.traefik.front import fronts
from traefik_toml_proxy.traefik.sharing import (
    check_hosts,
    check_namespace,
    default_namespace,
    hosts_rule,
    lowest_priority,
    takes_host,
)

ROOT = Place("", ())
HOSTILE = [
    'a")||PathPrefix("/',
    "a`",
    "{{.}}",
    "a\nb",
    "a║b",
    "münchen.example.org",
    "a b",
]


@pytest.mark.parametrize("namespace", ["h2", "2", "physics-lab", "a" * 40])
def test_a_namespace_has_letters_digits_and_dashes(namespace: str) -> None:
    """It is used as it is."""
    assert check_namespace(namespace) == namespace


@pytest.mark.parametrize("namespace", [*HOSTILE, "", "a_b", "A", "-a", "a-", "a.b", "a@b", "a\n", "a" * 41])
def test_a_namespace_that_could_be_confused_is_refused(namespace: str) -> None:
    """With "_" it could be the beginning of another one; Traefik takes what is after "@" for a provider."""
    with pytest.raises(ConfigurationError, match=r"^namespace: .* cannot begin the names of routers"):
        check_namespace(namespace)


@pytest.mark.parametrize(
    ("entry_point", "base_url", "hosts", "begins"),
    [
        ("web", "/", (), "web-"),
        ("web", "/h2/", (), "h2-"),
        ("web", "/a/b%20c/", (), "a-b-20c-"),
        ("web", "/h2/", ("*.hub.example.org",), "2a-2ehub-2eexample-"),
        ("public entry point", "/", (), "public-20entry-20poi"),
    ],
)
def test_a_default_namespace_is_readable(entry_point: str, base_url: str, hosts: tuple[str, ...], begins: str) -> None:
    """It begins with what people know: the host, or the base_url, or the entry point."""
    namespace = default_namespace(entry_point, parse_routespec(base_url), hosts)

    assert namespace.startswith(begins)
    assert check_namespace(namespace) == namespace


def test_a_default_namespace_may_have_nothing_to_read() -> None:
    """It is valid all the same."""
    assert re.fullmatch("[a-z2-7]{8}", default_namespace("-", ROOT, ())) is None
    assert re.fullmatch("[a-z2-7]{8}", default_namespace("", ROOT, ()))


def test_each_hub_on_one_traefik_has_another_default_namespace() -> None:
    """Each entry point, base_url and list of hosts counts, but not the spelling of the base_url."""
    hubs = [
        (entry_point, base, hosts)
        for entry_point in ("web", "websecure")
        for base in (ROOT, Place("", ("h2",)), Place("", ("h2", "x")), Place("", ("h2-x",)))
        for hosts in ((), ("a.org",), ("a.org", "b.org"), ("*.a.org",))
    ]

    assert len({default_namespace(*hub) for hub in hubs}) == len(hubs)
    assert len({default_namespace("web", parse_routespec(base), ()) for base in ("/a@b/", "/a%40b/")}) == 1


def test_the_order_of_hosts_does_not_matter() -> None:
    """Two Hubs with the same hosts have the same names, so that the second one is refused, and does not just come second."""
    assert default_namespace("web", ROOT, ("*.a.org", "b.org", "c.org")) == default_namespace(
        "web", ROOT, ("c.org", "b.org", "*.a.org")
    )


def test_hosts_are_in_lower_case_and_there_once() -> None:
    """As Traefik compares them."""
    assert check_hosts(("Hub.Example.ORG", "a_b", "hub.example.org", "*.X.org", "192.0.2.1")) == (
        *("hub.example.org", "a_b", "*.x.org", "192.0.2.1"),
    )


@pytest.mark.parametrize(
    "host",
    [
        *HOSTILE,
        *("", "*", "*.", "*.*.a.org", "a.*.org", "a*.org", ".a.org", "a.org.", "a..org", "-a.org"),
        *("a.org:8000", "http://a.org", "a.org/", "a.org/x", "/x", "[::1]", "::1", "x" * 254),
    ],
)
def test_what_is_no_host_name_is_refused(host: str) -> None:
    """Nothing else gets into a rule."""
    with pytest.raises(ConfigurationError, match=r"^rule_hosts: .* is not a host name"):
        check_hosts(("fine.example.org", host))


MIXED = ("hub.example.org", "*.hub.example.org")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("hub.example.org", True),
        ("HUB.example.org:8000", True),
        ("hub.example.org.", True),
        ("user-1_x.hub.example.org", True),
        ("user.hub.example.org.", True),
        ("a.b.hub.example.org", False),
        (".hub.example.org", False),
        ("hub-example.org", False),
        ("xhub.example.org", False),
        ("a.hub-example.org", False),
        ("a.hub.example.org.evil.org", False),
        ("evil/a.hub.example.org", False),
        ("example.org", False),
    ],
)
def test_requests_for_the_hosts_of_a_hub_are_told_from_all_others(host: str, expected: bool) -> None:
    """A wildcard stands for one label."""
    assert read_rule(hosts_rule(MIXED))(Request(host, "/x")) == expected
    assert hosts_rule(()) == ""


@pytest.mark.parametrize(
    ("host", "expected"),
    [("hub.example.org", True), ("a.hub.example.org", True), ("a.b.hub.example.org", False), ("example.org", False)],
)
def test_a_route_can_only_have_a_host_of_the_hub(host: str, expected: bool) -> None:
    """Without rule_hosts, all are."""
    assert takes_host(MIXED, host) == expected
    assert takes_host((), host)


def test_a_longer_base_url_comes_first_then_names_then_wildcards() -> None:
    """There is room for all front routers of a Hub before the next one, and for a router of others below all of them."""
    order = [
        lowest_priority(base, hosts)
        for base in (ROOT, Place("", ("h2",)), Place("", ("h2", "x")))
        for hosts in ((), ("a.org", "*.a.org"), ("a.org",))
    ]
    most = len(fronts(DynamicSettings(entry_point="web", secret_path="/s", trusted_proxies=("10.0.0.1",))))

    assert order == list(range(3, 3 + 9 * most, most))
