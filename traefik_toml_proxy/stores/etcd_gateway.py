"""EtcdGateway: asks an etcd cluster through the JSON gateway of its members. Does I/O, never blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from ..errors import ConfigurationError, EtcdCompacted, EtcdRefused, EtcdUnreachable, quoted
from ..files import run_in_thread
from .etcd_messages import (
    Failure,
    Json,
    Outcome,
    Range,
    Transaction,
    Watched,
    range_request,
    read_failure,
    read_outcome,
    read_range,
    read_watched,
    watch_request,
)
from .etcd_resolver import OwnThreadsResolver
from .etcd_settings import EtcdSettings, tls_context

# Seconds to wait for one answer of one member: without a quorum a member answers after 7 s, and a frozen one never.
_TRY_SECONDS = 1.0
# Seconds to wait before the members are asked again, when none of them has answered.
_PAUSE = 0.1
# Seconds after which the certificates are read again if no member answers: they may have been renewed.
_CERTIFICATES_SECONDS = 5.0
# The header that ends a watch whose member loses the leader (etcd, server/proxy/grpcproxy); without it the watch is silent.
_HAS_LEADER = {"Grpc-Metadata-hasleader": "true"}
# The most bytes of one line of a watch, which can have several transactions of at most 1.5 MB each (--max-request-bytes).
_LONGEST_LINE = 64 * 2**20


class _NoAnswer(Exception):
    """A member has not answered, or not with what it knows; another one may."""


class _StaleToken(Exception):
    """The token is no longer valid."""


class EtcdGateway:
    """A client of one etcd cluster.

    A request that gets no answer is sent to the next member, until the time is up. **So it may be carried out twice**, and
    also if an error is raised: callers make requests for which that does not matter, such as a transaction that compares.
    """

    def __init__(self, settings: EtcdSettings) -> None:
        """Open nothing yet; the first request does."""
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        # When that was opened, on the clock of the event loop.
        self._opened = 0.0
        self._opening = asyncio.Lock()
        self._logging_in = asyncio.Lock()
        self._token: str | None = None
        self._at = 0
        # For each member that is asked by a watch, what ends that watch when the member fails another request.
        self._failing: dict[str, asyncio.Future[None]] = {}
        self._closed = False

    @property
    def location(self) -> str:
        """The members, for messages."""
        return self._settings.location

    async def range(self, key: bytes, end: bytes = b"", *, timeout: float, limit: int = 0, revision: int = 0) -> Range:
        """Read a key, or all keys from it to ``end``, as they are now or at a revision of etcd.

        Args:
            key: The key, or the first one.
            end: The key after the last one; empty for one key.
            timeout: Seconds to try.
            limit: The most keys to read; 0 is all.
            revision: The revision of etcd; 0 is now.

        Raises:
            EtcdUnreachable: If no member has answered in time.
            EtcdCompacted: If that revision is no longer kept.
            EtcdRefused: If etcd does not want to.
        """
        return read_range(await self._ask("kv/range", range_request(key, end, limit=limit, revision=revision), timeout))

    async def transact(self, transaction: Transaction, *, timeout: float) -> Outcome:
        """Carry out a transaction.

        Raises:
            EtcdUnreachable: If no member has answered in time. It may have been carried out, or even be later.
            EtcdRefused: If etcd does not want to; nothing was changed.
        """
        return read_outcome(await self._ask("kv/txn", transaction.request(), timeout))

    async def grant(self, seconds: int, *, timeout: float) -> int:
        """Return a new lease, which ends after so many seconds unless it is renewed.

        Raises:
            EtcdUnreachable: If no member has answered in time.
            EtcdRefused: If etcd does not want to.
        """
        return int((await self._ask("lease/grant", {"TTL": str(seconds)}, timeout))["ID"])

    async def keep_alive(self, lease: int, *, timeout: float) -> bool:
        """Renew a lease.

        Returns:
            Whether there still was one.

        Raises:
            EtcdUnreachable: If no member has answered in time.
            EtcdRefused: If etcd does not want to.
        """
        answer = await self._ask("lease/keepalive", {"ID": str(lease)}, timeout)
        return int(answer["result"].get("TTL", 0)) > 0

    async def revoke(self, lease: int, *, timeout: float) -> None:
        """End a lease, and delete the keys that have it. There need not be one.

        Raises:
            EtcdUnreachable: If no member has answered in time.
            EtcdRefused: If etcd does not want to.
        """
        try:
            await self._ask("lease/revoke", {"ID": str(lease)}, timeout)
        except EtcdRefused as error:
            if not error.is_not_found:
                raise

    async def watch(self, key: bytes, end: bytes, revision: int) -> AsyncGenerator[Watched, None]:
        """Yield each change of the keys from ``key`` to ``end``, from a revision of etcd on. Close it after use.

        It ends with an error only. It asks one member, and ends when that member fails any other request of this client:
        while nothing changes, a frozen member cannot be told from a silent one.

        Raises:
            EtcdUnreachable: If the member does not answer any more.
            EtcdCompacted: If some of these changes are no longer kept.
            EtcdRefused: If etcd does not want to.
        """
        body = watch_request(key, end, revision)
        for last in (False, True):
            endpoint, token = self._endpoint, self._token
            try:
                token = await self._log_in(_TRY_SECONDS)
                async with contextlib.aclosing(self._watch_once(endpoint, body)) as messages:
                    async for message in messages:
                        yield message
            except _NoAnswer as error:
                self._fail(endpoint)
                raise EtcdUnreachable(endpoint, str(error)) from None
            except EtcdRefused as error:
                # It may also be the answer to a token that has expired.
                if last or token is None or not error.is_denied:
                    raise
                self._forget(token)
            except _StaleToken as error:
                if last:
                    raise EtcdRefused(endpoint, str(error)) from None
                self._forget(token)

    async def _watch_once(self, endpoint: str, body: Json) -> AsyncGenerator[Watched, None]:
        ends = self._failing.setdefault(endpoint, asyncio.get_running_loop().create_future())
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_TRY_SECONDS)
        lines = self._lines(endpoint, "watch", body, timeout)
        began = False
        async with contextlib.aclosing(lines):
            while True:
                line = asyncio.ensure_future(anext(lines))
                first: list[asyncio.Future[Any]] = [line, ends]
                try:
                    limit = None if began else 2 * _TRY_SECONDS
                    await asyncio.wait(first, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                    if not line.done():
                        raise _NoAnswer("it has not answered")
                    message = self._read_watched(endpoint, line.result())
                except StopAsyncIteration:
                    raise _NoAnswer("it has ended the watch") from None
                finally:
                    line.cancel()
                    await asyncio.wait([line])
                    if not line.cancelled():
                        line.exception()  # nobody waits any more for one that has just come
                began = True
                if message.events:
                    yield message

    def _read_watched(self, endpoint: str, line: bytes) -> Watched:
        try:
            message = read_watched(line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _NoAnswer(f"its answer is not etcd's ({quoted(str(error))})") from None
        if isinstance(message, Failure):
            raise self._error(endpoint, message)
        if message.compacted:
            raise EtcdCompacted(endpoint, message.compacted)
        if message.cancelled is not None:
            raise self._error(endpoint, Failure.of_watch(message.cancelled))
        return message

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        self._closed = True
        async with self._opening:
            session, self._session = self._session, None
        for ends in self._failing.values():
            if not ends.done():
                ends.set_result(None)
        if session is not None:
            await session.close()

    # One request to any member.

    @property
    def _endpoint(self) -> str:
        return self._settings.endpoints[self._at % len(self._settings.endpoints)]

    def _fail(self, endpoint: str) -> None:
        """Ask another member from now on, and end the watches of this one."""
        if endpoint == self._endpoint:
            self._at += 1
        ends = self._failing.pop(endpoint, None)
        if ends is not None and not ends.done():
            ends.set_result(None)

    async def _ask(self, path: str, body: Json, timeout: float) -> Json:
        """Send a request to one member after the other until one answers or the time is up."""
        loop = asyncio.get_running_loop()
        deadline, tries, stale = loop.time() + timeout, 0, 0
        while True:
            endpoint, token = self._endpoint, self._token
            left = deadline - loop.time()
            try:
                token = await self._log_in(left)
                return await self._try(endpoint, path, body, left)
            except EtcdRefused as error:
                error.is_certain = tries == 0
                raise
            except _StaleToken as error:
                stale += 1
                if stale > 2:
                    raise EtcdRefused(endpoint, str(error)) from None
                self._forget(token)
            except _NoAnswer as error:
                self._fail(endpoint)
                tries += 1
                pause = _PAUSE if tries % len(self._settings.endpoints) == 0 else 0
                if pause:
                    await self._read_certificates_again()
                if loop.time() + pause >= deadline:
                    raise EtcdUnreachable(self.location, f"{endpoint}: {error}") from None
                await asyncio.sleep(pause)

    async def _try(self, endpoint: str, path: str, body: Json, left: float) -> Json:
        timeout = aiohttp.ClientTimeout(total=max(0.05, min(_TRY_SECONDS, left)))
        text = b""
        async with contextlib.aclosing(self._chunks(endpoint, path, body, timeout)) as chunks:
            async for chunk in chunks:
                text += chunk
        try:
            answer = json.loads(text)
        except ValueError:
            raise _NoAnswer(f"its answer is not etcd's: {quoted(text.decode('utf-8', 'replace'), 80)}") from None
        if not isinstance(answer, dict):
            raise _NoAnswer("its answer is not etcd's")
        if "error" in answer and isinstance(answer["error"], dict):  # of a request that has a stream, as keepalive
            failure = read_watched(text)
            assert isinstance(failure, Failure)  # noqa: S101
            raise self._error(endpoint, failure)
        return answer

    async def _lines(
        self, endpoint: str, path: str, body: Json, timeout: aiohttp.ClientTimeout
    ) -> AsyncGenerator[bytes, None]:
        rest = b""
        async with contextlib.aclosing(self._chunks(endpoint, path, body, timeout, _HAS_LEADER)) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    raise _NoAnswer("its answer is too long")
                for line in lines:
                    if line:
                        yield line

    async def _chunks(
        self,
        endpoint: str,
        path: str,
        body: Json,
        timeout: aiohttp.ClientTimeout,
        headers: dict[str, str] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Send one request to one member, and yield the body of its answer as it comes."""
        session = await self._open()
        authorization = {"Authorization": self._token} if self._token and path != "auth/authenticate" else {}
        try:
            async with session.post(
                f"{endpoint}/v3/{path}",
                data=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"} | authorization | (headers or {}),
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise self._error(endpoint, read_failure(response.status, await response.read()))
                async for chunk in response.content.iter_any():
                    yield chunk
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            raise _NoAnswer(str(error) or "no answer in time") from None

    def _error(self, endpoint: str, failure: Failure) -> Exception:
        """Return what to raise for an error that etcd has answered."""
        if failure.is_unknown:
            return _NoAnswer(failure.message)
        if failure.is_stale_token:
            return _StaleToken(failure.message)
        if failure.is_compacted:
            return EtcdCompacted(endpoint, 0)
        advice = ""
        if failure.code is None:
            advice = (
                "That is not the JSON gateway of an etcd 3.4 or newer: check the port, and whether its configuration file "
                "turns enable-grpc-gateway on"
            )
        return EtcdRefused(
            endpoint, failure.message, advice, is_denied=failure.is_denied, is_not_found=failure.is_not_found
        )

    # The connection and the token.

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._closed:
                raise EtcdUnreachable(self.location, "this client has been closed")
            if self._session is None:
                self._session = await self._new_session()
            return self._session

    async def _new_session(self) -> aiohttp.ClientSession:
        self._opened = asyncio.get_running_loop().time()
        context = await run_in_thread(tls_context, self._settings)
        # No limit: each watch keeps a connection.
        connector = aiohttp.TCPConnector(limit=0, ssl=context, resolver=OwnThreadsResolver())
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def _read_certificates_again(self) -> None:
        """Let the next request open new connections, if there are certificates that may have been renewed meanwhile."""
        async with self._opening:
            session, settings = self._session, self._settings
            age = asyncio.get_running_loop().time() - self._opened
            if session is None or not (settings.ca or settings.cert) or age <= _CERTIFICATES_SECONDS:
                return
            try:
                self._session = await self._new_session()
            except ConfigurationError:
                return  # they are just being replaced, and do not fit each other yet
        await session.close()

    async def _log_in(self, left: float) -> str | None:
        """Return the token of the user, which takes etcd 100 ms to make; None without a user."""
        if not self._settings.username:
            return None
        async with self._logging_in:
            if self._token is None:
                body = {"name": self._settings.username, "password": self._settings.password}
                self._token = (await self._try(self._endpoint, "auth/authenticate", body, left))["token"]
            return self._token

    def _forget(self, token: str | None) -> None:
        if self._token == token:
            self._token = None
