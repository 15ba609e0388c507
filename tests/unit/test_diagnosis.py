"""DiagnosingCheck: the advice after giving up."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.ports import free_port
from support.waiting import PATIENCE

from traefik_toml_proxy.runtime import diagnosis
from traefik_toml_proxy.runtime.diagnosis import DiagnosingCheck, Watched
from traefik_toml_proxy.seams import Answer
from traefik_toml_proxy.threads import in_thread
from traefik_toml_proxy.traefik.outside import OutsideTraefik


class _Check:
    """Gives one answer to everything."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.closed = 0

    async def ask(self) -> Answer:
        return self.answer

    async def wait(self, *_: Any, **__: Any) -> Answer:
        return self.answer

    async def close(self) -> None:
        self.closed += 1


SILENCE = Answer(None, answered=False, description="no answer", advice="old advice")


def _check(answer: Answer, folder: Path) -> tuple[DiagnosingCheck, _Check]:
    asked = _Check(answer)
    url = f"http://127.0.0.1:{free_port()}"
    return DiagnosingCheck(asked, url, Watched(folder / "r.toml", "web", "/x/anywhere")), asked


async def test_the_advice_is_what_was_found(tmp_path: Path) -> None:
    """Whether asked once or waited for, the answer stays the same."""
    check, asked = _check(SILENCE, tmp_path)
    answer = await check.wait(1, 0)
    await check.close()

    assert "Traefik does not run" in answer.advice
    assert answer.description == "no answer"
    assert await check.ask() is SILENCE
    assert asked.closed == 1


async def test_what_is_live_needs_no_look(tmp_path: Path) -> None:
    answer = Answer(1, answered=True, description="live")
    check, _ = _check(answer, tmp_path)

    assert await check.wait(1, 0) is answer


REFUSED = Answer(None, answered=True, description="401", advice="old advice", refused=True)


@pytest.mark.parametrize(
    ("directory", "advice"), [("elsewhere", "watches the folder /elsewhere, and so not"), ("", "old advice")]
)
async def test_where_something_else_answered_only_a_certain_reason_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str, advice: str
) -> None:
    """A login page may be another application's, because our file is not loaded, or in front of our own entry point."""
    watches = f"/{directory}" if directory else str(tmp_path)
    traefik = OutsideTraefik(7, {"providers.file.directory": watches}, "a.toml", complaints=("too late",))
    monkeypatch.setattr(diagnosis, "find_traefik", lambda *_: traefik)
    check, _ = _check(REFUSED, tmp_path)
    answer = await check.wait(1, 0)
    await check.close()

    assert advice in answer.advice
    assert answer.refused


async def test_it_looks_for_less_than_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that hangs does not keep the caller."""
    hanging = threading.Event()
    monkeypatch.setattr(diagnosis, "find_traefik", lambda *_: hanging.wait(30))
    check, _ = _check(SILENCE, tmp_path)
    began = time.monotonic()
    try:
        assert await check.wait(1, 0) is SILENCE
        assert time.monotonic() - began < 1 * PATIENCE
    finally:
        hanging.set()


async def test_looks_that_hang_keep_no_change_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as there are threads for files."""
    hanging = threading.Event()
    monkeypatch.setattr(diagnosis, "find_traefik", lambda *_: hanging.wait(30))
    monkeypatch.setattr(diagnosis, "_LONGEST_LOOK", 0.05)
    checks = [_check(SILENCE, tmp_path)[0] for _ in range(8)]
    try:
        await asyncio.gather(*(check.wait(1, 0) for check in checks))

        assert await asyncio.wait_for(in_thread(int, "7"), 5 * PATIENCE) == 7
    finally:
        hanging.set()


async def test_a_look_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets the answer, and not an error of ours."""

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(diagnosis, "find_traefik", fail)
    check, _ = _check(SILENCE, tmp_path)

    assert await check.wait(1, 0) is SILENCE


async def test_a_cancelled_wait_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, looking = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        looking.set()
        hanging.wait(30)

    monkeypatch.setattr(diagnosis, "find_traefik", hang)
    check, _ = _check(SILENCE, tmp_path)
    waiting = asyncio.create_task(check.wait(1, 0))
    try:
        assert await asyncio.to_thread(looking.wait, 5 * PATIENCE)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=5 * PATIENCE)
        assert waiting.cancelled()
    finally:
        hanging.set()
