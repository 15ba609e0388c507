"""FailureLog: the Hub's log says which target failed, and why."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import quote_plus

import pytest
import pytest_asyncio
from support.servers import answering
from support.waiting import eventually

from traefik_toml_proxy.routes import Route, RouteTable
from traefik_toml_proxy.runtime import failures
from traefik_toml_proxy.runtime.failures import FailureLog

PAGE = "/0123abcd/error/"


@pytest.fixture
def targets() -> dict[str, str]:
    """The target of each route; a test fills it."""
    return {}


@pytest.fixture
def clock() -> Iterator[float]:
    """The times at which failures are reported; a test may replace it."""
    return itertools.count(step=100.0)


@pytest_asyncio.fixture
async def failed(targets: dict[str, str], clock: Iterator[float]) -> AsyncIterator[Callable[..., bool]]:
    """Tell a FailureLog that the request for a path has failed; returns whether it took the line."""
    log = FailureLog(
        PAGE,
        lambda: RouteTable([Route.checked(routespec, target, {}) for routespec, target in targets.items()]),
        logging.getLogger("hub"),
        clock=lambda: next(clock),
    )

    def failed(path: str, status: int = 502) -> bool:
        url = quote_plus(f"http://hub.example{path}")
        return log.take(f'{{"RequestPath":"{PAGE}503/{status}/{url}","level":"info","msg":""}}')

    yield failed
    await log.close()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the warnings of the Hub."""
    return lambda: [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that neither accepts nor refuses connections."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # fills its backlog
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"


async def the_line(logged: Callable[[], list[str]]) -> str:
    """Wait for the first warning; return it."""
    await eventually(logged)
    return logged()[0]


async def test_a_target_that_refuses_connections(
    failed: Callable[..., bool], targets: dict[str, str], logged: Callable[[], list[str]], free_port: int
) -> None:
    """The line has the path without the query, the route, the target and the reason."""
    targets["/user/a/"] = f"http://127.0.0.1:{free_port}"

    assert failed("/user/a/api/x?token=secret")
    assert await the_line(logged) == (
        f"A request for '/user/a/api/x' failed: the route '/user/a/' has the target 'http://127.0.0.1:{free_port}': "
        "connection refused"
    )


async def test_a_target_whose_host_is_unknown(
    failed: Callable[..., bool], targets: dict[str, str], logged: Callable[[], list[str]]
) -> None:
    """As when a pod has gone."""
    targets["/"] = "http://nowhere.invalid:8888"
    failed("/")

    assert "its host is not found (" in await the_line(logged)


async def test_a_target_that_does_not_accept_connections(
    failed: Callable[..., bool],
    targets: dict[str, str],
    logged: Callable[[], list[str]],
    silent: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Hub does not wait long for it."""
    monkeypatch.setattr(failures, "_CONNECT_SECONDS", 0.2)
    targets["/"] = silent
    failed("/", 504)

    assert (await the_line(logged)).endswith(": no answer to a connection")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (502, "it closed the connection without an answer, or answered 502 itself"),
        (504, "a connection timed out, or it answered 504 itself"),
    ],
)
async def test_a_target_that_accepts_connections(
    failed: Callable[..., bool], targets: dict[str, str], logged: Callable[[], list[str]], status: int, reason: str
) -> None:
    """Then the status of Traefik's own error says what it can."""

    async def nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with answering(nothing) as url:
        targets["/"] = url
        failed("/", status)

        assert (await the_line(logged)).endswith(f": {reason}")


async def test_a_request_without_a_route(failed: Callable[..., bool], logged: Callable[[], list[str]]) -> None:
    """Its route may just have been deleted."""
    failed("/gone")

    assert await the_line(logged) == "A request for '/gone' failed (502); the Hub has no route for it"


async def test_text_from_the_request_is_escaped(failed: Callable[..., bool], logged: Callable[[], list[str]]) -> None:
    """It cannot start a line of its own, or fill the log."""
    failed("/\n2026 ERROR \x1b[31m" + "x" * 1000)
    line = await the_line(logged)

    assert "'/\\n2026 ERROR \\x1b[31mxxx" in line
    assert len(line) < 400


@pytest.mark.parametrize("clock", [iter([0.0, 0.0, 0.9, 0.95, 1.0, 1.05, 1.9])])
async def test_each_route_has_one_line_a_second(
    failed: Callable[..., bool], targets: dict[str, str], logged: Callable[[], list[str]], free_port: int
) -> None:
    """A page that asks for a hundred files, or a client that does not give up, does not fill the log."""
    targets |= dict.fromkeys(("/user/a/", "/user/b/"), f"http://127.0.0.1:{free_port}")
    for path in ("/user/a/at-0", "/user/b/at-0", "/user/a/at-0.9", "/user/a/at-0.95", "/user/a/at-1"):
        assert failed(path)
        await eventually(lambda: not tasks())
    for path in ("/user/b/at-1.05", "/user/a/at-1.9"):
        assert failed(path)
        await eventually(lambda: not tasks())

    assert [line.split("'")[1] for line in logged()] == [
        "/user/a/at-0",
        "/user/b/at-0",
        "/user/a/at-1",
        "/user/b/at-1.05",
    ]


async def test_a_route_has_one_line_at_a_time(
    failed: Callable[..., bool],
    targets: dict[str, str],
    logged: Callable[[], list[str]],
    silent: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where it takes seconds to find out why: failures do not pile up."""
    monkeypatch.setattr(failures, "_CONNECT_SECONDS", 0.2)
    targets["/"] = silent
    for number in range(10):
        assert failed(f"/{number}")
    await eventually(lambda: not tasks())

    assert [line.split("'")[1] for line in logged()] == ["/0"]


async def test_many_targets_are_asked_one_after_another(
    logged: Callable[[], list[str]], silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a machine with many servers is gone, each has its line, but the Hub opens few connections at once."""
    monkeypatch.setattr(failures, "_CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(failures, "_MOST_CONNECTIONS", 2)
    routes = [Route.checked(f"/user/{number}/", silent, {}) for number in range(6)]
    log = FailureLog(PAGE, lambda: RouteTable(routes), logging.getLogger("hub"))
    begun = time.monotonic()
    for route in routes:
        log.take(f'{{"RequestPath":"{PAGE}503/504/http%3A%2F%2Fhub{quote_plus(route.routespec)}"}}')
    await eventually(lambda: not tasks())

    assert len(logged()) == 6
    assert time.monotonic() - begun > 0.59


def tasks() -> list[asyncio.Task[object]]:
    """Return what is still looking for a reason."""
    return [task for task in asyncio.all_tasks() if task.get_name() == "traefik_toml_proxy failed target"]


async def test_other_lines_of_the_access_log_are_kept_out_of_the_log(
    logged: Callable[[], list[str]],
) -> None:
    """They have the query of a request."""
    log = FailureLog("/other/error/", RouteTable, logging.getLogger("hub"))

    assert log.take(f'{{"RequestPath":"{PAGE}503/502/http%3A%2F%2Fhub%2F%3Ftoken%3Dsecret"}}')
    assert not log.take("2026-11-22T22:40:36Z ERR message")
    await log.close()
    assert logged() == []


async def test_closing_stops_what_is_under_way(
    failed: Callable[..., bool], targets: dict[str, str], silent: str
) -> None:
    """A Hub that stops does not wait for targets. (The fixture closes, and no task may be left.)"""
    targets["/"] = silent
    failed("/")
