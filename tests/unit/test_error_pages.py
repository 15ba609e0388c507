"""traefik.error_pages: the objects. tests/live/test_error_pages.py shows what they do in a real Traefik."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from traefik_toml_proxy.traefik.dynamic import Certificate, DynamicSettings, ErrorPages
from traefik_toml_proxy.traefik.error_pages import answer_by_proxy, error_page_objects
from traefik_toml_proxy.traefik.transports import Transport, Transports

SETTINGS = DynamicSettings(entry_point="http", secret_path="/secret")


def objects(
    hub: str = "http://127.0.0.1:8081/jh/hub/", loop: str = "http://127.0.0.1:8000", *, log_failures: bool = False
) -> dict[str, Any]:
    """Return the objects of error pages."""
    return error_page_objects(dataclasses.replace(SETTINGS, log_failures=log_failures), ErrorPages(hub, loop))


def test_every_name_that_is_used_is_defined() -> None:
    """Traefik disables a router that uses a middleware or service that does not exist."""
    made = objects(loop="https://127.0.0.1:8000")
    used = {name for router in made["routers"].values() for name in router["middlewares"]}
    services = {router["service"] for router in made["routers"].values()}
    services |= {
        middleware["errors"]["service"] for middleware in made["middlewares"].values() if "errors" in middleware
    }

    assert made["middlewares"].keys() == used | {"jupyterhub-errors", "jupyterhub-nowhere"}
    assert services == made["services"].keys() | {"noop@internal"}


def test_all_routers_are_below_the_secret_path() -> None:
    """Nobody else knows it."""
    for router in objects()["routers"].values():
        assert router["parentRefs"] == ["jupyterhub-secret"]
        assert '("/secret/' in router["rule"]


@pytest.mark.parametrize(
    ("log_failures", "expected"),
    [(False, "/error/{status}/"), (True, "/error/{status}/{originalStatus}/{url}")],
)
def test_the_address_of_the_failed_request_is_only_there_to_be_logged(log_failures: bool, expected: str) -> None:
    """It may have a token in its query, and goes no further than this path. Traefik puts in the values."""
    middlewares = objects(log_failures=log_failures)["middlewares"]
    queries = {name: made["errors"]["query"] for name, made in middlewares.items() if "errors" in made}

    assert queries == {
        "jupyterhub-errors": expected,
        "jupyterhub-nowhere": "/error/{status}/",
        "jupyterhub-errors-down": "/down",
    }


@pytest.mark.parametrize("end", ["", "/"])
def test_all_questions_are_below_the_secret_path_whatever_the_host_of_the_request(end: str) -> None:
    """Traefik puts that before the path of the question, but after the path of the service."""
    made = objects(loop=f"http://127.0.0.1:8000{end}")

    assert made["services"]["jupyterhub-errors-loop"]["loadBalancer"] == {
        "servers": [{"url": "http://127.0.0.1:8000/secret", "preservePath": True}]
    }


@pytest.mark.parametrize(("hub", "expected"), [("https://hub:8081/hub/", True), ("http://hub:8081/hub/", False)])
def test_the_hub_is_asked_with_the_internal_certificates(hub: str, expected: bool) -> None:
    """As for every other request to the Hub; the loop through our own entry point has nothing to do with them."""
    some = dataclasses.replace(SETTINGS, transports=lambda: Transports(internal=Transport("their CA")))
    services = error_page_objects(some, ErrorPages(hub, "https://127.0.0.1:8000"))["services"]

    page = services["jupyterhub-errors-page"]["loadBalancer"]
    assert page.get("serversTransport") == ("jupyterhub-internal" if expected else None)
    assert services["jupyterhub-errors-loop"]["loadBalancer"]["serversTransport"] == "jupyterhub-errors-loop"


@pytest.mark.parametrize(
    ("hub", "replacement"),
    [
        ("http://127.0.0.1:8081/hub/", "/hub/error/$1"),
        ("http://127.0.0.1:8081/@/space%20word/hub/", "/@/space%20word/hub/error/$1"),
        ("http://127.0.0.1:8081/$1/hub/", "/$$1/hub/error/$1"),
    ],
)
def test_the_page_is_the_hub_s(hub: str, replacement: str) -> None:
    """Its base_url is in the path; a dollar sign there is not one of the regular expression."""
    made = objects(hub)

    assert made["middlewares"]["jupyterhub-errors-page-path"] == {
        "replacePathRegex": {"regex": "^/secret/error/([0-9]+)/.*", "replacement": replacement}
    }
    assert made["services"]["jupyterhub-errors-page"] == {
        "loadBalancer": {"servers": [{"url": "http://127.0.0.1:8081"}]}
    }


def test_an_entry_point_with_tls_is_reached_whatever_its_certificate_is_for() -> None:
    """Without TLS, there is no transport."""
    made = objects(loop="https://127.0.0.1:8000")

    assert made["serversTransports"] == {"jupyterhub-errors-loop": {"insecureSkipVerify": True}}
    assert made["services"]["jupyterhub-errors-loop"]["loadBalancer"] == {
        "servers": [{"url": "https://127.0.0.1:8000/secret", "preservePath": True}],
        "serversTransport": "jupyterhub-errors-loop",
    }
    assert objects()["serversTransports"] == {}


def test_an_answer_by_the_proxy_itself() -> None:
    """A list of allowed addresses that nobody has."""
    assert answer_by_proxy(503) == {"ipAllowList": {"sourceRange": ["0.0.0.0/32"], "rejectStatusCode": 503}}


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (None, {"insecureSkipVerify": True}),
        (Certificate("/c.pem", "/k.pem"), {"insecureSkipVerify": True}),
        (
            Certificate("/c.pem", "/k.pem", "hub.example.org"),
            {"insecureSkipVerify": True, "serverName": "hub.example.org"},
        ),
    ],
)
def test_traefik_asks_itself_for_a_name_in_the_certificate(
    certificate: Certificate | None, expected: dict[str, Any]
) -> None:
    """With sniStrict, it would not answer otherwise."""
    settings = dataclasses.replace(SETTINGS, default_certificate=lambda: certificate)
    made = error_page_objects(settings, ErrorPages("http://127.0.0.1:8081/hub/", "https://127.0.0.1:8000"))

    assert made["serversTransports"] == {"jupyterhub-errors-loop": expected}
