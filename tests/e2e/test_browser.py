"""Hubs in a real browser: log in, open a notebook, run a cell, stop the server; wait for a Hub that is away."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.apart import PROXY_STAYS, end_proxy
from e2e.conftest import running
from e2e.quickstart import Quickstart
from playwright.async_api import Locator, Page, async_playwright, expect
from playwright.async_api import TimeoutError as PlaywrightTimeoutError
from support.examples import install
from support.hub import RealHub
from support.ports import free_port
from support.waiting import PATIENCE, eventually

_CHROMIUM = shutil.which("chromium")
_FLAGS = [
    "--no-sandbox",  # or it does not start as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# For one step, such as loading JupyterLab.
_STEP_MILLISECONDS = 60_000 * PATIENCE

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(_CHROMIUM is None, reason="needs chromium on PATH: apt-get install chromium"),
]


@pytest.fixture(params=["traefik-toml", "in-process"])
def quickstart(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Quickstart]:
    """A running quickstart, as it is, and with the proxy in the Hub's process."""
    with running(Quickstart(tmp_path, f"--JupyterHub.proxy_class={request.param}")) as quickstart:
        yield quickstart


@pytest_asyncio.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """A page of a new browser; a screenshot of its last state is in page.png."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        page = await browser.new_page()
        page.set_default_timeout(_STEP_MILLISECONDS)
        expect.set_options(timeout=_STEP_MILLISECONDS)
        yield page
        picture = tmp_path / "page.png"
        await page.screenshot(path=picture)
        print(f"The last state of the page: {picture}")  # shown when the test has failed
        await browser.close()


async def _run(page: Page, cell: Locator) -> None:
    """Run a cell, again if there is no output: JupyterLab drops input while it connects to the kernel."""

    async def has_output() -> bool:
        await cell.locator(".cm-content").click()
        await page.keyboard.press("Control+Enter")
        try:
            await cell.locator(".jp-OutputArea-output").wait_for(timeout=5_000 * PATIENCE)
        except PlaywrightTimeoutError:
            return False
        return True

    await eventually(has_output, within=60)


async def test_a_notebook_runs_code_until_its_server_is_stopped(quickstart: Quickstart, page: Page) -> None:
    """After the server is stopped, its URL shows the Hub's page."""
    await page.goto(quickstart.url)
    await page.get_by_label("Username").fill("Ada Lovelace")
    await page.get_by_role("button", name="Sign in").click()

    await page.locator(".jp-LauncherCard[data-category='Notebook']", has_text="Python 3").click()
    cell = page.locator(".jp-Notebook .jp-CodeCell").first
    await cell.locator(".cm-content").click()
    await page.keyboard.type('print("six times seven is", 6*7)')
    await _run(page, cell)
    await expect(cell.locator(".jp-OutputArea-output")).to_have_text("six times seven is 42")
    server = page.url
    assert server.startswith(f"{quickstart.url}/user/ada%20lovelace/lab")

    await page.goto(f"{quickstart.url}/hub/home")
    await page.get_by_role("button", name="Stop My Server").click()
    await expect(page.get_by_role("button", name="Start My Server")).to_be_visible()

    await page.goto(server)
    await expect(page).to_have_url(re.compile(f"^{re.escape(quickstart.url)}/hub/user/ada%20lovelace/lab"))
    await expect(page.get_by_text("Your server is not running")).to_be_visible()


async def test_a_page_waits_for_a_hub_that_is_away(tmp_path: Path, page: Page) -> None:
    """The proxy runs on in a process of its own, and answers for the Hub. Nobody reloads the page."""
    url = f"http://127.0.0.1:{free_port()}"
    config = install("in-process/jupyterhub_config.py", tmp_path / "config.py", changes={"http://127.0.0.1:8000": url})
    async with contextlib.AsyncExitStack() as stack, RealHub(tmp_path, config, url, more=PROXY_STAYS) as hub:
        # When there is no Hub any more that would start it again.
        stack.push_async_callback(end_proxy, tmp_path)
        await hub.kill_alone()
        answer = await page.goto(f"{url}/hub/login?next=%2Fhub%2Fhome")
        assert answer is not None
        assert answer.status == 503
        await expect(page.get_by_role("heading", name="The server does not answer")).to_be_visible()
        await expect(page.get_by_text("Your files are safe")).to_be_visible()

        await hub.start()
        await page.get_by_label("Username").fill("Ada Lovelace")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_url(re.compile("/hub/home$"))
