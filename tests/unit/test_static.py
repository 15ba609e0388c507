"""traefik_toml_proxy.traefik.static: settings as the static configuration of Traefik."""

from __future__ import annotations

from typing import Any

import pytest

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.traefik.static import (
    OLDEST_VERSION,
    StaticSettings,
    Version,
    check_trusted_proxies,
    static_tree,
)


def settings(**changes: Any) -> StaticSettings:
    """Return settings where only what matters differs."""
    usual: dict[str, Any] = {
        "address": "127.0.0.1:8000",
        "entry_point": "http",
        "tls": False,
        "dynamic_file": "/state/dynamic.toml",
        "log_level": "ERROR",
    }
    return StaticSettings(**(usual | changes))


def test_the_whole_static_configuration() -> None:
    """No API, no throttle, no version check, no usage statistics; requests are neither cut off nor tidied up."""
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
                    "respondingTimeouts": {"readTimeout": "0s", "idleTimeout": "180s"},
                    "lifeCycle": {"graceTimeOut": "2s"},
                },
            },
        },
    }


@pytest.mark.parametrize("entry_points", ["none", {"http": "none"}, {"http": {"address": 8000}}])
def test_an_entry_point_without_an_address_is_refused(entry_points: object) -> None:
    """What an admin adds may not take away where Traefik listens."""
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
def test_encoded_characters_are_allowed_where_they_would_not_be(version: Version, expected: bool) -> None:
    """Some versions refuse them unless told; others do not know the keys, and would not start."""
    http = static_tree(settings(), version)["entryPoints"]["http"]["http"]

    names = ["Slash", "BackSlash", "NullCharacter", "Semicolon", "Percent", "QuestionMark", "Hash"]
    assert expected == ("encodedCharacters" in http)
    assert http.get("encodedCharacters", {}) == {f"allowEncoded{name}": True for name in names * expected}


def test_tls_is_for_the_whole_entry_point() -> None:
    """Every router on it speaks https then, with the default certificate."""
    assert static_tree(settings(tls=True), (3, 7, 0))["entryPoints"]["http"]["http"]["tls"] == {}


def test_forwarded_headers_are_believed_from_trusted_proxies_alone() -> None:
    """Without a trusted proxy there is no such section, and Traefik believes nobody."""
    trusting = static_tree(settings(trusted_proxies=("10.0.0.1", "10.1.0.0/16")), (3, 7, 0))

    assert trusting["entryPoints"]["http"]["forwardedHeaders"] == {"trustedIPs": ["10.0.0.1", "10.1.0.0/16"]}


def test_what_the_admin_adds_wins() -> None:
    """Any key of ours can be replaced, and any can be added."""
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
    """A network may be given with a mask, which Go does not read, so it is written with the length of its prefix."""
    assert expected == check_trusted_proxies(given)


@pytest.mark.parametrize("address", ["", "proxy.example.com", "10.0.0", "10.0.0.0/33", "fe80::1%eth0", "*"])
def test_other_trusted_proxies_are_named(address: str) -> None:
    """Traefik would not start with it, and says so less clearly."""
    with pytest.raises(ConfigurationError, match=r"trusted_proxies: .* is neither an IP address nor a network"):
        check_trusted_proxies(("10.0.0.1", address))
