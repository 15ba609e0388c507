"""What the proxy answers itself: errors in plain words, pages for browsers, the health of the proxy, redirects. Pure."""

from __future__ import annotations

import http
from urllib.parse import quote_from_bytes

from .heads import Request

# Where load balancers ask whether a proxy is well (configurable-http-proxy lib/configproxy.js).
HEALTH_PATH = b"/_chp_healthz"
_HEALTHY = b'{"status": "OK"}'

# What a browser shows while nobody else can say it. It comes back by itself, not all browsers at the same time.
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{status} {phrase}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="font-family: sans-serif; max-width: 40em; margin: 4em auto; padding: 0 1em">
<h1>{title}</h1><p>{words}</p></body></html>
"""
_WORDS = {
    404: ("There is nothing here", "The address may be misspelled, or the server that was here has been stopped."),
    503: (
        "The server does not answer",
        "JupyterHub is restarting, or a server has stopped. Your files are safe. This page tries again in a few seconds.",
    ),
}


def plain(status: int, words: str, *, close: bool, head_only: bool = False) -> bytes:
    """Return a whole answer for programs.

    Args:
        status: The status code.
        words: What is wrong; one line, without text from others.
        close: Whether the connection is closed after it.
        head_only: Whether the request was HEAD.
    """
    return whole(status, "text/plain; charset=utf-8", f"{words}\n".encode(), close=close, head_only=head_only)


def whole(
    status: int,
    kind: str,
    body: bytes,
    *,
    close: bool,
    head_only: bool = False,
    more: str = "",
) -> bytes:
    """Return a whole answer.

    Args:
        status: The status code.
        kind: The Content-Type.
        body: The body.
        close: Whether the connection is closed after it.
        head_only: Whether the request was HEAD.
        more: More lines of the head, each with its end.
    """
    end = "Connection: close\r\n" if close else ""
    head = (
        f"HTTP/1.1 {status} {_phrase(status)}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{more}{end}\r\n"
    )
    return head.encode("latin-1") + (b"" if head_only else body)


def page(status: int, *, close: bool, again: int = 0) -> bytes:
    """Return a whole answer for a browser.

    Args:
        status: 404 or 503.
        close: Whether the connection is closed after it.
        again: After how many seconds the browser is to ask again; 0 for not at all.
    """
    title, words = _WORDS[status]
    text = _PAGE.format(status=status, phrase=_phrase(status), title=title, words=words)
    more = f"Refresh: {again}\r\nRetry-After: {again}\r\n" if again else ""
    return whole(status, "text/html; charset=utf-8", text.encode(), close=close, more=more)


def healthy(*, close: bool, head_only: bool) -> bytes:
    """Return the answer at :data:`HEALTH_PATH`."""
    return whole(200, "application/json", _HEALTHY, close=close, head_only=head_only)


def wants_page(request: Request) -> bool:
    """Whether a request is one of a browser for a page: others get a few plain words, and the Hub is not asked."""
    return request.method == b"GET" and not request.upgrade and b"text/html" in request.get(b"accept").lower()


def error_target(base: bytes, status: int, request: Request) -> bytes:
    """Return the path of the Hub's own page for an error (jupyterhub/handlers/pages.py, ProxyErrorHandler).

    Args:
        base: The path of the Hub, which ends in a slash.
        status: The status code.
        request: The request that failed; the page shows its path.
    """
    return b"%berror/%d?url=%b" % (base, status, quote_from_bytes(request.target, safe="").encode())


def redirect(request: Request, port: int, *, close: bool) -> bytes:
    """Return the answer that sends a browser from plain http to the same URL with https.

    Args:
        request: Its request; one without a host cannot be sent anywhere.
        port: The port for https.
        close: Whether the connection is closed after it.
    """
    host = request.host if request.host.endswith(b"]") or b":" not in request.host else request.host.rpartition(b":")[0]
    if not host or not request.target.startswith(b"/"):
        return plain(400, "There is no host to send you to.", close=close, head_only=request.method == b"HEAD")
    end = "" if port == 443 else f":{port}"
    # As CHP and Traefik do; 308 for what must not become GET (RFC 9110 section 15.4.9).
    status = 302 if request.method in (b"GET", b"HEAD") else 307
    # An iri beyond ASCII is escaped, since some clients do not take it raw.
    target = quote_from_bytes(request.target, safe="!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~")
    more = f"Location: https://{host.decode('latin-1')}{end}{target}\r\n"
    return whole(status, "text/plain; charset=utf-8", b"", close=close, more=more)


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
