"""Tells messages over a websocket from pings and pongs, which browsers send by themselves (RFC 6455 section 5.2). Pure."""

from __future__ import annotations

# Ping and pong; a close frame is of the user, who closes a page.
_AUTOMATIC = (0x9, 0xA)


class FrameWatcher:
    """Follows what comes over a websocket from one side. It keeps no more than the beginning of a frame."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        # How many bytes of the current frame are to come, and what has been received of the head of the next.
        self._left = 0
        self._head = b""

    def has_message(self, data: bytes) -> bool:
        """Return whether a frame has begun in ``data`` that is neither a ping nor a pong."""
        found = False
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            self._head += data[at : at + 1]
            at += 1
            left = _after_head(self._head)
            if left is not None:
                found = found or self._head[0] & 0x0F not in _AUTOMATIC
                self._left, self._head = left, b""
        return found


def _after_head(head: bytes) -> int | None:
    """Return how many bytes come after this head, the mask included; None if it is not complete."""
    if len(head) < 2:
        return None
    mask = 4 if head[1] & 0x80 else 0
    length = head[1] & 0x7F
    more = {126: 2, 127: 8}.get(length, 0)
    if len(head) < 2 + more:
        return None
    return mask + (int.from_bytes(head[2:], "big") if more else length)
