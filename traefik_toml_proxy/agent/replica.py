"""Replica: writes the tables of etcd to the file of one Traefik, and finds out what that serves. Does I/O in threads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..errors import RouteNotLive, StoreError
from ..routes import RouteTable, Snapshot
from ..runtime.probe import EntryPointProbe, ask_anew
from ..seams import Answer
from ..standstill import Standstill
from ..stores.etcd_table import Head
from ..stores.toml_document import TomlRenderer
from ..stores.toml_file import TomlFileStore
from ..threads import in_thread
from .readiness import Served

# Seconds to ask whether Traefik has loaded a table, before looking whether there is a later one.
_LOAD_SECONDS = 2.0
# Seconds between two questions whether Traefik still serves the last one.
_CHECK_SECONDS = 1.0


class Replica:
    """Writes the latest table, one at a time, and asks the entry point until it is live.

    Attributes:
        serves: What the entry point serves; None if that is not known.
        silent_since: Since when, on the monotonic clock, it has served nothing although there are routes; None if it does.
        unwritten_since: Since when, on the monotonic clock, there is a table that is not written; None if the last one is.
        has_routes: Whether there were routes on the disk when it was opened.
    """

    serves: Served | None = None
    silent_since: float | None = None
    unwritten_since: float | None = None
    has_routes: bool = False

    def __init__(
        self,
        make_store: Callable[[TomlRenderer], TomlFileStore],
        make_renderer: Callable[[Head], TomlRenderer],
        url: str,
        *,
        revision_name: Callable[[], str],
        server_name: Callable[[], str | None],
        changed: Callable[[], None],
        restart: Callable[[], Awaitable[None]],
        log: logging.Logger,
    ) -> None:
        """Write nothing yet.

        Args:
            make_store: Makes the store of the file.
            make_renderer: Makes what renders the tables of one Hub.
            url: The URL of the entry point.
            revision_name: Returns what the revision route is called. Another name for what else is in the file, such as the
                certificate, tells whether that is loaded: the revision is the Hub's, and stays the same.
            server_name: Returns the name to ask for with https.
            changed: Called when ``serves`` has changed.
            restart: Called when Traefik answers, but has stopped loading what is written.
            log: Reports what goes wrong.
        """
        self._make_store, self._make_renderer = make_store, make_renderer
        self._url, self._revision_name, self._server_name = url, revision_name, server_name
        self._changed, self._restart = changed, restart
        self._standstill = Standstill()
        self._log = log
        self._store: TomlFileStore | None = None
        self._probe: EntryPointProbe | None = None
        # The Hub and the name of the revision route that these are for.
        self._made_for: tuple[str, str, str] | None = None
        self._written: tuple[Head, RouteTable] | None = None
        # Held while the file is written.
        self._writing = asyncio.Lock()
        # Whether the entry point has answered with the current name of the revision route.
        self._is_known = False
        self._wanted: tuple[Head, RouteTable] | None = None
        self._offered = asyncio.Event()
        # The last revision for which it was logged that Traefik does not serve it.
        self._missed = -1
        # How often Traefik has ended: an answer from before does not count.
        self._ended = 0
        # The last reason why a table could not be written, to avoid repeats.
        self._logged = ""

    async def open(self, first: Head) -> None:
        """Make sure that there is a file; one from before stays as it is.

        Args:
            first: The head of an empty table, for the first file.

        Raises:
            StoreError: If it cannot be written.
        """
        store = await self._store_for(first)
        if not await in_thread(Path(store.location).exists):
            await store.commit(Snapshot(first.revision, RouteTable()))

    def offer(self, head: Head, table: RouteTable) -> None:
        """Write that table soon, unless a later one comes before."""
        self._wanted = (head, table)
        if self.unwritten_since is None:
            self.unwritten_since = time.monotonic()
        self._now_serves(self.serves)
        self._offered.set()

    def has_ended(self) -> None:
        """Traefik has: it serves nothing."""
        self._ended += 1
        self._now_serves(None)
        self._changed()

    def _now_serves(self, served: Served | None) -> None:
        self.serves = served
        if served is not None:
            self.silent_since = None
        elif self.silent_since is None and self._wanted is not None:
            self.silent_since = time.monotonic()

    async def run(self) -> None:
        """Write and ask for ever."""
        pause = _CHECK_SECONDS
        while True:
            waiting = asyncio.ensure_future(self._offered.wait())
            try:
                await asyncio.wait([waiting], timeout=pause)
            finally:
                waiting.cancel()
            self._offered.clear()
            pause = _CHECK_SECONDS
            wanted = self._wanted
            if wanted is None:
                continue
            try:
                if wanted is not self._written or await self._is_damaged():
                    await self._write(wanted)
                is_live = self._is_known and self.serves is not None and self.serves.revision == wanted[0].revision
                await self._ask(wanted[0], wait=not is_live)
                if not is_live and self.serves is not None and self.serves.revision < wanted[0].revision:
                    pause = 0  # it answers, and may be about to have loaded a large table
            except StoreError as error:
                if str(error) != self._logged:
                    self._logged = str(error)
                    self._log.error("%s", error)
            except Exception:  # noqa: BLE001 - a bug: log the traceback; the next try may succeed
                self._log.exception("Writing the routes failed unexpectedly; will retry")

    async def _is_damaged(self) -> bool:
        damage = await self._store.damage() if self._store else None
        if damage is not None:
            self._log.warning("The file with the routes %s: writing it again", damage)
        return damage is not None

    async def _write(self, wanted: tuple[Head, RouteTable]) -> None:
        head, table = wanted
        async with self._writing:
            store = await self._store_for(head)
            await store.commit(Snapshot(head.revision, table))
            self._written, self._logged = wanted, ""
            self.unwritten_since = None if wanted is self._wanted else time.monotonic()

    # For what else is in the file, as runtime.renewal.Commits.

    @property
    def revision(self) -> int:
        """The revision of the last table that was written; 0 before the first one."""
        return self._written[0].revision if self._written else 0

    async def commit_again(self) -> None:
        """Write the last table again, because something else in the file has changed.

        Raises:
            StoreError: If it cannot be written, or there is none yet.
        """
        if self._wanted is None:
            raise StoreError("etcd has not answered yet, so there are no routes to write.")
        await self._write(self._wanted)
        self._offered.set()

    async def wait_live(self, timeout: float) -> None:
        """Wait until Traefik serves what was written last.

        Raises:
            RouteNotLive: If it does not in time.
        """
        assert self._probe is not None  # noqa: S101
        answer = await self._probe.wait(self.revision, timeout)
        if not answer.serves(self.revision):
            location = self._store.location if self._store else ""
            raise RouteNotLive(self.revision, location, timeout, answer.description, answer.advice)

    async def ask_anew(self) -> Answer:
        """Ask once over a new connection what Traefik serves, of what is in the file now."""
        assert self._made_for is not None  # noqa: S101
        secret, _, name = self._made_for
        return await ask_anew(self._url, f"{secret}/{name}", self._server_name)

    async def _store_for(self, head: Head) -> TomlFileStore:
        """Return the store that renders the tables of the Hub that has written this head."""
        name = self._revision_name()
        made_for = (head.secret, head.hub_url, name)
        if self._store is None or made_for != self._made_for:
            if self._store is not None:
                await self._store.close()
            self._store = self._make_store(self._make_renderer(head))
            snapshot = await self._store.open()
            self.has_routes = self.has_routes or len(snapshot.table) > 0
            self._made_for, self._is_known = made_for, False
            if self._probe is not None:
                await self._probe.close()
            self._probe = EntryPointProbe(self._url, f"{head.secret}/{name}", server_name=self._server_name)
        return self._store

    async def _ask(self, head: Head, *, wait: bool) -> None:
        probe = self._probe
        assert probe is not None  # noqa: S101
        ended = self._ended
        answer = await (probe.wait(head.revision, _LOAD_SECONDS) if wait else probe.ask())
        if ended != self._ended or probe is not self._probe:
            return
        self._is_known = answer.revision is not None
        served = None if answer.revision is None else Served(head.secret, answer.revision)
        if wait and not answer.serves(head.revision) and self._missed != head.revision:
            self._missed = head.revision
            self._log.warning("Traefik does not serve the last routes: %s", answer.description)
        if served != self.serves:
            self._now_serves(served)
            self._changed()
        if self._standstill.found(answer, head.revision):
            await self._restart()

    async def close(self) -> None:
        """Release the file, and close the connection. May be called twice."""
        if self._store is not None:
            await self._store.close()
        if self._probe is not None:
            await self._probe.close()
