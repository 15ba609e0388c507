"""Why Traefik cannot start, in terms of the settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from traefik_toml_proxy.errors import ConfigurationError, TraefikStartFailed
from traefik_toml_proxy.runtime.checks import (
    check_address,
    check_own,
    explain_output,
    listens_on_ipv6_too,
    usual_cause,
    watches_no_file,
)

_PROVIDER = 'ERR Cannot start the provider *file.Provider error="error'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("error opening listener: listen tcp :80: bind: permission denied", "cap_net_bind_service"),
        ("listen tcp 127.0.0.1:80: bind: address already in use", "taken by another process"),
        ("listen tcp 192.0.2.1:80: bind: cannot assign requested address", "where to listen"),
        ("listen tcp: lookup nosuchhost: no such host", "where to listen"),
        ("listen tcp: lookup nosuchhost on 192.0.2.53:53: read udp 192.0.2.2:36635: i/o timeout", "where to listen"),
        ("listen tcp: lookup nosuchhost on 192.0.2.53:53: server misbehaving", "where to listen"),
        (f"{_PROVIDER} creating file watcher: couldn't initialize inotify: too many open files", "max_user_instances"),
        (f"{_PROVIDER} adding file watcher for /state: no space left on device", "max_user_watches"),
    ],
)
def test_a_line_of_traefik_s_output_is_explained(line: str, words: str) -> None:
    """With what an admin can set; the line itself stays readable."""
    explained = explain_output(["INF Starting", line])

    assert explained is not None
    assert words in explained
    assert f"({line})" in explained


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["INF Starting"],
        ["ERR field not found, node: bogus"],
        ["ERR Unable to obtain ACME certificate: dial tcp: lookup acme.example.org: no such host"],
        ["ERR dial tcp 192.0.2.1:443: connect: cannot assign requested address"],
    ],
)
def test_other_lines_speak_for_themselves(lines: list[str]) -> None:
    """They are shown anyway."""
    assert explain_output(lines) is None
    assert not watches_no_file(lines)


def test_the_current_limits_are_named() -> None:
    """They are read from the kernel."""
    with open("/proc/sys/fs/inotify/max_user_watches") as file:  # noqa: PTH123
        limit = file.read().strip()

    assert f"fs.inotify.max_user_watches (now {limit})" in usual_cause()


@pytest.mark.parametrize("address", ["127.0.0.1:1000", "[::]:0", ":0", "192.0.2.1:80", "[::1]:80", "hub0.0.0.0:80"])
def test_only_the_ipv4_wildcard_is_wider_than_it_says(address: str) -> None:
    """Whoever names no host, or ``::``, has asked for IPv6."""
    assert not listens_on_ipv6_too(address)


def test_an_address_that_cannot_be_read_is_left_to_traefik() -> None:
    """Traefik says what is wrong with it."""
    check_address("nosuchhost.invalid:80")
    check_address("127.0.0.1:nonsense")


def test_an_address_that_is_not_this_machine_s() -> None:
    """Documentation addresses are nobody's (RFC 5737)."""
    with pytest.raises(TraefikStartFailed, match="not one of this machine"):
        check_address("192.0.2.1:8000")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even by a Hub that runs as root, and may use it: with its files, they could end any process."""
    check_own(tmp_path, "c.InProcessProxy.state_dir")
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    with pytest.raises(
        ConfigurationError, match=r"could have the Hub, which runs as root, end any process\. Run: chown"
    ):
        check_own(tmp_path, "c.InProcessProxy.state_dir")
