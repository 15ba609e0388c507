"""How long the proxy waits for clients, and how much it does for one of them before others get their turn. Pure."""

from __future__ import annotations

NEVER = float("inf")

# Seconds: for a whole head; for the next request to begin; for a body or an answer of which nothing moves. None is for a
# whole request.
HEAD_SECONDS = 60.0
IDLE_SECONDS = 180.0
STALLED_SECONDS = 600.0
# Seconds after an answer in which its end may still be on its way to the client, and the client is left alone.
USED_SECONDS = 10.0
# Seconds for an answer, or for more of it, to a client that sends nothing more: nobody can tell whether it has gone.
HALF_CLOSED_SECONDS = 60.0
# Seconds for a client that is to stop sending, in all, and without anything coming.
LINGER_SECONDS, LINGER_IDLE_SECONDS = 30.0, 5.0

# How many bytes of further requests are taken while one is answered.
MOST_WAITING = 65_536
# How many heads and pieces of bodies are read at once.
AT_ONCE = 40
# After so many bytes at once, the event loop may have more of the same client: libuv reads up to 32 times in a row.
MUCH_AT_ONCE = 131_072
