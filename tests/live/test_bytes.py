"""The request path and query reach the target byte for byte, with the few exceptions that are listed here."""

from __future__ import annotations

import string

import pytest
from support.backend import get
from support.fixtures import BackendMaker

from traefik_toml_proxy import TraefikTomlProxy

# Allowed raw in a path segment (RFC 3986 section 3.3, pchar) and in a query (section 3.4).
_PATH_CHARACTERS = string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@[]"
_QUERY_CHARACTERS = _PATH_CHARACTERS.replace(";", "") + '/?"<>\\^`{|}#'
# Escaping any of these is unnecessary (RFC 3986 section 2.3), and only these escapes are decoded.
_UNRESERVED = string.ascii_letters + string.digits + "-._~"
_ESCAPES = [f"%{code:02X}" for code in range(256) if chr(code) not in _UNRESERVED]

EXACT_PATHS = [
    "/",
    "//",
    "///",
    "//a",
    "/a//b",
    "/a//",
    "/a/./b",
    "/a/../b",
    "/..",
    "/.",
    "/a%2Fb",
    "/a%2F%2Fb",
    "/a/%2F/b",
    "/%25",
    "/%2525",
    "/a%252Fb",
    "/a%00b",
    "/a%20b",
    "/a+b",
    "/a%2Bb",
    "/a;b;c",
    "/a;b=1/c",
    "/a%3Bb",
    "/;",
    "/@/a%40b",
    "/it's/it%27s",
    "/a%5Cb",
    "/a%7Cb",
    "/a%5Eb",
    "/%C3%A9",
    "/%FF",
    "/%E2%80%AE",
    "/a%3Fb%23c",
    "/http://x//y",
    "/proxy/8888/http:%2F%2Fx/",
    "/?",
    "/a?",
    "/a?b?c",
    "/a?b/c//d/../e",
    "/a?b&c&&d=",
    "/a?b+c%20d",
    "/a?b=%26%3D%3B%3b%2f%2F%25",
    "/a?%",
    "/a?%zz",
    "/a?%41%7e",
    "/a?x=it's",
    '/a?x=|^{}`<>\\"',
    "/a?x=é",
    "/a?next=%2Fhub%2Fapi%2Foauth2%2Fauthorize%3Fclient_id%3Djupyterhub-user-a%2540b%26state%3D%257B%257D",
    "/" + "a" * 8000,
    "/" + "a/" * 4000,
    "/?" + "a" * 8000,
]

# What is sent, and what arrives. Except for the semicolon, the two are equivalent by RFC 3986.
CHANGED_PATHS = {
    # Unnecessary escapes are decoded (section 6.2.2.2)…
    "/%41%7e": "/A~",
    "/a%2Eb%2Db%5Fb": "/a.b-b_b",
    "/a/%2e%2e/b": "/a/../b",
    # …and the others become upper case (section 6.2.2.1); not in a query.
    "/a%2fb": "/a%2Fb",
    "/%c3%a9?%c3%a9": "/%C3%A9?%c3%a9",
    # Characters that a URL must not contain raw are escaped; not in a query.
    "/a|b": "/a%7Cb",
    "/^": "/%5E",
    "/{}": "/%7B%7D",
    '/"<>`': "/%22%3C%3E%60",
    "/a\\b": "/a%5Cb",
    "/é": "/%C3%A9",
    # In such a path, escapes of reserved characters are decoded as well, and some raw ones are escaped.
    "/|%2F": "/%7C/",
    "/|%3B%2C%40%2B%3D%26%24%3A": "/%7C;,@+=&$:",
    "/|!'()*[]": "/%7C%21%27%28%29%2A%5B%5D",
    "/|%25%23%3F%20": "/%7C%25%23%3F%20",
    "/é%2F": "/%C3%A9/",
    # A semicolon in a query is escaped, or Traefik would take it as a separator of parameters.
    "/?a=1;b=2": "/?a=1%3Bb=2",
    "/?;": "/?%3B",
    "/a;b?c;d;e": "/a;b?c%3Bd%3Be",
    # Of an absolute URL, a proxy uses the path (RFC 9112 section 3.2.2).
    "http://elsewhere.example/a//b?c": "/a//b?c",
}

# Invalid request targets: refused before any route is looked at.
REFUSED_PATHS = ["/%zz", "/%", "/a%2", "/%u1234", "/a b", "/a#b", "/a\x01b", "/a\x7fb", "/?\x01", "a"]


@pytest.fixture
async def everything(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> TraefikTomlProxy:
    """A proxy that routes every request to one backend."""
    backend = await make_backend("everything")
    await proxy.add_route("/", backend.url, {})
    return proxy


async def test_paths_and_queries_arrive_byte_for_byte(everything: TraefikTomlProxy) -> None:
    """The target sees what the client has sent, not a normalized form."""
    arrived = [(await get(everything.public_url, path)).seen.get("path") for path in EXACT_PATHS]

    # The backend reads the request line as Latin-1, so that every byte has a character.
    assert [path.encode().decode("latin-1") for path in EXACT_PATHS] == arrived


async def test_every_character_of_a_path_arrives_as_it_was_sent(everything: TraefikTomlProxy) -> None:
    """Every character that a path may contain raw, and every necessary escape, arrives unchanged."""
    paths = [f"/a{text}b" for text in [*_PATH_CHARACTERS, *_ESCAPES]]

    arrived = [(await get(everything.public_url, path)).seen.get("path") for path in paths]

    assert paths == arrived


async def test_every_character_of_a_query_arrives_as_it_was_sent(everything: TraefikTomlProxy) -> None:
    """Even unnecessary escapes, lower case in escapes, and characters that are not allowed arrive unchanged."""
    escapes = [f"%{code:02X}" for code in range(256)] + [f"%{code:02x}" for code in range(256)]
    paths = [f"/a?b={text}c" for text in [*_QUERY_CHARACTERS, *escapes]]

    arrived = [(await get(everything.public_url, path)).seen.get("path") for path in paths]

    assert paths == arrived


async def test_paths_and_queries_that_arrive_in_another_spelling(everything: TraefikTomlProxy) -> None:
    """These are all kinds of known differences; the documentation lists them."""
    arrived = {path: (await get(everything.public_url, path)).seen.get("path") for path in CHANGED_PATHS}

    assert arrived == CHANGED_PATHS


async def test_an_invalid_request_target_is_refused_with_400(everything: TraefikTomlProxy) -> None:
    """A broken escape, a space, a fragment or a control character never reaches a target."""
    answers = [(await get(everything.public_url, path)).status for path in REFUSED_PATHS]

    assert [400] * len(REFUSED_PATHS) == answers


async def test_paths_arrive_below_a_target_that_has_a_path(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """The target's path is put before the request's; neither is changed."""
    backend = await make_backend("below")
    await proxy.add_route("/a/", backend.url + "/it's/x%2Fy/%7e;@", {})

    arrived = [
        (await get(proxy.public_url, path)).seen.get("path") for path in ("/a", "/a/", "/a//b", "/a/%2F;x?y=%2f&z")
    ]

    before = "/it's/x%2Fy/%7e;@"
    assert [f"{before}/a", f"{before}/a/", f"{before}/a//b", f"{before}/a/%2F;x?y=%2f&z"] == arrived


async def test_every_method_reaches_the_target(everything: TraefikTomlProxy) -> None:
    """An unknown method is passed on as well."""
    methods = ["GET", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "MKCOL", "SOMETHING"]

    arrived = [(await get(everything.public_url, "/a", method=method)).seen.get("method") for method in methods]

    assert methods == arrived


async def test_the_host_header_reaches_the_target_as_it_was_sent(everything: TraefikTomlProxy) -> None:
    """Servers build their own URLs from the Host header, including the port and its case."""
    seen = (await get(everything.public_url, "/", host="Hub.Example.org:4433")).seen

    assert seen["headers"]["Host"] == "Hub.Example.org:4433"
