"""Nothing that a client sends makes a request appear at a real server that the proxy has not seen: tornado, and nginx."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from support.desync import ATTACKS, CHUNKED, HIDDEN, Server, ask, nginx, send, tornado, understood
from support.http_strategies import messages
from support.waiting import eventually

from traefik_toml_proxy.proxies.inprocess import InProcessProxy

pytestmark = pytest.mark.timeout(180)

# What never arrives of these, by hand: no fault of the proxy's reader can hide in what it has understood. None of them has a
# second request in it, and RFC 9112 (sections 3.2, 5 and 6) has the head of these refused.
NEVER = {"/user/ada/hidden", *(f"/user/ada/{number}" for number in (*range(11), *range(13, 19), 34, 35, 36))}
ODD = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b":",
    b",",
    b"\xff",
    b"0",
    b";",
    b"\r\n\r\n",
    CHUNKED,
    HIDDEN,
]


def attacks() -> list[bytes]:
    """Return all attacks, and many that are nearly these; the same ones each time."""
    texts = [fields + b"\r\n" + after for fields, after in ATTACKS]
    dice = random.Random(7230)
    for _ in range(250):
        text = dice.choice(texts[:37])
        at = dice.randrange(len(text))
        texts.append(text[:at] + dice.choice(ODD) + text[at + dice.choice([0, 0, 1]) :])
    return [b"POST /user/ada/%d HTTP/1.1\r\n%b" % (number, text) for number, text in enumerate(texts)]


@pytest_asyncio.fixture(params=[tornado, nginx])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """A real server."""
    async with request.param(tmp_path) as running:
        yield running


async def test_only_what_was_understood_arrives(in_process: InProcessProxy, server: Server) -> None:
    """Over connections to the server that all clients share, one after another; and all that is whole does arrive."""
    texts = attacks()
    expected: set[str] = set()
    await in_process.add_route("/user/ada/", f"http://127.0.0.1:{server.port}", {})
    for number, text in enumerate(texts):
        expected |= {*understood(text)}
        await send(in_process.public_url, text)
        assert await ask(in_process.public_url, f"/user/ada/after-{number}") == (200, b""), text
        if number == len(ATTACKS) - 1:
            await eventually(lambda: f"/user/ada/after-{len(ATTACKS) - 1}" in server.arrived())
            assert {*server.arrived()} & NEVER == set()
    expected |= {f"/user/ada/after-{number}" for number in range(len(texts))}
    await eventually(lambda: f"/user/ada/after-{len(texts) - 1}" in server.arrived())

    assert {*server.arrived()} - expected == set()
    assert {f"/user/ada/{number}" for number in (11, 19, 26, 29, 30)} <= {*server.arrived()}


@given(text=messages())
@settings(
    max_examples=150,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),  # each attempt to shrink one may wait for a client that has no answer
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_only_what_was_understood_arrives_of_any_request(
    in_process: InProcessProxy, server: Server, text: bytes
) -> None:
    """The request inside another one has a name of its own each time, so that it is not taken for one of before."""
    await in_process.add_route("/", f"http://127.0.0.1:{server.port}", {})
    before = {*server.arrived()}
    number = len(before)
    text = text.replace(b"/hidden", b"/%06x" % number)
    await send(in_process.public_url, text)
    assert await ask(in_process.public_url, f"/after-{number}") == (200, b"")
    await eventually(lambda: f"/after-{number}" in server.arrived())

    assert {*server.arrived()} - before - {f"/after-{number}"} <= {*understood(text)}
