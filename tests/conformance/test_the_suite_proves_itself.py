"""For each required case there is a proxy with one fault, which fails exactly that case: none passes just so."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from support.small_proxy import SmallSubject

from traefik_toml_proxy.conformance import CASES, Level, Result, run_all

# A case that a fault makes hang need not hang for long.
REQUIRED = [dataclasses.replace(case, seconds=min(case.seconds, 20)) for case in CASES if case.level is Level.REQUIRED]
# At the same time: they mostly wait.
_AT_ONCE = 8


async def _failed(fault: str, turn: asyncio.Semaphore) -> set[str]:
    """Return the ids of the required cases that a small proxy with this fault fails."""
    async with turn:
        outcomes = await run_all(SmallSubject(fault), REQUIRED)
    return {outcome.case.id for outcome in outcomes if outcome.result is not Result.PASSED}


@pytest.mark.timeout(400)
async def test_each_required_case_fails_for_a_proxy_with_that_fault_and_for_no_other() -> None:
    """Without a fault the small proxy passes them all; with one it fails the case that asks for it, and no other."""
    turn = asyncio.Semaphore(_AT_ONCE)
    faults = ["", *(case.id for case in REQUIRED)]
    failed = await asyncio.gather(*(_failed(fault, turn) for fault in faults))

    wrong = {fault: ids for fault, ids in zip(faults, failed, strict=True) if ids != {fault} - {""}}
    assert wrong == {}
