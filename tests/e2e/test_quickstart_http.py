"""The quickstart over HTTP, without a browser."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from e2e.person import Person
from e2e.quickstart import Quickstart


@pytest_asyncio.fixture(params=["alice", "o'neil@example.org", "名前 {{x}}"])
async def person(request: pytest.FixtureRequest, quickstart: Quickstart) -> AsyncIterator[Person]:
    """Somebody who has not logged in yet."""
    async with contextlib.aclosing(Person(quickstart.url, request.param)) as person:
        yield person


async def test_any_name_gets_a_server_that_runs_code_until_it_is_stopped(person: Person) -> None:
    """After the server is stopped, its URL shows the Hub's page."""
    waiting = await person.log_in()
    assert urlsplit(waiting.effective_url).path.startswith("/hub/spawn-pending/")

    url = await person.wait_for_server()
    page = await person.open(url)
    assert (page.code, urlsplit(page.effective_url).path) == (HTTPStatus.OK, f"{person.server}/lab")
    status = await person.call("GET", f"{person.server}/api/status")
    assert json.loads(status.body)["kernels"] == 0

    kernel = await person.start_kernel()
    assert await person.run(kernel, "print('six times seven is', 6 * 7)") == "six times seven is 42\n"

    await person.stop_server()
    page = await person.open(f"{person.server}/lab")
    assert (page.code, urlsplit(page.effective_url).path) == (HTTPStatus.FAILED_DEPENDENCY, f"/hub{person.server}/lab")
    assert "not running" in page.body.decode()
