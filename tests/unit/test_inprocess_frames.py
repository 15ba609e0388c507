"""Messages over a websocket, told from pings and pongs, however they are received (RFC 6455 section 5.2)."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.inprocess.frames import FrameWatcher

MASK = b"\x01\x02\x03\x04"
PONG = b"\x8a\x80" + MASK
PING = b"\x89\x85" + MASK + b"hello"
TEXT = b"\x81\x85" + MASK + b"\x8a\x80xyz"
LONG = b"\x82\xfe\x01\x00" + MASK + b"\x8a" * 256
HUGE = b"\x82\xff" + (70_000).to_bytes(8, "big") + MASK + b"\x81" * 70_000
UNMASKED = b"\x81\x05hello"
EMPTY = b"\x81\x80" + MASK
CLOSE = b"\x88\x82" + MASK + b"ab"
LATER = b"\x80\x85" + MASK + b"hello"


@pytest.mark.parametrize("frame", [TEXT, LONG, HUGE, UNMASKED, EMPTY, CLOSE, LATER])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
def test_a_message_is_noticed(frame: bytes, size: int) -> None:
    """Once, where it begins, whatever it is made of and whatever comes around it."""
    text = PONG + PING + frame + PONG + PONG
    watcher = FrameWatcher()
    noticed = [watcher.has_message(text[at : at + size]) for at in range(0, len(text), size)]

    assert noticed.count(True) == 1
    assert [watcher.has_message(PONG), watcher.has_message(frame), watcher.has_message(PING)] == [False, True, False]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_browser_that_only_answers_pings_is_not_noticed(size: int) -> None:
    """It does so by itself."""
    text = (PONG + PING) * 20
    watcher = FrameWatcher()

    assert not any(watcher.has_message(text[at : at + size]) for at in range(0, len(text), size))
