"""Secrets are taken out of texts that are shown."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.masking import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:hush@host/x", "http://(hidden)@host/x"),
        ("http://host/user/me@example.org/", "http://host/user/me@example.org/"),
        ('a = "-----BEGIN EC PRIVATE KEY-----\\nhu\\nsh\\n-----END EC PRIVATE KEY-----"', None),
        ("-----BEGIN PRIVATE KEY-----\nhu\nsh\n-----END PRIVATE KEY-----", None),
        ("-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nMII"),
        ('users = ["ada:hush"]\nrealm = "Hub"', 'users = "(hidden)"\nrealm = "Hub"'),
        ('Authorization = "Basic hush"', 'Authorization = "(hidden)"'),
        ('Cookie = ""', 'Cookie = ""'),
        ('X-Api-Key = "hush"', 'X-Api-Key = "(hidden)"'),
        ('"x.secretKey" = "hush"', '"x.secretKey" = "(hidden)"'),
        ('apiKeys = ["hush", "hush"]', 'apiKeys = "(hidden)"'),
        ('address = "http://host/x?a=b&token=hush"', 'address = "http://host/x?a=b&token=(hidden)"'),
        ('clientSecret = "hush"', 'clientSecret = "(hidden)"'),
        ("user-token-abc = 'a route'", "user-token-abc = 'a route'"),
        ("Host = 'x'", "Host = 'x'"),
    ],
)
def test_only_secrets_are_hidden(text: str, shown: str | None) -> None:
    """None stands for a text of which the beginning and the end stay."""
    masked = without_secrets(text)

    assert "hush" not in masked
    assert "hu\\nsh" not in masked
    assert "hu\nsh" not in masked
    assert masked == (shown if shown is not None else masked)
    assert "(hidden)" in masked or masked == text
