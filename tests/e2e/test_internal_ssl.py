"""A real Hub with internal_ssl: the way from a browser to a kernel is https with JupyterHub's own certificates."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from e2e.person import Person
from e2e.quickstart import Quickstart
from support.certificates import make_certificate

from .conftest import running


@pytest_asyncio.fixture(params=[False, True], ids=["http outside", "https outside"])
async def alice_and_hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Person, Quickstart]]:
    """Somebody who has not logged in yet, at a Hub with internal_ssl that is public as http or https."""
    pair = make_certificate(tmp_path, "public") if request.param else None
    traits = {"internal_ssl": True, "internal_certs_location": tmp_path / "internal-ssl"}
    quickstart = Quickstart(tmp_path, *(f"--JupyterHub.{name}={value}" for name, value in traits.items()), tls=pair)
    with running(quickstart):
        tls = pair.client() if pair else None
        async with contextlib.aclosing(Person(quickstart.url, "alice", tls=tls)) as alice:
            yield alice, quickstart


async def test_a_user_logs_in_and_runs_code_and_nobody_gets_past_the_proxy(
    alice_and_hub: tuple[Person, Quickstart],
) -> None:
    """One message of a megabyte in each direction, and hundreds of requests to the Hub and to the server."""
    alice, quickstart = alice_and_hub
    await alice.log_in()
    page = await alice.open(await alice.wait_for_server())
    assert (page.code, urlsplit(page.effective_url).path) == (HTTPStatus.OK, "/user/alice/lab")

    kernel = await alice.start_kernel()
    letters = "x" * 1_000_000
    assert await alice.run(kernel, f"print(len('{letters}'))") == "1000000\n"
    assert await alice.run(kernel, "print('x' * 1_000_000)") == letters + "\n"

    paths = ["/user/alice/api/status", "/hub/api/users/alice"] * 150
    answers = await asyncio.gather(*(alice.call("GET", path) for path in paths))
    assert Counter(answer.code for answer in answers) == {HTTPStatus.OK: 300}
    assert json.loads(answers[0].body)["kernels"] == 1

    targets = set(re.findall(r'"target":"([^"]*)"', quickstart.routes_file.read_text()))
    assert {urlsplit(target).scheme for target in targets} == {"https"}
    assert len(targets) == 2
    for target in targets:
        await _refused_without_a_certificate(target)
    await alice.stop_server()


async def _refused_without_a_certificate(target: str) -> None:
    """Check that a server does not talk to a client without a certificate."""
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    # Before TLS 1.3, the client is told within the handshake.
    anybody.maximum_version = ssl.TLSVersion.TLSv1_2
    where = urlsplit(target)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(where.hostname, where.port, ssl=anybody)
