"""Names: looks up the host names of servers, so that one that takes long holds up nobody else. Does I/O, in threads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

# How many names are looked up at a time; further ones wait.
_MOST_AT_ONCE = 32

# What `socket.connect` takes, and the family of its socket.
SocketAddress = tuple[socket.AddressFamily, tuple[object, ...]]


class Names:
    """Looks up names, each once at a time for all who ask.

    The event loops have a few threads for that, all of which one name could keep busy; uvloop would also wait for them when
    it is closed. These end with the process.
    """

    def __init__(self) -> None:
        """Look up nothing yet."""
        self._asked: dict[str, asyncio.Future[list[SocketAddress] | Exception]] = {}
        self._room = asyncio.Semaphore(_MOST_AT_ONCE)

    async def addresses(self, host: str, port: int) -> list[SocketAddress]:
        """Return where a name leads, in the order in which to try it.

        Args:
            host: The name.
            port: A part of each address.

        Raises:
            OSError: If it leads nowhere (:class:`socket.gaierror`).
            UnicodeError: If it cannot be a name.
        """
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = asyncio.ensure_future(self._look_up(host))
            asked.add_done_callback(lambda _: self._asked.pop(host))
        await asyncio.wait([asked])  # goes on for others if this is cancelled
        found = asked.result()
        if isinstance(found, Exception):
            raise found
        return [(family, (where[0], port, *where[2:])) for family, where in found]

    async def _look_up(self, host: str) -> list[SocketAddress] | Exception:
        async with self._room:
            loop = asyncio.get_running_loop()
            found: asyncio.Future[list[SocketAddress] | Exception] = loop.create_future()

            def tell(outcome: list[SocketAddress] | Exception) -> None:
                if not found.done():
                    found.set_result(outcome)

            def look_up() -> None:
                outcome = _look_up_blocking(host)
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(tell, outcome)

            try:
                # A daemon: Python does not wait for it when it exits.
                threading.Thread(target=look_up, name="traefik_toml_proxy name", daemon=True).start()
            except RuntimeError as error:
                return OSError(str(error))  # there are too many threads
            return await found


def _look_up_blocking(host: str) -> list[SocketAddress] | Exception:
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label of the name is empty, or too long
        return error
    except Exception as error:  # noqa: BLE001 - whoever asks must be told, whatever it is
        return OSError(f"it cannot be looked up ({type(error).__name__}: {error})")
    return [(family, tuple(where)) for family, _, _, _, where in found]
