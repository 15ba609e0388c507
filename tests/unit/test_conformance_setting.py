"""conformance.setting: placeholders in traits and commands."""

from __future__ import annotations

from typing import Any

import pytest

from traefik_toml_proxy.conformance import Options, Setting

SETTING = Setting(Options(), "http://127.0.0.1:8000/", "/a/folder", "http://127.0.0.1:1", ports=(8001, 8002))


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("{port} {port1} {port2} {port3} {folder} {scheme}", "8000 8001 8002 {port3} /a/folder http"),
        ({"key {port}": {"a": "{port1}", "b": 5, "c": None}}, {"key {port}": {"a": "8001", "b": 5, "c": None}}),
        (("--port={port}", ["{folder}/x", True]), ["--port=8000", ["/a/folder/x", True]]),
    ],
)
def test_placeholders_are_replaced_in_all_strings(value: Any, filled: Any) -> None:
    """What is no string, and what is no placeholder, stays as it is."""
    assert SETTING.fill(value) == filled


def test_an_internal_api_is_https_with_internal_ssl() -> None:
    setting = Setting(Options(internal_ssl=True), "http://127.0.0.1:8000/", "/a/folder", "http://127.0.0.1:1")

    assert setting.fill("{scheme}") == "https"
