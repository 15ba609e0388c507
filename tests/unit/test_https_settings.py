"""proxies.https: which settings turn https on, and which contradict each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.proxies.https import HttpsSettings
from traefik_toml_proxy.runtime.certificate import PairFiles
from traefik_toml_proxy.traefik.tls import Acme, Redirect


def settings(**changes: Any) -> HttpsSettings:
    """Return the settings of a Hub without https, with these changes."""
    usual: dict[str, Any] = {
        "bind_url": "http://127.0.0.1:8443/base/",
        "hub_public_url": "",
        "should_start": True,
        "state_dir": Path("/state"),
        "ssl_cert": None,
        "ssl_key": None,
        "passphrase": "",
        "redirect_http": "",
        "letsencrypt_domains": (),
        "letsencrypt_email": "",
        "letsencrypt_staging": False,
        "letsencrypt_challenge": "tls",
        "letsencrypt_server": "",
        "letsencrypt_ca": None,
    }
    return HttpsSettings(**(usual | changes))


NAMES = {"letsencrypt_domains": ("hub.example.org",)}
PAIR = {"ssl_cert": Path("/c.crt"), "ssl_key": Path("/c.key")}


@pytest.mark.parametrize(
    ("changes", "enabled", "url"),
    [
        ({}, False, "http://127.0.0.1:8443/base/"),
        (PAIR, True, "https://127.0.0.1:8443/base/"),
        # JupyterHub has made the scheme http, and has left out the port if the admin did.
        (NAMES, True, "https://127.0.0.1:8443/base/"),
        (NAMES | {"bind_url": "http://hub.example.org"}, True, "https://hub.example.org"),
        (NAMES | {"should_start": False}, False, "http://127.0.0.1:8443/base/"),
        (NAMES | {"bind_url": "unix+http://%2Frun"}, True, "unix+http://%2Frun"),
        (NAMES | {"bind_url": "8000"}, True, "8000"),
    ],
)
def test_https_is_on_with_a_certificate_or_with_names(changes: dict[str, Any], enabled: bool, url: str) -> None:
    """The scheme in bind_url does not decide it."""
    assert (settings(**changes).enabled, settings(**changes).url) == (enabled, url)


def test_a_key_in_the_file_of_the_certificate_needs_no_name() -> None:
    """Without a certificate there are no files."""
    assert settings().files is None
    assert settings(ssl_cert=Path("/c.pem")).files == PairFiles(Path("/c.pem"), Path("/c.pem"))
    assert settings(**PAIR, passphrase="x").files == PairFiles(Path("/c.crt"), Path("/c.key"), "x")
    assert "secret" not in repr(settings(passphrase="secret"))


def test_plain_http_leads_to_the_port_that_users_know() -> None:
    """It is refused if there is no https."""
    assert settings().redirect() is None
    assert settings(**PAIR, redirect_http="8080").redirect() == Redirect("127.0.0.1:8080", 8443)
    known = settings(**NAMES, redirect_http=":80", hub_public_url="https://hub.example.org/base/")
    assert known.redirect() == Redirect(":80", 443)
    with pytest.raises(ConfigurationError, match="redirect_http is set, but there is no https"):
        settings(redirect_http="80").redirect()


def test_names_get_certificates() -> None:
    """With the settings that there are."""
    assert settings().acme() is None
    assert settings(**NAMES, letsencrypt_email="a@example.org").acme() == Acme(
        ("hub.example.org",), "/state/letsencrypt.json", "a@example.org"
    )
    other = settings(
        **NAMES,
        letsencrypt_challenge="http",
        redirect_http="80",
        letsencrypt_server="https://acme.example.org/dir",
        letsencrypt_ca=Path("/ca.pem"),
    ).acme()
    assert other is not None
    assert (other.server, other.ca_file, other.http_challenge) == ("https://acme.example.org/dir", "/ca.pem", True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (NAMES | PAIR, "Both JupyterHub.ssl_cert and letsencrypt_domains are set"),
        (NAMES | {"letsencrypt_challenge": "http"}, "needs an entry point for plain http: set redirect_http"),
        ({"letsencrypt_domains": ("*.example.org",)}, "letsencrypt_domains"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], reason: str) -> None:
    """The error says what to do."""
    with pytest.raises(ConfigurationError, match=reason):
        settings(**changes).acme()
