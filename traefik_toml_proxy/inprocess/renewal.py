"""PublicTls: the certificate that the proxy shows, and its renewal when the admin's files change. Does I/O, in threads."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable

from ..errors import ConfigurationError, ProxyError
from ..runtime.certificate import PairFiles, admins_pair
from ..runtime.pairs import Pair, UnusablePair
from ..seams import Metrics
from ..tasks import LoggedOnce
from ..threads import in_thread

# Seconds between two looks at the files. What is in them counts when two looks in a row find the same, because files that
# belong together are not replaced at once.
_INTERVAL = 3.0


class PublicTls:
    """Keeps the certificate up to date. As long as the files do not fit each other, the last pair that did stays served."""

    def __init__(
        self, files: PairFiles, show: Callable[[bytes], Awaitable[object]], log: logging.Logger, metrics: Metrics
    ) -> None:
        """Set the files; nothing is read before :meth:`open`.

        Args:
            files: The admin's.
            show: Has the proxy show a certificate from now on, given as PEM with its key; raises ssl.SSLError if it cannot.
            log: Where it is said what does not fit, and when it does again.
            metrics: Is told when the certificate expires.
        """
        self._files = files
        self._show = show
        self._log = log
        self._metrics = metrics
        self._served: Pair
        # What the last look found: a pair, or why there is none; and what was logged last.
        self._found: Pair | str = ""
        self._problem = ""

    async def open(self) -> None:
        """Read the files for the first time.

        Raises:
            ConfigurationError: If they cannot be used.
        """
        pair = await in_thread(admins_pair, self._files)
        try:
            await self._show(pair.chain + pair.key)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"The certificate in {self._files.cert_file} cannot be used: {error.reason or error}."
            ) from error
        self._served = self._found = pair
        self._metrics.certificate("public", pair.not_after)

    async def watch(self) -> None:
        """Look again and again. Never returns."""
        errors = LoggedOnce("Looking at the certificate", self._log)
        while True:
            await asyncio.sleep(_INTERVAL)
            with errors:
                await self._look()

    async def _look(self) -> None:
        found: Pair | str = await in_thread(_read, self._files)
        has_settled, self._found = found == self._found, found
        if not has_settled:
            return
        problem = found if isinstance(found, str) else await self._use(found)
        if problem and problem != self._problem:
            self._log.error(
                "The new certificate cannot be used: %s. The last one that could be stays served",
                problem.removesuffix("."),
            )
        elif self._problem and not problem:
            self._log.info("The certificate in %s fits again", self._files.cert_file)
        self._problem = problem

    async def _use(self, pair: Pair) -> str:
        """Show a pair, if it is a new one; return why that failed, or ""."""
        if pair == self._served:
            return ""
        try:
            await self._show(pair.chain + pair.key)
        except ssl.SSLError as error:
            return str(error.reason or error)
        except ProxyError as error:
            return str(error)
        self._served = pair
        self._metrics.certificate("public", pair.not_after)
        self._log.info(
            "The new certificate in %s is in service; it is valid until %s UTC",
            self._files.cert_file,
            f"{pair.not_after:%Y-%m-%d %H:%M}",
        )
        return ""


def _read(files: PairFiles) -> Pair | str:
    """Return the pair, or why there is none. Blocks."""
    try:
        return files.pair(files.read())
    except UnusablePair as error:
        return str(error)
