"""The runner of the conformance suite: what one case does is not seen by the next, and nothing takes for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub.proxy import Proxy
from support.small_proxy import SmallSubject

from traefik_toml_proxy.conformance import Case, Failed, Level, NotOffered, Options, Result, Setting, run_all
from traefik_toml_proxy.conformance.case import Run
from traefik_toml_proxy.conformance.stage import Stage


def case(name: str, run: Run, **more: Any) -> Case:
    """Return a case that does this."""
    return Case(f"test.{name}", Level.REQUIRED, "Rule.", "source", run, **more)


async def _passes(stage: Stage) -> None:
    assert await stage.proxy.get_all_routes() == {}
    ada = await stage.served("/user/ada/")
    await stage.expect_by(ada, "/user/ada/")


async def _fails(stage: Stage) -> None:
    await stage.served("/user/left/")
    raise Failed("as it should")


async def _hangs(stage: Stage) -> None:
    await stage.served("/user/left/")
    await asyncio.Event().wait()


async def _breaks(_: Stage) -> None:
    raise KeyError("oops")


async def _lacks(stage: Stage) -> None:
    await stage.served("/user/left/")
    raise NotOffered("no such thing")


async def test_each_case_ends_in_its_own_way_and_spoils_no_other() -> None:
    """Failed, hanging, broken and not offered: after each, the next case finds a proxy without routes."""
    between = [case(f"passes{number}", _passes) for number in range(5)]
    cases = [
        between[0],
        case("fails", _fails),
        between[1],
        case("hangs", _hangs, seconds=0.3),
        between[2],
        case("breaks", _breaks),
        between[3],
        case("lacks", _lacks),
        between[4],
    ]

    outcomes = await run_all(SmallSubject(), cases)

    assert [(outcome.case.id, outcome.result) for outcome in outcomes if outcome.case not in between] == [
        ("test.fails", Result.FAILED),
        ("test.hangs", Result.FAILED),
        ("test.breaks", Result.FAILED),
        ("test.lacks", Result.NOT_OFFERED),
    ]
    assert {outcome.result for outcome in outcomes if outcome.case in between} == {Result.PASSED}
    assert [outcome.reason for outcome in outcomes if outcome.reason] == [
        "as it should",
        "the whole case took more than 0.3 seconds",
        "KeyError: 'oops'",
        "no such thing",
    ]


class _Starting(SmallSubject):
    """Counts its starts, and cannot do everything."""

    starts = 0

    async def start(self, setting: Setting) -> Proxy:
        self.starts += 1
        if setting.options.tls:
            raise NotOffered("no TLS")
        if setting.options.host_routing:
            raise OSError("it does not start")
        return await super().start(setting)


async def test_a_proxy_that_cannot_start_is_told_for_each_case() -> None:
    """It has failed, or does not offer it; the cases that it can do are run."""
    subject = _Starting()
    cases = [
        case("tls", _passes, options=Options(tls=True)),
        case("hosts", _passes, options=Options(host_routing=True)),
        case("plain", _passes),
    ]

    outcomes = await run_all(subject, cases)

    assert [(outcome.result, outcome.reason) for outcome in outcomes] == [
        (Result.NOT_OFFERED, "no TLS"),
        (Result.FAILED, "OSError: it does not start"),
        (Result.PASSED, ""),
    ]


async def test_cases_share_a_proxy_where_they_can() -> None:
    """Starting one takes longer than most cases; a case that needs its own comes after the others."""
    subject = _Starting()
    told: list[str] = []

    async def starts_its_own(stage: Stage) -> None:
        await stage.start()

    cases = [case("own", starts_its_own, fresh=True), case("one", _passes), case("two", _passes)]
    outcomes = await run_all(subject, cases, lambda outcome: told.append(outcome.case.id))

    assert [outcome.case.id for outcome in outcomes] == ["test.own", "test.one", "test.two"]
    assert sorted(told) == ["test.one", "test.own", "test.two"]
    assert subject.starts == 2
    assert {outcome.result for outcome in outcomes} == {Result.PASSED}


async def test_routes_that_cannot_be_deleted_are_a_failure() -> None:
    """A case leaves the proxy as it was, or the next one would be about something else."""

    class Keeping(SmallSubject):
        async def start(self, setting: Setting) -> Proxy:
            proxy = await super().start(setting)

            async def delete_route(routespec: str) -> None:
                raise OSError(f"{routespec} stays")

            proxy.delete_route = delete_route
            return proxy

    [outcome] = await run_all(Keeping(), [case("one", _passes)])

    assert outcome.result is Result.FAILED
    assert outcome.reason == "afterwards, its routes could not be deleted: OSError: /user/ada/ stays"
