"""conformance.runner: what happens to a case that fails, hangs or is not offered, and to those after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from traefik_toml_proxy.conformance import Case, Failed, Level, NotOffered, Options, Result, Setting, Subject, run_all
from traefik_toml_proxy.conformance.runner import within
from traefik_toml_proxy.conformance.stage import Stage

Run = Callable[[Stage], Awaitable[None]]


class FakeProxy:
    """A table of routes."""

    def __init__(self) -> None:
        self.routes: dict[str, Any] = {}

    async def get_all_routes(self) -> dict[str, Any]:
        return self.routes

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        self.routes[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec: str) -> None:
        del self.routes[routespec]


class FakeSubject(Subject):
    """Counts how often a proxy is started and stopped."""

    def __init__(self, kind: type[FakeProxy] = FakeProxy) -> None:
        self.kind = kind
        self.started: list[Options] = []
        self.stopped = 0

    async def start(self, setting: Setting) -> Any:
        if setting.options.internal_ssl:
            raise NotOffered("no internal_ssl")
        self.started.append(setting.options)
        return self.kind()

    async def stop(self) -> None:
        self.stopped += 1


class StubbornSubject(FakeSubject):
    """Cannot be stopped."""

    async def stop(self) -> None:
        await super().stop()
        raise RuntimeError("it does not stop")


def case(name: str, run: Run, **more: Any) -> Case:
    """Return a case that does ``run``."""
    return Case(f"test.{name}", Level.REQUIRED, "", "", run, **more)


async def passes(stage: Stage) -> None:
    """Check that no other case has left anything."""
    assert await stage.proxy.get_all_routes() == {}
    await stage.add("/", "http://127.0.0.1:1")


async def fails(stage: Stage) -> None:
    """Fail, and leave a route."""
    await stage.add("/left/", "http://127.0.0.1:1")
    raise Failed("that is wrong")


async def errs(_: Stage) -> None:
    """Raise an unexpected error."""
    raise KeyError("x")


async def hangs(_: Stage) -> None:
    """Wait for something that never happens."""
    await asyncio.Event().wait()


async def is_cancelled(_: Stage) -> None:
    """Wait for something that is cancelled."""
    waiting = asyncio.create_task(asyncio.sleep(60))
    waiting.cancel()
    await waiting


async def is_not_offered(_: Stage) -> None:
    """Require something that the proxy does not offer."""
    raise NotOffered("we do not do that")


async def starts(stage: Stage) -> None:
    """Start the proxy of a fresh case."""
    await stage.start()


@pytest.mark.parametrize(
    ("run", "result", "reason"),
    [
        (passes, Result.PASSED, ""),
        (fails, Result.FAILED, "that is wrong"),
        (errs, Result.FAILED, "KeyError: 'x'"),
        (hangs, Result.FAILED, "the whole case took more than 0.1 seconds"),
        (is_cancelled, Result.FAILED, "the whole case was cancelled"),
        (is_not_offered, Result.NOT_OFFERED, "we do not do that"),
    ],
)
async def test_a_case_has_one_of_three_results_and_does_not_affect_the_next(
    run: Run, result: Result, reason: str
) -> None:
    """However a case ends, the next one finds a proxy without routes, and passes."""
    subject = FakeSubject()

    first, second = await run_all(subject, [case("first", run, seconds=0.1), case("second", passes)])

    assert (first.result, first.reason) == (result, reason)
    assert (second.result, second.reason) == (Result.PASSED, "")
    assert len(subject.started) == subject.stopped


async def test_cases_that_pass_share_a_proxy() -> None:
    """Starting a proxy takes time, so it is done once for many cases."""
    subject = FakeSubject()

    await run_all(subject, [case(str(number), passes) for number in range(5)])

    assert (len(subject.started), subject.stopped) == (1, 1)


async def test_other_options_and_fresh_cases_get_a_proxy_of_their_own() -> None:
    """Cases are grouped by what they need, but the outcomes are in the order of the cases."""
    subject = FakeSubject()
    based = Options(base_url="/b/")
    cases = [
        case("a", passes),
        case("fresh-1", starts, fresh=True),
        case("b", passes, options=based),
        case("fresh-2", starts, fresh=True),
        case("c", passes),
    ]

    outcomes = await run_all(subject, cases)

    assert [outcome.case for outcome in outcomes] == cases
    assert {outcome.result for outcome in outcomes} == {Result.PASSED}
    assert subject.started == [Options(), Options(), Options(), based]
    assert subject.stopped == 4


async def test_a_proxy_that_refuses_to_start_for_a_case_does_not_offer_it() -> None:
    """A case that cannot be tested has not passed."""
    [outcome] = await run_all(FakeSubject(), [case("tls", passes, options=Options(internal_ssl=True))])

    assert (outcome.result, outcome.reason) == (Result.NOT_OFFERED, "no internal_ssl")


async def test_a_proxy_that_cannot_be_stopped_does_not_prevent_the_next_case() -> None:
    """It fails only the case that needs it to stop."""
    cases = [case("a", fails), case("b", passes), case("fresh", starts, fresh=True)]

    outcomes = await run_all(StubbornSubject(), cases)

    assert [outcome.result for outcome in outcomes] == [Result.FAILED, Result.PASSED, Result.FAILED]
    assert outcomes[2].reason == "afterwards: RuntimeError: it does not stop"


async def test_routes_that_cannot_be_deleted_fail_the_case_that_added_them() -> None:
    """The proxy is broken after a case whose routes cannot be deleted."""

    class Keeps(FakeProxy):
        async def delete_route(self, routespec: str) -> None:
            raise RuntimeError(f"not {routespec}")

    subject = FakeSubject(Keeps)

    first, second = await run_all(subject, [case("a", passes), case("b", starts, fresh=True)])

    assert first.reason == "afterwards, its routes could not be deleted: RuntimeError: not /"
    assert second.result is Result.PASSED


async def test_routes_that_are_silently_kept_do_not_affect_the_next_case() -> None:
    """Only the cases about deletion should fail because of that."""

    class Forgets(FakeProxy):
        async def delete_route(self, routespec: str) -> None:
            pass

    subject = FakeSubject(Forgets)

    outcomes = await run_all(subject, [case("a", passes), case("b", passes)])

    assert [outcome.result for outcome in outcomes] == [Result.PASSED] * 2
    assert subject.stopped == 2


async def test_each_outcome_is_reported_at_once() -> None:
    """A run takes minutes, and somebody may be watching."""
    reported: list[str] = []

    async def look(_: Stage) -> None:
        assert reported == ["test.a"]

    [_, second] = await run_all(
        FakeSubject(), [case("a", passes), case("b", look)], lambda outcome: reported.append(outcome.case.id)
    )

    assert second.result is Result.PASSED
    assert reported == ["test.a", "test.b"]


async def test_a_run_that_is_cancelled_stops_its_proxy() -> None:
    """As with Ctrl-C."""
    subject = FakeSubject()
    running_case = asyncio.Event()

    async def wait(_: Stage) -> None:
        running_case.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(run_all(subject, [case("a", wait)]))
    await running_case.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert subject.stopped == 1


async def test_what_takes_too_long_is_cancelled_and_its_errors_are_ignored() -> None:
    """The timeout is what is reported, not what goes wrong during the cancellation."""
    cancelled = []

    async def fail_when_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)
            raise ValueError("on the way out")

    with pytest.raises(Failed, match=r"^the nap took more than 0.05 seconds$"):
        await within(0.05, fail_when_cancelled(), "the nap")

    assert cancelled
