"""Messages between the Hub and its proxy: whole, in whatever pieces they come, and nothing else is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from traefik_toml_proxy.errors import InvalidRoute
from traefik_toml_proxy.inprocess import messages
from traefik_toml_proxy.inprocess.messages import (
    BrokenMessage,
    MessageReader,
    check_length,
    encoded,
    pieces_of,
    routes_in,
)
from traefik_toml_proxy.routes import Route

MESSAGES: list[dict[str, Any]] = [{"a": 1}, {}, {"text": "ä\x00\n" * 50, "list": [1, None, {"b": []}]}]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_messages_come_in_any_pieces(size: int) -> None:
    text = b"".join(map(encoded, MESSAGES))
    reader = MessageReader()
    found = [message for at in range(0, len(text), size) for message in reader.feed(text[at : at + size])]

    assert found == MESSAGES


def test_half_a_message_is_none() -> None:
    reader = MessageReader()

    assert list(reader.feed(encoded({"a": 1})[:-1])) == []
    assert list(reader.feed(b"}")) == [{"a": 1}]


def framed(text: bytes) -> bytes:
    """Return a message with this text."""
    return len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize(
    "data",
    [
        framed(b"{"),
        framed(b"[1]"),
        framed(b'"a"'),
        framed(b"\xff"),
        framed(b""),
        framed(b"[" * 100_000),
        b"GET / HTTP/1.1\r\n",
        b"\xff\xff\xff\xff",
        (messages.LONGEST + 1).to_bytes(4, "big"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    """Also before it has come whole, or it would be kept in memory."""
    with pytest.raises(BrokenMessage):
        list(MessageReader().feed(data))


def test_a_message_that_is_too_long_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LONGEST", 20)
    assert list(MessageReader().feed(encoded({"a": "x" * 12}))) == [{"a": "x" * 12}]
    with pytest.raises(BrokenMessage, match="of 21 bytes"):
        encoded({"a": "x" * 13})


def test_routes_are_the_same_on_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces of a certain number, and of a certain length."""
    routes = [Route.checked(f"/user/é{at}@/", "http://127.0.0.1:1", {"user": "é" * at}) for at in range(20)]
    for name, most in (("_ROUTES_IN_A_PIECE", 7), ("_CHARACTERS_IN_A_PIECE", 200)):
        monkeypatch.setattr(messages, name, most)
        pieces = [json.loads(json.dumps(piece)) for piece in pieces_of(routes)]
        assert len(pieces) > 2
        assert [route for piece in pieces for route in routes_in(piece)] == routes
    assert list(pieces_of([])) == []
    assert len(list(pieces_of(routes[:7]))) == 2
    (one,) = routes_in(json.loads('[["/a/", "http://h", "{}", "/a/"]]'))
    assert one.place is one.routespec


def test_a_route_fits_in_a_message() -> None:
    """Whatever is in it: a character may take twelve bytes."""
    route = Route("/a/", "http://h", '"' + "\U0001f600" * (2**20 - 16) + '"', "/a/")
    check_length(route)
    assert encoded({"routes": [piece for pieces in pieces_of([route]) for piece in pieces]})
    with pytest.raises(InvalidRoute, match="'/a/' is refused: it has 1048577 characters"):
        check_length(replace(route, data_json=route.data_json + " "))


@pytest.mark.parametrize("piece", [None, {}, "a", [1], [["/a/", "http://h", "{}"]], [["/a/", "http://h", "{}", 1]]])
def test_what_are_no_routes_is_refused(piece: object) -> None:
    with pytest.raises(BrokenMessage):
        routes_in(piece)
