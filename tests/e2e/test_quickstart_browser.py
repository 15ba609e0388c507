"""The quickstart in a real browser: log in, open a notebook, run a cell, stop the server."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from e2e.quickstart import Quickstart
from playwright.async_api import Locator, Page, async_playwright, expect
from playwright.async_api import TimeoutError as PlaywrightTimeoutError
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
