"""The Hub's log says which server failed, and why."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from support.backend import Backend, get
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import traefik_pid
from support.ports import free_port
from support.processes import alive
from support.servers import answering
from support.waiting import eventually

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.runtime import failures
from traefik_toml_proxy.traefik import static

BROWSER = {"Accept": "text/html"}


@pytest_asyncio.fixture
async def hub(make_backend: BackendMaker) -> Backend:
    """Stands for the Hub, and says what reached it."""
    return await make_backend("hub")


@pytest.fixture
def start(make_proxy: ProxyMaker, hub: Backend) -> Callable[..., Any]:
    """Start a proxy with a route for the Hub, and one for each target."""

    async def start(targets: dict[str, str], **traits: Any) -> TraefikTomlProxy:
        proxy = make_proxy(hub=SimpleNamespace(host=hub.url, base_url="/hub/", routespec="/"), **traits)
        await proxy.start()
        for routespec, target in ({"/": hub.url} | targets).items():
            await proxy.add_route(routespec, target, {})
        return proxy

    return start


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the lines about failed requests."""
    return lambda: [record.getMessage() for record in caplog.records if record.getMessage().startswith("A request")]


@pytest.mark.parametrize("headers", [BROWSER, {}, {"Connection": "close, Upgrade", "Upgrade": "websocket"}])
async def test_a_dead_server_leaves_one_line(
    start: Callable[..., Any],
    lines: Callable[[], list[str]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
) -> None:
    """With the path, the route, the target and the reason, and without the query, for pages, programs and websockets."""
    # On a busy machine, a second may pass between two of these requests.
    monkeypatch.setattr(failures, "_PAUSE", 60.0)
    target = f"http://127.0.0.1:{free_port()}"
    proxy = await start({"/user/ada/": target, "/user/bob/": target})

    # Through the escapes of three URLs, each inside the next.
    path = "/user/ada/it's a@b;c/%2Fü/%25//x".replace(" ", "%20").replace("ü", "%C3%BC")
    assert (await get(proxy.public_url, f"{path}?token=s3cret", headers=headers)).status == 503
    await eventually(lines)
    await get(proxy.public_url, "/user/ada/again?token=s3cret", headers=headers)
    await get(proxy.public_url, "/nowhere?token=s3cret", headers=headers)
    # What was before it is known when this one is.
    await get(proxy.public_url, "/user/bob/", headers=headers)
    await eventually(lambda: any("/user/bob/" in line for line in lines()))

    assert lines() == [
        f"A request for \"{path}\" failed: the route '/user/ada/' has the target {target!r}: connection refused",
        f"A request for '/user/bob/' failed: the route '/user/bob/' has the target {target!r}: connection refused",
    ]
    assert "s3cret" not in caplog.text
    assert caplog.records[-1].levelno >= logging.WARNING


async def test_a_server_that_closes_the_connection(start: Callable[..., Any], lines: Callable[[], list[str]]) -> None:
    """It is there, but has not answered."""

    async def close(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with answering(close) as target:
        proxy = await start({"/user/ada/": target})
        await get(proxy.public_url, "/user/ada/lab", headers=BROWSER)
        await eventually(lines)

    assert lines()[0].endswith(": it closed the connection without an answer, or answered 502 itself")


async def test_a_target_without_an_address(start: Callable[..., Any], lines: Callable[[], list[str]]) -> None:
    """As when a pod has gone."""
    proxy = await start({"/user/ada/": "http://nowhere.invalid:8888"})
    await get(proxy.public_url, "/user/ada/lab")
    await eventually(lines)

    assert ": its host is not found (" in lines()[0]


async def test_each_route_has_one_line_a_second(start: Callable[..., Any], lines: Callable[[], list[str]]) -> None:
    """However many requests fail, and whatever other routes do."""
    target = f"http://127.0.0.1:{free_port()}"
    proxy = await start({"/user/ada/": target, "/user/bob/": target})

    begun = time.monotonic()
    for number in range(20):
        await asyncio.gather(*(get(proxy.public_url, f"/user/{name}/{number}") for name in ("ada", "bob")))
    await eventually(lambda: len(lines()) >= 2)
    took = time.monotonic() - begun

    for name in ("ada", "bob"):
        assert 1 <= sum(f"/user/{name}/'" in line for line in lines()) <= took + 2


async def test_other_answers_leave_no_line(start: Callable[..., Any], lines: Callable[[], list[str]]) -> None:
    """Errors of a server itself, and requests without a route, are none of it."""

    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            status = head.split(b" ")[1].rpartition(b"/")[2]
            writer.write(b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % status)

    async with answering(fail) as target:
        proxy = await start({"/user/ada/": target, "/user/bob/": f"http://127.0.0.1:{free_port()}"})
        for status in (400, 404, 500, 503):
            assert (await get(proxy.public_url, f"/user/ada/{status}", headers=BROWSER)).status == status
        await get(proxy.public_url, "/user/bob/")
        await eventually(lines)

    assert ["/user/bob/" in line for line in lines()] == [True]


async def test_nothing_of_the_request_is_left_in_a_file_of_others(start: Callable[..., Any]) -> None:
    """Traefik's output has the whole address of the request until it is emptied, so only this user can read it."""
    proxy = await start({"/user/ada/": f"http://127.0.0.1:{free_port()}"})
    await get(proxy.public_url, "/user/ada/?token=s3cret", headers=BROWSER)
    output = Path(proxy.state_dir) / "traefik.log"

    def with_secret() -> list[Path]:
        return [file for file in output.parent.rglob("*") if file.is_file() and b"s3cret" in file.read_bytes()]

    assert await eventually(with_secret) == [output]
    assert output.stat().st_mode & 0o777 == 0o600
    assert output.parent.stat().st_mode & 0o777 == 0o700


async def test_successful_requests_are_not_logged(start: Callable[..., Any]) -> None:
    """Neither they nor the questions of the Hub itself are in Traefik's output."""
    proxy = await start({})
    for number in range(20):
        assert (await get(proxy.public_url, f"/hub/{number}")).status == 200

    assert (Path(proxy.state_dir) / "traefik.log").read_bytes() == b""


async def test_an_access_log_of_the_admin_s_takes_the_place_of_ours(
    start: Callable[..., Any], lines: Callable[[], list[str]], tmp_path: Path
) -> None:
    """It has the failed request, nothing of our secret paths, and the Hub's log has no line about it."""
    log = tmp_path / "access.log"
    proxy = await start(
        {"/user/ada/": f"http://127.0.0.1:{free_port()}"}, extra_static_config={"accessLog": {"filePath": str(log)}}
    )
    assert (await get(proxy.public_url, "/user/ada/lab", headers=BROWSER)).status == 503
    await get(proxy.public_url, "/hub/home")
    await eventually(lambda: log.read_text().count("\n") >= 2)

    assert [line.split('"')[1].split(" ")[1] for line in log.read_text().splitlines()] == ["/user/ada/lab", "/hub/home"]
    assert lines() == []


async def test_traefik_goes_on_when_its_output_is_full(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While no Hub runs, nobody empties the file: it ends somewhere, and error pages are shown all the same."""
    monkeypatch.setattr(static, "_MOST_OUTPUT", 1000)
    proxy = await start({"/user/ada/": f"http://127.0.0.1:{free_port()}"})
    pid = traefik_pid(proxy)
    for number in range(50):
        assert (await get(proxy.public_url, f"/user/ada/{number}", headers=BROWSER)).status == 503

    assert (Path(proxy.state_dir) / "traefik.log").stat().st_size == 1000
    assert alive(pid)
    os.kill(pid, signal.SIGHUP)  # it still listens to its signals
    assert (await get(proxy.public_url, "/user/ada/", headers=BROWSER)).status == 503
