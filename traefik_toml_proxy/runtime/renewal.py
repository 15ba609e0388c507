"""CertificateWatcher: serves the admin's certificate anew when its files change. Does I/O, never on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Protocol

from ..errors import RouteNotLive, StoreError
from ..seams import NO_METRICS, Answer, Metrics
from ..tasks import LoggedOnce
from ..threads import in_thread
from ..traefik.tls import validity_problem
from .certificate import PairFiles, ServedCertificate
from .pairs import Pair, UnusablePair

# Seconds between two looks at the files. A change is taken up at the second look that finds the same content, since a file
# may be half written, or one of the two not yet replaced.
_INTERVAL = 3.0
# Seconds until a pair is tried again that could not be written, or that Traefik did not serve.
_RETRY = 60.0
_A_DAY = 24 * 3600.0

Contents = tuple[bytes, bytes] | str


class Commits(Protocol):
    """Commits what is served: a :class:`~traefik_toml_proxy.publisher.RoutePublisher`, or an agent's replica."""

    @property
    def revision(self) -> int:
        """The revision of the last commit."""

    async def commit_again(self) -> None:
        """Commit the same routes, because something else has changed. Does not wait until it is live.

        Raises:
            StoreError: If it could not be written.
        """

    async def wait_live(self, timeout: float) -> None:
        """Wait until the last commit is live.

        Raises:
            RouteNotLive: If it is not live in time.
        """


class CertificateWatcher:
    """Looks at the admin's files, and has each new pair served that can be: by a commit of its own, with nothing restarted.

    As long as the files do not fit, the last pair that did stays served.
    """

    def __init__(
        self,
        files: PairFiles | None,
        served: ServedCertificate,
        publisher: Commits,
        ask_anew: Callable[[], Awaitable[Answer]],
        *,
        live_timeout: float,
        log: logging.Logger,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """Set what to watch; nothing is read before :meth:`run`.

        Args:
            files: The admin's files; None if only the copies are to be looked after.
            served: What Traefik serves now.
            publisher: Commits the paths of a new pair, in between the changes of routes.
            ask_anew: Asks the entry point once which revision is live, with a TLS handshake of its own.
            live_timeout: Seconds to wait for a new pair to become live.
            log: Where it is said what does not fit, and when it does again.
            metrics: Is told when the certificate expires.
        """
        self._metrics = metrics
        self._files = files
        self._served = served
        self._publisher = publisher
        self._ask_anew = ask_anew
        self._live_timeout = live_timeout
        self._log = log
        # What the last look found, and what was judged last, until when to leave it at that, and what was wrong with it.
        self._seen: Contents | None = None
        self._judged: Contents | None = None
        self._retry_at = float("inf")
        self._problem = ""
        self._warn_at = 0.0
        # Whether there may be copies of earlier pairs: until the current one is live, Traefik may read them.
        self._others_left = True

    async def run(self) -> None:
        """Look again and again. Never returns."""
        errors = LoggedOnce("Looking at the certificate", self._log)
        while True:
            with errors:
                await self._look()
            await asyncio.sleep(_INTERVAL)

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._files is not None:
            before, self._seen = self._seen, await in_thread(_contents, self._files)
            if self._seen == before and (self._seen != self._judged or now >= self._retry_at):
                self._judged, self._retry_at = self._seen, now + _RETRY
                await self._judge(self._files, self._seen)
            self._warn_of_expiry(self._files, now)
        if self._others_left and (await self._ask_anew()).serves(self._publisher.revision):
            with contextlib.suppress(OSError):  # without permissions, for example; then at the next look
                await in_thread(self._served.forget_others)
                self._others_left = False

    async def _judge(self, files: PairFiles, contents: Contents) -> None:
        try:
            pair = await in_thread(_pair, files, contents)
        except UnusablePair as error:
            self._report(f"The new certificate cannot be used: {error}")
            self._retry_at = float("inf")
            return
        if self._served.pair is not None and pair.digest != self._served.pair.digest:
            problem = await self._serve(pair, self._served.pair)
            if problem:
                self._report(problem)
                return
            self._log.info(
                "The new certificate in %s is in service; it is valid until %s UTC",
                files.cert_file,
                _minute(pair.not_after),
            )
            self._warn_at = 0.0
        elif self._problem:
            self._log.info("The certificate in %s with the key in %s fits again", files.cert_file, files.key_file)
        self._problem, self._retry_at = "", float("inf")

    def _report(self, problem: str) -> None:
        """Say what is wrong with the files, once."""
        if problem != self._problem:
            self._problem = problem
            self._log.error("%s. The last certificate that could be used stays served", problem.removesuffix("."))

    async def _serve(self, pair: Pair, last: Pair) -> str:
        """Have a pair served; if that does not work, go back to the last one.

        Returns:
            What went wrong, or "".
        """
        self._served.use(pair)
        self._others_left = True
        try:
            await self._publisher.commit_again()
        except StoreError as error:
            self._served.use(last)
            return f"The new certificate could not be put into service: {error}"
        revision = self._publisher.revision
        try:
            await self._publisher.wait_live(self._live_timeout)
        except RouteNotLive as error:
            self._log.warning("The new certificate is not live yet: %s", error)
        answer = await self._ask_anew()
        if not answer.answered or answer.serves(revision):
            # While Traefik is down, nothing can be said about the pair.
            return ""
        self._served.use(last)
        await self._publisher.commit_again()
        return f"The new certificate does not work with Traefik: {answer.description}"

    def _warn_of_expiry(self, files: PairFiles, now: float) -> None:
        """Warn of the date on the certificate that is served, once a day."""
        pair = self._served.pair
        if pair is None:
            return
        self._metrics.certificate("public", pair.not_after)
        if now < self._warn_at:
            return
        problem = validity_problem(pair.not_before, pair.not_after, datetime.now(timezone.utc))
        if problem:
            self._warn_at = now + _A_DAY
            self._log.warning("The certificate that was read from %s %s", files.cert_file, problem)


def _contents(files: PairFiles) -> Contents:
    """Return what is in the files, or why they cannot be read. Blocks."""
    try:
        return files.read()
    except UnusablePair as error:
        return str(error)


def _pair(files: PairFiles, contents: Contents) -> Pair:
    if isinstance(contents, str):
        raise UnusablePair(contents)
    return files.pair(contents)


def _minute(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}"
