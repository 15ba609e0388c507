"""Messages between the Hub and its proxy in a process of its own: to bytes, and from bytes. Pure.

A message is a JSON object, after its length in four bytes. It is no pickle: what another process sends must not run here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import InvalidRoute
from ..routes import Route

_LENGTH = struct.Struct("!I")
# The longest message, in bytes. What is long is sent in pieces, so that neither side reads or writes one for long.
LONGEST = 16 * 2**20
# The most characters of a route. Each may take twelve bytes as JSON.
_LONGEST_ROUTE = 2**20
# How many routes, or how many characters of them, are in a piece.
_ROUTES_IN_A_PIECE, _CHARACTERS_IN_A_PIECE = 500, 2**18


class BrokenMessage(ValueError):
    """What has come, or is to be sent, is no message."""


def encoded(message: Mapping[str, Any]) -> bytes:
    """Return a message as bytes.

    Raises:
        BrokenMessage: If it is too long.
    """
    text = json.dumps(message, separators=(",", ":")).encode()
    if len(text) > LONGEST:
        raise BrokenMessage(f"a message of {len(text)} bytes is too long")
    return _LENGTH.pack(len(text)) + text


class MessageReader:
    """Puts messages together from what comes, in whatever pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Return the messages that are whole now.

        Raises:
            BrokenMessage: If what has come is no message; nothing more can be read then.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > LONGEST:
                raise BrokenMessage(f"a message of {length} bytes is too long")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            text = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield _decoded(text)


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenMessage("a message is not JSON") from error
    if not isinstance(message, dict):
        raise BrokenMessage("a message is not an object")
    return message


def check_length(route: Route) -> None:
    """Check that a route fits in a message.

    Raises:
        InvalidRoute: If it does not.
    """
    length = len(route.routespec) + len(route.target) + len(route.data_json) + len(route.place)
    if length > _LONGEST_ROUTE:
        raise InvalidRoute(route.routespec, f"it has {length} characters with its target and data, which is too long")


def pieces_of(routes: Iterable[Route]) -> Iterator[list[list[str]]]:
    """Return routes as JSON can have them, some at a time."""
    piece: list[list[str]] = []
    characters = 0
    for route in routes:
        piece.append([route.routespec, route.target, route.data_json, route.place])
        characters += sum(map(len, piece[-1]))
        if len(piece) == _ROUTES_IN_A_PIECE or characters >= _CHARACTERS_IN_A_PIECE:
            yield piece
            piece, characters = [], 0
    if piece:
        yield piece


def routes_in(piece: object) -> list[Route]:
    """Return the routes of a piece.

    Raises:
        BrokenMessage: If it is none.
    """
    if not isinstance(piece, list):
        raise BrokenMessage("routes are not a list")
    routes = []
    for row in piece:
        match row:
            case [str(routespec), str(target), str(data_json), str(place)]:
                # One string object if both are equal, as in Route.checked.
                routes.append(Route(routespec, target, data_json, routespec if place == routespec else place))
            case _:
                raise BrokenMessage("a route is not four texts")
    return routes
