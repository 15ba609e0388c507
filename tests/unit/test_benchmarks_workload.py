"""benchmarks.workload: the routes that are measured."""

from __future__ import annotations

from benchmarks.workload import Servers, existing_entries, existing_routespec, last_existing, new_entries

SERVERS = Servers("http://127.0.0.1:1", "http://127.0.0.1:2")


def test_a_table_is_the_hub_and_its_users() -> None:
    """Each user has a route and a target of its own, and the last route leads to a server that answers."""
    entries = list(existing_entries(10_000, SERVERS))

    assert 10_001 == len({entry.routespec for entry in entries}) == len({entry.target for entry in entries})
    assert ("/", SERVERS.hub) == entries[0][:2]
    assert (last_existing(10_000), SERVERS.user) == entries[-1][:2]


def test_all_routes_can_lead_to_a_server_that_answers() -> None:
    entries = list(existing_entries(10, SERVERS, all_answer=True))

    assert [SERVERS.hub, *[SERVERS.user] * 10] == [entry.target for entry in entries]
    assert existing_routespec(3) == entries[4].routespec


def test_an_empty_table_has_only_the_hub() -> None:
    assert [entry.routespec for entry in existing_entries(0, SERVERS)] == ["/"]
    assert last_existing(0) is None


def test_new_routes_never_repeat() -> None:
    names = [entry.routespec for entry in [*new_entries(0, 3, SERVERS), *new_entries(3, 3, SERVERS)]]

    assert len(set(names)) == 6
