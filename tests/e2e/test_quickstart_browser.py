"""The quickstart as a person uses it, in a real browser: log in, open a notebook, run a cell, stop the server."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from support.hub import RunningHub
from support.waiting import PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: install Debian's package of that name"),
]


def run_a_cell(page: Page) -> None:
    """Open a notebook from the launcher, and run a cell that prints."""
    page.locator(".jp-LauncherCard[title*='Python 3']").first.click()
    cell = page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    cell.click()
    page.keyboard.type("print('six times seven is', 6 * 7)")
    page.keyboard.press("Shift+Enter")


def use_the_hub(page: Page, hub: RunningHub) -> None:
    """Do it all, as a person would."""
    page.goto(hub.url)
    page.get_by_label("Username").fill("Ada Lovelace")
    page.get_by_role("button", name="Sign in").click()

    expect(page).to_have_url(re.compile(r"/user/ada%20lovelace/lab"))
    run_a_cell(page)
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("six times seven is 42")

    page.goto(f"{hub.url}/hub/home")
    page.get_by_role("button", name="Stop My Server").or_(page.get_by_role("link", name="Stop My Server")).click()
    expect(page.locator("#stop")).to_be_hidden()
    page.goto(f"{hub.url}/user/ada%20lovelace/lab")
    expect(page.get_by_text("Your server is not running")).to_be_visible()


def test_a_person_runs_a_cell_in_a_browser(hub: RunningHub, tmp_path: Path) -> None:
    """A cell's output appears in JupyterLab, and when the server is stopped, the Hub's page does, all through Traefik."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(90_000 * PATIENCE)
        expect.set_options(timeout=90_000 * PATIENCE)
        try:
            use_the_hub(page, hub)
        except BaseException:
            page.screenshot(path=tmp_path / "failed.png")
            print(f"what it looked like: {tmp_path / 'failed.png'}, at {page.url}")
            raise
        finally:
            browser.close()
