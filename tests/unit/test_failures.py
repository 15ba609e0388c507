"""traefik.failures: which request a line of the access log is about."""

from __future__ import annotations

import json
from urllib.parse import quote_plus

import pytest

from traefik_toml_proxy.traefik.failures import (
    FailedRequest,
    error_path,
    failed_request,
    is_access_log,
    logs_failures,
)

PAGE = "/0123abcd/error/"


def line(url: str, *, page: str = PAGE, status: str = "502") -> str:
    """Return a line as Traefik writes it."""
    return json.dumps({"RequestPath": f"{page}503/{status}/{quote_plus(url)}", "level": "info", "msg": ""}).replace(
        '": "', '":"'
    )


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("http://hub.example/user/a/api?token=secret", "hub.example", "/user/a/api"),
        ("https://hub.example:8443/", "hub.example:8443", "/"),
        ("http://[::1]:80//a//b", "[::1]:80", "//a//b"),
        ("http://hub.example/user/a%20b/x%2Fy%3Fz+%23?a=?b", "hub.example", "/user/a%20b/x%2Fy%3Fz+%23"),
        ("http://hub.example/user/%C3%BC/it's;a@b/http://c", "hub.example", "/user/%C3%BC/it's;a@b/http://c"),
        ("http:///user", "", "/user"),
        ("http://hub.example", "hub.example", ""),
    ],
)
def test_the_request_that_failed_is_read_from_its_error_page(url: str, host: str, path: str) -> None:
    """The query, which may have secrets, is left out."""
    assert failed_request(line(url), PAGE) == FailedRequest(host, path, 502)


def test_the_end_of_a_line_may_be_missing() -> None:
    """A very long one is cut."""
    whole = line("http://hub.example/user/a/b?token=secret", status="504")
    cut = whole.index("%2Fb")

    assert failed_request(whole[:cut], PAGE) == FailedRequest("hub.example", "/user/a", 504)


@pytest.mark.parametrize(
    "other",
    [
        line("http://hub.example/", page="/another/error/"),
        line("http://hub.example/", status="x"),
        f'{{"RequestPath":"{PAGE}404/","level":"info"}}',
        '{"RequestPath":"/0123abcd/down","level":"info"}',
        '{"RequestPath":"/user/a?url=http://hub.example/","level":"info"}',
        '{"RequestPath":"',
    ],
)
def test_another_line_is_about_no_failure(other: str) -> None:
    """For example, one about an entry point of the admin's. It is from the access log all the same."""
    assert failed_request(other, PAGE) is None
    assert is_access_log(other)


@pytest.mark.parametrize("other", ["", "2026-11-22T22:40:36Z ERR message", '{"level":"error","message":"x"}'])
def test_other_output_of_traefik_is_not_from_the_access_log(other: str) -> None:
    """It is logged as it is, also where the admin has Traefik log in JSON."""
    assert not is_access_log(other)
    assert failed_request(other, PAGE) is None


def test_error_pages_are_at_a_secret_path() -> None:
    """Nobody can ask for one without knowing it."""
    assert error_path("/0123abcd") == PAGE


@pytest.mark.parametrize(("extra", "expected"), [({}, True), ({"log": {}}, True), ({"AccessLog": {}}, False)])
def test_an_access_log_of_the_admin_s_is_not_read(extra: dict[str, object], expected: bool) -> None:
    """It takes the place of ours; Traefik ignores case in the names of settings."""
    assert logs_failures(extra) == expected
