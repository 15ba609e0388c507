"""benchmarks.tables: the routes that are measured, and the floor's file."""

from __future__ import annotations

import toml

from benchmarks.tables import (
    REVISION_HEADER,
    REVISION_PATH,
    Servers,
    existing_entries,
    existing_routespec,
    floor_dynamic,
    floor_static,
    last_existing,
    new_entries,
    revision_router,
)

SERVERS = Servers("http://127.0.0.1:1", "http://127.0.0.1:2")


def test_a_table_is_the_hub_and_its_users() -> None:
    """Each user has a route and a target of its own, and the last one's is there to be asked."""
    entries = list(existing_entries(10_000, SERVERS))

    assert 10_001 == len({entry.routespec for entry in entries}) == len({entry.target for entry in entries})
    assert ("/", SERVERS.hub) == entries[0][:2]
    assert (last_existing(10_000), SERVERS.user) == entries[-1][:2]


def test_all_users_answer_where_they_are_asked() -> None:
    entries = list(existing_entries(10, SERVERS, all_answer=True))

    assert [SERVERS.hub, *[SERVERS.user] * 10] == [entry.target for entry in entries]
    assert existing_routespec(3) == entries[4].routespec


def test_an_empty_table_has_only_the_hub() -> None:
    assert [entry.routespec for entry in existing_entries(0, SERVERS)] == ["/"]
    assert last_existing(0) is None


def test_new_routes_never_come_twice() -> None:
    names = [entry.routespec for entry in [*new_entries(0, 3, SERVERS), *new_entries(3, 3, SERVERS)]]

    assert len(set(names)) == 6


def test_the_floor_has_a_router_and_a_service_for_each_route() -> None:
    tree = toml.loads(floor_dynamic(existing_entries(3, SERVERS), "/c.pem", "/k.pem") + revision_router(7))

    assert len(tree["http"]["services"]) == 4
    assert len(tree["http"]["routers"]) == 5  # and the one that tells the revision
    assert f"Path(`{REVISION_PATH}`)" == tree["http"]["routers"]["benchmark-revision"]["rule"]
    headers = tree["http"]["middlewares"]["benchmark-revision"]["headers"]
    assert headers["customResponseHeaders"] == {REVISION_HEADER: "7"}
    certificate = {"certFile": "/c.pem", "keyFile": "/k.pem"}
    assert tree["tls"]["stores"]["default"]["defaultCertificate"] == certificate


def test_the_floor_listens_where_it_is_told() -> None:
    tree = toml.loads(floor_static("127.0.0.1:5", "/a/dynamic.toml"))

    assert tree["entryPoints"]["http"]["address"] == "127.0.0.1:5"
    assert tree["providers"]["file"]["filename"] == "/a/dynamic.toml"
    assert tree["providers"]["providersThrottleDuration"] == "0s"
