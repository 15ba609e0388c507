"""For each required case there is a proxy with one fault, which fails that case and no other."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from support.small_proxy import SmallSubject

from traefik_toml_proxy.conformance import CASES, Level, Result, run_all
from traefik_toml_proxy.conformance.cases import changes

# A case that hangs because of a fault need not hang for long.
REQUIRED = [dataclasses.replace(case, seconds=min(case.seconds, 20)) for case in CASES if case.level is Level.REQUIRED]
# How many proxies are tested concurrently: they mostly wait, but a case that measures time must not find a busy loop.
_AT_ONCE = 4


async def _failed(fault: str, limit: asyncio.Semaphore) -> set[str]:
    """Return the ids of the required cases that a small proxy with this fault fails."""
    async with limit:
        outcomes = await run_all(SmallSubject(fault), REQUIRED)
    return {outcome.case.id for outcome in outcomes if outcome.result is not Result.PASSED}


async def test_a_proxy_without_a_fault_passes_every_required_case() -> None:
    """The cases require nothing but what their rules say."""
    assert await _failed("", asyncio.Semaphore()) == set()


@pytest.mark.timeout(400)
async def test_each_required_case_fails_for_a_proxy_with_that_fault_and_for_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one fault a proxy fails the case that asks for it, and no other."""
    monkeypatch.setattr(changes, "_REQUESTS", 200)  # enough to see the fault, without keeping the loop busy
    limit = asyncio.Semaphore(_AT_ONCE)
    faults = [case.id for case in REQUIRED]
    failed = await asyncio.gather(*(_failed(fault, limit) for fault in faults))

    wrong = {fault: ids for fault, ids in zip(faults, failed, strict=True) if ids != {fault}}
    assert wrong == {}
