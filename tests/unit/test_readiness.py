"""When a replica may get requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from traefik_toml_proxy.agent.readiness import Limits, Peer, Served, State, judge

LIMITS = Limits.of_lease(10, offline=30)
NOW = 1000.0
# An agent that is well: it has renewed its lease a second ago, and serves what it must.
WELL = State(started=0.0, renewed=NOW - 1, serves=Served("/s", 7), is_member=True)


def peers(*ages: float | None, asked: float = NOW - 0.5) -> dict[str, Peer | None]:
    """Return what other agents have answered, by how long ago they renewed their leases."""
    return {str(n): None if age is None else Peer(asked, NOW - age) for n, age in enumerate(ages)}


def test_the_limits_leave_the_balancer_most_of_the_lease() -> None:
    assert Limits(oldest=4, fresh=2, offline=30) == LIMITS


def test_a_replica_that_is_well_is_ready() -> None:
    assert judge(WELL, LIMITS, NOW) == (True, "Traefik serves revision 7")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (replace(WELL, is_leaving=True), "about to end"),
        (replace(WELL, serves=None), "does not serve the routes"),
        (replace(WELL, is_stuck=True), "cannot be written here"),
        (replace(WELL, is_replaced=True), "another agent has the same replica_name"),
        (replace(WELL, has_withdrawn=True), "the Hub does not know yet"),
        (replace(WELL, required=Served("/s", 8)), "serves revision 7, not 8 yet"),
        (replace(WELL, required=Served("/other", 3)), "serves revision 7, not 3 yet"),
    ],
)
def test_a_replica_that_is_not_well_says_why(state: State, reason: str) -> None:
    verdict = judge(state, LIMITS, NOW)

    assert not verdict.ready
    assert reason in verdict.reason


def test_it_is_enough_to_serve_what_was_current_when_the_hub_began_to_wait() -> None:
    assert judge(replace(WELL, required=Served("/s", 7)), LIMITS, NOW).ready
    assert judge(replace(WELL, required=Served("/s", 6)), LIMITS, NOW).ready


def test_what_was_on_the_disk_is_served_after_a_while_without_etcd() -> None:
    """So that users get an answer if etcd stays down."""
    state = State(started=NOW - 29)

    assert judge(state, LIMITS, NOW) == (False, "etcd has not answered yet; what is on the disk is served in 1 s")
    assert judge(state, LIMITS, NOW + 1).ready


def test_what_was_on_the_disk_is_not_served_if_another_agent_reaches_etcd() -> None:
    """Then that one may serve later routes, and the Hub does not wait for this one."""
    state = State(started=NOW - 60, peers=peers(None, 3.5))

    assert not judge(state, LIMITS, NOW).ready
    assert judge(replace(state, peers=peers(None, 4.5)), LIMITS, NOW).ready


def test_a_replica_that_never_had_routes_waits_for_etcd() -> None:
    """It would answer everybody with 404, while others serve what they had last."""
    verdict = judge(State(started=NOW - 1000, has_routes=False), LIMITS, NOW)

    assert verdict == (False, "etcd has not answered yet, and there are no routes on the disk")
    assert judge(replace(WELL, has_routes=False), LIMITS, NOW).ready


# Without an answer from etcd for longer than the limit.
CUT_OFF = replace(WELL, renewed=NOW - 5)


def test_alone_without_etcd_it_goes_on() -> None:
    assert judge(CUT_OFF, LIMITS, NOW).ready


def test_alone_after_it_was_frozen_it_waits_for_etcd() -> None:
    """Others may have come meanwhile. With an answer from one of them, it is judged as always."""
    frozen = replace(CUT_OFF, was_frozen=True)

    assert judge(frozen, LIMITS, NOW) == (False, "the agent was frozen, and has not heard from etcd since")
    assert judge(replace(frozen, peers=peers(5.0)), LIMITS, NOW).ready
    assert judge(replace(WELL, was_frozen=True), LIMITS, NOW).ready


def test_if_no_agent_reaches_etcd_all_go_on() -> None:
    assert judge(replace(CUT_OFF, peers=peers(4.5, 6)), LIMITS, NOW).ready


def test_if_another_agent_reaches_etcd_it_is_not_ready() -> None:
    """Then the Hub may soon go on without this replica."""
    verdict = judge(replace(CUT_OFF, peers=peers(None, 0.5)), LIMITS, NOW)

    assert not verdict.ready
    assert "another agent 0.5 s ago" in verdict.reason


@pytest.mark.parametrize("answers", [peers(None), peers(5.0, asked=NOW - 60)])
def test_if_nobody_answers_any_more_it_is_not_ready(answers: dict[str, Peer | None]) -> None:
    """Not even another agent. What one has said before this one was frozen does not count."""
    assert not judge(replace(CUT_OFF, peers=answers), LIMITS, NOW).ready


def test_a_replica_that_has_lost_its_lease_is_judged_by_the_others() -> None:
    """However lately that was renewed."""
    state = replace(WELL, is_member=False, renewed=NOW - 3)

    assert judge(state, LIMITS, NOW).ready
    assert not judge(replace(state, peers=peers(0.5)), LIMITS, NOW).ready
