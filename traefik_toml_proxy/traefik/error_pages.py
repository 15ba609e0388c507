"""Makes the objects in Traefik's dynamic configuration that show the Hub's error pages. Pure.

Traefik's ``errors`` middleware asks a service for the page (pkg/middlewares/customerrors/custom_errors.go). Here, that is
Traefik's own public entry point, at a path that only the proxy knows. Routers there can do what the middleware cannot: show
the Hub's page only to those who have asked for a page, and keep secrets from it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from .dynamic import NO_SERVICE, Certificate, DynamicSettings, ErrorPages, Objects
from .failures import error_path as error_path_of
from .names import Names
from .rules import go_string

# What Traefik answers for a server that it cannot reach: 504 if that took too long, 502 for everything else that is neither
# a broken TLS connection nor a broken answer (pkg/proxy/httputil/proxy.go, ComputeStatusCode).
_NOT_REACHED = ("502", "504")
# configurable-http-proxy answers this for a server that it cannot reach (lib/configproxy.js, handleProxyError).
_UNAVAILABLE = 503
# What the service that does nothing answers, and what a client gets instead if no route matches.
_NO_ROUTE = ("418",)
_NOT_FOUND = 404

# Not for the Hub: what a user logs in with, an address that may have a token in it, and what would make the Hub answer with
# less than the page.
_REQUEST_HEADERS_REMOVED = (
    *("Authorization", "Cookie", "Origin", "Referer", "X-Xsrftoken"),
    *("Content-Type", "Expect"),
    *("If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Range"),
    # Traefik adds these: its own address, and the secret path (pkg/middlewares/replacepathregex/replace_path_regex.go).
    *("X-Real-Ip", "X-Replaced-Path"),
)
# Not for the user: the Hub's cookie would replace the one of a user who is logged in.
_RESPONSE_HEADERS_REMOVED = ("Etag", "Location", "Set-Cookie")

# Below the secret path.
_ERROR_PATH = "/error/"
_DOWN_PATH = "/down"

# How soon a client may ask again, and a browser does while the Hub is down, in seconds.
_RETRY_SECONDS = 5

# No client has this address, so everyone is rejected.
_NOBODY = "0.0.0.0/32"


def answer_by_proxy(status: int) -> dict[str, Any]:
    """Return a middleware that answers with ``status`` and a few words (pkg/middlewares/ipallowlist)."""
    return {"ipAllowList": {"sourceRange": [_NOBODY], "rejectStatusCode": status}}


class _ErrorNames:
    """The names of the objects of error pages."""

    def __init__(self, names: Names) -> None:
        self.secret = names.secret
        self.errors = names.errors
        self.nowhere = names.nowhere
        self.page = f"{names.errors}-page"
        self.page_path = f"{names.errors}-page-path"
        self.page_headers = f"{names.errors}-page-headers"
        self.down = f"{names.errors}-down"
        self.plain = f"{names.errors}-plain"
        self.plain_headers = f"{names.errors}-plain-headers"
        self.loop = f"{names.errors}-loop"


def error_page_objects(settings: DynamicSettings, pages: ErrorPages) -> Objects:
    """Return the routers, services and middlewares of the error pages.

    The middleware ``names.errors`` replaces the answers of servers that cannot be reached. ``names.nowhere`` replaces those
    of the service that does nothing with the Hub's page for 404.

    Args:
        settings: What all routes have in common.
        pages: Where the pages come from.
    """
    names = _ErrorNames(settings.names)
    below_secret = f"{_ERROR_PATH}{{status}}/"
    logged = below_secret + ("{originalStatus}/{url}" if settings.log_failures else "")
    error_path, down_path = error_path_of(settings.secret_path), f"{settings.secret_path}{_DOWN_PATH}"
    return {
        "routers": _routers(names, error_path, down_path),
        "middlewares": {
            names.errors: _replaced(_NOT_REACHED, _UNAVAILABLE, names.loop, logged),
            names.nowhere: _replaced(_NO_ROUTE, _NOT_FOUND, names.loop, below_secret),
            **_middlewares(names, error_path, urlsplit(pages.hub_url).path),
        },
        "services": {
            names.page: {"loadBalancer": _to_hub(settings, pages)},
            names.loop: {"loadBalancer": _to_itself(names, pages.loop_url, settings.secret_path)},
        },
        "serversTransports": _transports(names, pages.loop_url, settings.default_certificate()),
    }


def _routers(names: _ErrorNames, error_path: str, down_path: str) -> dict[str, Any]:
    # Neither programs nor websockets have a use for a page, and there can be many of them.
    wants_page = 'HeaderRegexp("Accept", "text/html") && !HeaderRegexp("Upgrade", ".")'
    unavailable, not_found = (
        f"PathPrefix({go_string(f'{error_path}{status}/')})" for status in (_UNAVAILABLE, _NOT_FOUND)
    )
    # Few routers, as each takes time whenever a route changes. For 404, Traefik has a few words of its own.
    return {
        names.page: {
            # Only these: another path would reach the Hub as it is, with the secret path.
            "rule": f"({unavailable} || {not_found}) && {wants_page}",
            "priority": 2,
            "parentRefs": [names.secret],
            "middlewares": [names.page_path, names.page_headers, names.down],
            "service": names.page,
        },
        names.plain: {
            "rule": f"{unavailable} || Path({go_string(down_path)})",
            "priority": 1,
            "parentRefs": [names.secret],
            "middlewares": [names.plain_headers, names.plain],
            "service": NO_SERVICE,
        },
    }


def _middlewares(names: _ErrorNames, error_path: str, hub_path: str) -> dict[str, Any]:
    return {
        # The URL of the failed request is left out: it may have a token in its query, which the Hub would log, and the Hub
        # does not use it (jupyterhub/handlers/pages.py, ProxyErrorHandler).
        names.page_path: {
            "replacePathRegex": {"regex": f"^{error_path}([0-9]+)/.*", "replacement": f"{_literal(hub_path)}error/$1"}
        },
        names.page_headers: {
            "headers": {
                "customRequestHeaders": dict.fromkeys(_REQUEST_HEADERS_REMOVED, ""),
                "customResponseHeaders": dict.fromkeys(_RESPONSE_HEADERS_REMOVED, ""),
            }
        },
        names.down: {"errors": {"status": ["500-599"], "service": names.loop, "query": _DOWN_PATH}},
        names.plain_headers: {
            "headers": {"customResponseHeaders": dict.fromkeys(("Refresh", "Retry-After"), str(_RETRY_SECONDS))}
        },
        names.plain: answer_by_proxy(_UNAVAILABLE),
    }


def _to_hub(settings: DynamicSettings, pages: ErrorPages) -> dict[str, Any]:
    hub = urlsplit(pages.hub_url)
    load_balancer: dict[str, Any] = {"servers": [{"url": f"{hub.scheme}://{hub.netloc}"}]}
    transport = settings.transports().name_inside(pages.hub_url, settings.names)
    if transport:
        load_balancer["serversTransport"] = transport
    return load_balancer


def _to_itself(names: _ErrorNames, loop_url: str, secret_path: str) -> dict[str, Any]:
    # The secret path is here and not in the middlewares: Traefik puts the host of a request before the path of a middleware,
    # and reads both as one URL. Over HTTP/2 a host can be any text, also a path, and the secret path would go anywhere.
    url = loop_url.removesuffix("/") + secret_path
    load_balancer: dict[str, Any] = {"servers": [{"url": url, "preservePath": True}]}
    if _is_https(loop_url):
        load_balancer["serversTransport"] = names.loop
    return load_balancer


def _transports(names: _ErrorNames, loop_url: str, certificate: Certificate | None) -> dict[str, Any]:
    """Return the transport from Traefik to its own entry point, whose certificate is for its public name."""
    if not _is_https(loop_url):
        return {}
    transport: dict[str, Any] = {"insecureSkipVerify": True}
    if certificate is not None and certificate.server_name is not None:
        # With sniStrict, Traefik only answers those who ask for a name.
        transport["serverName"] = certificate.server_name
    return {names.loop: transport}


def _is_https(url: str) -> bool:
    return url.startswith("https:")


def _literal(text: str) -> str:
    """Return ``text`` as a replacement that Go takes literally (https://pkg.go.dev/regexp#Regexp.Expand)."""
    return text.replace("$", "$$")


def _replaced(statuses: tuple[str, ...], status: int, service: str, query: str) -> dict[str, Any]:
    return {
        "errors": {
            "status": list(statuses),
            "statusRewrites": dict.fromkeys(statuses, status),
            "service": service,
            "query": query,
        }
    }
