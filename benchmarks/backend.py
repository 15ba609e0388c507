"""The two servers behind the routes, in a process of their own: ``python -m benchmarks.backend``. I/O: sockets.

Prints one line of JSON with their addresses, answers every request with a few bytes and a header that tells which of the
two it is, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from .tables import SERVER_HEADER


async def _serve(name: str) -> int:
    head = ["HTTP/1.1 200 OK", "Content-Type: text/plain", f"Content-Length: {len(name)}", f"{SERVER_HEADER}: {name}"]
    answer = "\r\n".join([*head, "", name]).encode()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")  # a GET has no body
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])


async def _main() -> None:
    addresses = {name: f"http://127.0.0.1:{await _serve(name)}" for name in ("hub", "user")}
    print(json.dumps(addresses), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # connections that are still open would be closed with a traceback each


if __name__ == "__main__":
    asyncio.run(_main())
