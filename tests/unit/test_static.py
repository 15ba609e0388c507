"""traefik.static: the settings as Traefik's static configuration."""

from __future__ import annotations

from typing import Any

import pytest

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.traefik.static import (
    OLDEST_VERSION,
    StaticSettings,
    Version,
    check_trusted_proxies,
    most_output,
    static_tree,
)
from traefik_toml_proxy.traefik.tls import Acme, Redirect


def settings(**changes: Any) -> StaticSettings:
    """Return default settings with these changes."""
    usual: dict[str, Any] = {
        "address": "127.0.0.1:8000",
        "entry_point": "http",
        "tls": False,
        "dynamic_file": "/state/dynamic.toml",
        "log_level": "ERROR",
    }
    return StaticSettings(**(usual | changes))


def test_the_whole_static_configuration() -> None:
    """No API, throttling, version check or usage statistics; requests are neither cut off nor normalized."""
    assert static_tree(settings(), (3, 7, 15)) == {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR", "noColor": True},
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"filename": "/state/dynamic.toml", "watch": True},
        },
        "entryPoints": {
            "http": {
                "address": "127.0.0.1:8000",
                "http": {"sanitizePath": False, "encodeQuerySemicolons": True},
                "transport": {
                    "respondingTimeouts": {"readTimeout": "0s", "writeTimeout": "0s", "idleTimeout": "180s"},
                    "lifeCycle": {"graceTimeOut": "2s"},
                },
                "observability": {"accessLogs": False},
            },
        },
        "serversTransport": {
            "maxIdleConnsPerHost": 200,
            "forwardingTimeouts": {"dialTimeout": "30s", "responseHeaderTimeout": "0s", "idleConnTimeout": "90s"},
        },
        "accessLog": {
            "format": "json",
            "addInternals": True,
            "filters": {"statusCodes": ["200-417", "419-599"]},
            "fields": {"defaultMode": "drop", "names": {"RequestPath": "keep"}, "headers": {"defaultMode": "drop"}},
        },
    }


@pytest.mark.parametrize(
    "provider",
    [
        {"directory": "/etc/traefik/dynamic"},
        {"directory": "/state"},
        {"filename": "/etc/traefik/mine.toml"},
        {"watch": False},
        "none",
    ],
)
def test_another_file_provider_is_refused(provider: object) -> None:
    """Traefik would not load the file with the routes, or only once; the error says where else to put one's own."""
    with pytest.raises(ConfigurationError, match=r"extra_static_config: providers\.file\..*\.extra_dynamic_config"):
        static_tree(settings(extra={"providers": {"file": provider}}), (3, 7, 0))


def test_all_else_of_the_file_provider_may_be_set() -> None:
    """And other providers may be added."""
    extra = {"providers": {"file": {"debugLogGeneratedTemplate": True}, "docker": {"network": "hub"}}}
    providers = static_tree(settings(extra=extra), (3, 7, 0))["providers"]

    assert providers["file"] == {"filename": "/state/dynamic.toml", "watch": True, "debugLogGeneratedTemplate": True}
    assert providers["docker"] == {"network": "hub"}


@pytest.mark.parametrize("key", ["accessLog", "accesslog"])
def test_an_access_log_of_the_admin_s_takes_the_place_of_ours(key: str) -> None:
    """Traefik has only one. Every request goes into it, as the admin expects."""
    tree = static_tree(settings(extra={key: {"format": "common"}}), (3, 7, 15))

    assert tree[key] == {"format": "common"}
    assert [name for name in tree if name.lower() == "accesslog"] == [key]
    assert "observability" not in tree["entryPoints"]["http"]


def test_the_access_log_is_off_at_entry_points_of_the_admin_s() -> None:
    """It is not for their requests. What the admin says of one wins."""
    more = {"other": {"address": ":81"}, "logged": {"address": ":82", "observability": {"accessLogs": True}}}
    entry_points = static_tree(settings(extra={"entryPoints": more}), (3, 7, 15))["entryPoints"]

    assert {name: point["observability"] for name, point in entry_points.items()} == {
        "http": {"accessLogs": False},
        "other": {"accessLogs": False},
        "logged": {"accessLogs": True},
    }


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, 64 * 2**20),
        ({"accessLog": {"format": "common"}}, 64 * 2**20),
        ({"accessLog": True}, 64 * 2**20),
        ({"accessLog": {"filePath": "/var/log/access.log"}}, None),
        ({"log": {"filepath": "/var/log/traefik.log"}}, None),
    ],
)
def test_the_output_has_a_limit_unless_the_admin_has_logs_in_files(extra: dict[str, Any], expected: int | None) -> None:
    """The limit is for every file that Traefik writes; how large the admin's own may be is for the admin to say."""
    assert most_output(static_tree(settings(extra=extra), (3, 7, 15))) == expected


@pytest.mark.parametrize("entry_points", ["none", {"http": "none"}, {"http": {"address": 8000}}])
def test_an_entry_point_without_an_address_is_refused(entry_points: object) -> None:
    """The admin's settings must not remove the address that Traefik listens on."""
    with pytest.raises(ConfigurationError, match="'http' a table with an address"):
        static_tree(settings(extra={"entryPoints": entry_points}), (3, 7, 0))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (OLDEST_VERSION, False),
        ((3, 6, 2), False),
        ((3, 6, 3), True),
        ((3, 6, 6), True),
        ((3, 6, 7), False),
        ((3, 7, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_encoded_characters_are_allowed_in_versions_that_refuse_them(version: Version, expected: bool) -> None:
    """Some versions refuse them by default; others do not know the setting, and would not start with it."""
    http = static_tree(settings(), version)["entryPoints"]["http"]["http"]

    names = ["Slash", "BackSlash", "NullCharacter", "Semicolon", "Percent", "QuestionMark", "Hash"]
    assert expected == ("encodedCharacters" in http)
    assert http.get("encodedCharacters", {}) == {f"allowEncoded{name}": True for name in names * expected}


def test_tls_is_for_the_whole_entry_point() -> None:
    """All its routers speak https then, with the default certificate."""
    assert static_tree(settings(tls=True), (3, 7, 0))["entryPoints"]["http"]["http"]["tls"] == {}


@pytest.mark.parametrize("key", ["metrics", "Tracing"])
def test_what_else_of_observability_the_admin_turns_on_is_on_at_all_entry_points(key: str) -> None:
    """Traefik 3.6.2 would turn it off there, because something else is."""
    tree = static_tree(settings(extra={key: {"x": {}}}), (3, 6, 2))

    assert tree["entryPoints"]["http"]["observability"] == {"accessLogs": False, key.lower(): True}


def test_plain_http_is_sent_to_https_on_an_entry_point_of_its_own() -> None:
    """Paths stay as they are there, too. Routers without an entry point stay on the public one."""
    tree = static_tree(settings(tls=True, redirect=Redirect("127.0.0.1:80", 443)), (3, 6, 4))["entryPoints"]

    assert tree["http"]["asDefault"] is True
    redirect = tree["http-redirect"]
    assert redirect.pop("transport") == {"lifeCycle": {"graceTimeOut": "2s"}}
    assert len(redirect["http"].pop("encodedCharacters")) == 7
    assert redirect == {
        "observability": {"accessLogs": False},
        "address": "127.0.0.1:80",
        "http": {
            "sanitizePath": False,
            "redirections": {"entryPoint": {"to": ":443", "scheme": "https", "permanent": False}},
        },
    }


def test_certificates_come_from_an_acme_server() -> None:
    """The public entry point names the resolver, which answers its challenges at the entry point for plain http."""
    acme = Acme(domains=("hub.example.org",), storage="/state/letsencrypt.json", http_challenge=True)
    tree = static_tree(settings(tls=True, acme=acme), (3, 7, 0))

    assert tree["entryPoints"]["http"]["http"]["tls"] == acme.entry_point_tree()
    assert tree["certificatesResolvers"] == acme.resolver_tree("http-redirect")


def test_forwarded_headers_are_trusted_only_from_trusted_proxies() -> None:
    """Without trusted proxies there is no such section, and Traefik trusts nobody."""
    trusting = static_tree(settings(trusted_proxies=("10.0.0.1", "10.1.0.0/16")), (3, 7, 0))

    assert trusting["entryPoints"]["http"]["forwardedHeaders"] == {"trustedIPs": ["10.0.0.1", "10.1.0.0/16"]}


def test_the_admin_s_settings_win() -> None:
    """They can replace any key of ours, and add others."""
    extra = {"log": {"level": "DEBUG"}, "accessLog": {"filePath": "/log"}}

    tree = static_tree(settings(extra=extra), (3, 7, 0))

    assert tree["log"] == {"level": "DEBUG", "noColor": True}
    assert tree["accessLog"] == {"filePath": "/log"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), ()),
        (("10.0.0.5", "::1"), ("10.0.0.5", "::1")),
        (("10.0.0.0/8", "fd00::/8"), ("10.0.0.0/8", "fd00::/8")),
        (("10.1.2.3/8",), ("10.0.0.0/8",)),
        (("10.0.0.0/255.0.0.0",), ("10.0.0.0/8",)),
    ],
)
def test_trusted_proxies_are_addresses_or_networks(given: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """A netmask, which Go does not understand, becomes a prefix length."""
    assert expected == check_trusted_proxies(given)


@pytest.mark.parametrize("address", ["", "proxy.example.com", "10.0.0", "10.0.0.0/33", "fe80::1%eth0", "*"])
def test_an_invalid_trusted_proxy_is_refused(address: str) -> None:
    """Traefik would not start either, but its error is less clear."""
    with pytest.raises(ConfigurationError, match=r"trusted_proxies: .* is neither an IP address nor a network"):
        check_trusted_proxies(("10.0.0.1", address))
