"""traefik.tls: the dates of a certificate, and the settings of an ACME server."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.traefik.tls import Acme, acme_server, check_domains, validity_problem

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("begins", "ends", "expected"),
    [
        (timedelta(hours=1), timedelta(days=90), "is not valid before 2026-05-01 13:00 UTC; browsers refuse it"),
        (timedelta(days=-90), timedelta(0), "expired at 2026-05-01 12:00 UTC; browsers refuse it"),
        (timedelta(days=-77), timedelta(days=13), "expires at 2026-05-14 12:00 UTC"),
        (timedelta(days=-60), timedelta(days=30), ""),
        # What lives for six days is renewed after three; what lives for ten years is not renewed two years before.
        (timedelta(days=-3), timedelta(days=3), ""),
        (timedelta(days=-5.5), timedelta(days=0.5), "expires at 2026-05-02 00:00 UTC"),
        (timedelta(days=-3000), timedelta(days=300), ""),
    ],
)
def test_a_warning_comes_in_time_and_not_before_a_renewal_is_due(
    begins: timedelta, ends: timedelta, expected: str
) -> None:
    """It depends on the whole lifetime of the certificate."""
    assert validity_problem(NOW + begins, NOW + ends, NOW) == expected


def test_let_s_encrypt_needs_no_more_than_names() -> None:
    """The TLS challenge needs no other port. An elliptic curve key is quick."""
    acme = Acme(domains=("a.example.org", "b.example.org"), storage="/state/letsencrypt.json")

    assert acme.resolver_tree("redirect") == {
        "letsencrypt": {"acme": {"keyType": "EC256", "storage": "/state/letsencrypt.json", "tlsChallenge": {}}}
    }
    assert acme.entry_point_tree() == {
        "certResolver": "letsencrypt",
        "domains": [{"main": "a.example.org"}, {"main": "b.example.org"}],
    }


def test_another_server_and_the_other_challenge() -> None:
    """With all that can be set."""
    acme = Acme(
        domains=("a.example.org",),
        storage="/state/acme.json",
        email="admin@example.org",
        server="https://acme.example.org/dir",
        ca_file="/ca.pem",
        http_challenge=True,
    )

    assert acme.resolver_tree("redirect")["letsencrypt"]["acme"] == {
        "keyType": "EC256",
        "storage": "/state/acme.json",
        "email": "admin@example.org",
        "caServer": "https://acme.example.org/dir",
        "caCertificates": ["/ca.pem"],
        "httpChallenge": {"entryPoint": "redirect"},
    }


def test_each_server_has_a_file_of_its_own() -> None:
    """An account is known to one server only, and certificates of the staging server are never served in earnest."""
    given = [acme_server("", staging=False), acme_server("", staging=True), acme_server("https://a/d", staging=True)]

    assert given[:2] == [
        ("", "letsencrypt.json"),
        ("https://acme-staging-v02.api.letsencrypt.org/directory", "letsencrypt-staging.json"),
    ]
    assert given[2][0] == "https://a/d"
    assert len({file for _, file in [*given, acme_server("https://b/d", staging=False)]}) == 4


@pytest.mark.parametrize("url", ["http://acme.example.org/dir", "acme.example.org", "https://", "https:///dir"])
def test_a_server_without_https_is_refused(url: str) -> None:
    """Anybody could give out certificates then."""
    with pytest.raises(ConfigurationError, match=r"letsencrypt_server: .* is not a URL that begins with https://"):
        acme_server(url, staging=False)


def test_names_are_checked() -> None:
    """A wildcard needs a challenge that has to be set up at the name server."""
    good = ("hub.example.org", "hub", "xn--bcher-kva.example", "A-1.example.org")

    assert check_domains(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "*.example.org",
        "192.0.2.1",
        "2001:db8::1",
        "b\u00fccher.example",
        "a..b",
        "-a.b",
        "a.b.",
        "a b",
        "https://a.b",
        "a" * 64 + ".b",
    ],
)
def test_what_no_certificate_can_be_had_for_is_refused(bad: str) -> None:
    """The error shows it, escaped."""
    with pytest.raises(ConfigurationError, match=r"letsencrypt_domains: .* is not a name") as failure:
        check_domains(("hub.example.org", bad))

    assert ascii(bad) in str(failure.value)
