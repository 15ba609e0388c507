"""DiagnosingCheck: says why a revision is not live in a Traefik that others run, by looking. Does I/O, in a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..findings import Finding
from ..seams import Answer, LiveCheck
from ..stores.neighbours import file_with_same_names
from ..threads import LOOKS
from ..traefik.outside import Seen, why_not_live
from .outside import broken_neighbour, find_traefik
from .probe import EntryPointProbe

# The longest time to look, in seconds: the caller has waited long enough.
_LONGEST_LOOK = 0.9
# Of these, seconds to wait for the answer that shows whether the file is loaded at all.
_ANYWHERE_TIMEOUT = 0.3


@dataclass(frozen=True, slots=True)
class Watched:
    """What a Traefik that others run is to do.

    Attributes:
        file: The file that it is to watch.
        entry_point: The name of its entry point for users.
        anywhere_path: The secret path of a router that belongs to all of its entry points.
        folder: ``watched_folder``, the folder around the file that it is to watch; None for the file's own.
        namespace: What begins all names in the file.
    """

    file: Path
    entry_point: str
    anywhere_path: str
    folder: Path | None = None
    namespace: str = ""


class DiagnosingCheck:
    """A :class:`~traefik_toml_proxy.seams.LiveCheck` that replaces the advice of another one when that has given up."""

    def __init__(
        self, check: LiveCheck, url: str, watched: Watched, *, server_name: Callable[[], str | None] = lambda: None
    ) -> None:
        """Set what to ask, and what to look at.

        Args:
            check: Asks the entry point.
            url: The entry point.
            watched: What Traefik is to do.
            server_name: As for :class:`~.probe.EntryPointProbe`.
        """
        self._check = check
        self._anywhere = EntryPointProbe(
            url, watched.anywhere_path, server_name=server_name, request_timeout=_ANYWHERE_TIMEOUT
        )
        self._url = url
        self._watched = watched

    async def ask(self) -> Answer:
        """Ask once."""
        return await self._check.ask()

    async def wait(self, revision: int, timeout: float, *, if_refused: float | None = None) -> Answer:
        """Ask until the revision is live or the time is up; then look for the reason, for less than a second."""
        began = time.monotonic()
        answer = await self._check.wait(revision, timeout, if_refused=if_refused)
        if answer.serves(revision):
            return answer
        waited = time.monotonic() - began
        looking = asyncio.ensure_future(self._explained(answer, waited))
        try:
            await asyncio.wait([looking], timeout=_LONGEST_LOOK)
        finally:
            looking.cancel()
        failed = not looking.done() or looking.cancelled() or looking.exception() is not None
        return answer if failed else looking.result()

    async def _explained(self, answer: Answer, waited: float) -> Answer:
        elsewhere = await self._anywhere.ask() if answer.answered else answer
        reason = await LOOKS.run(why, self._url, self._watched, answer, elsewhere.revision, waited)
        return replace(answer, advice=str(reason)) if reason else answer

    async def close(self) -> None:
        """Stop asking. May be called twice."""
        for check in (self._check, self._anywhere):
            await check.close()


def why(url: str, watched: Watched, answer: Answer, elsewhere: int | None, waited: float) -> Finding | None:
    """Return why what was committed is not live; None if it cannot be told. Blocks.

    Args:
        url: The entry point.
        watched: What Traefik is to do.
        answer: The last answer of the entry point.
        elsewhere: The revision that the router for all entry points has, or None.
        waited: For how many seconds it was waited for.
    """
    file = watched.file.resolve()
    folder = watched.folder.resolve() if watched.folder else file.parent
    double = file_with_same_names(file, folder, watched.namespace) if watched.namespace else None
    return why_not_live(
        Seen(
            url=url,
            file=str(file),
            folder=str(folder),
            entry_point=watched.entry_point,
            waited=waited,
            answered=answer.answered,
            refused=answer.refused,
            live=answer.revision,
            elsewhere=elsewhere,
            traefik=find_traefik(url, file, folder),
            broken=broken_neighbour(file, folder),
            namespace=watched.namespace,
            double=str(double) if double else None,
        )
    )
