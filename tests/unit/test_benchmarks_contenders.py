"""benchmarks.contenders: each can be loaded by its name, and the files of the floor."""

from __future__ import annotations

import pytest
import toml

from benchmarks.contenders import FLOORS, NAMES, contender_class
from benchmarks.contenders.base import Contender
from benchmarks.contenders.floor_files import (
    REVISION_HEADER,
    REVISION_PATH,
    floor_dynamic,
    floor_static,
    revision_router,
)
from benchmarks.workload import Servers, existing_entries

SERVERS = Servers("http://127.0.0.1:1", "http://127.0.0.1:2")


@pytest.mark.parametrize("name", [*NAMES, "before"])
def test_a_contender_is_found_by_its_name(name: str) -> None:
    found = contender_class(name)

    assert issubclass(found, Contender)
    assert found.is_bare == (name in FLOORS)


def test_the_floor_has_a_router_and_a_service_for_each_route() -> None:
    tree = toml.loads(floor_dynamic(existing_entries(3, SERVERS), "/c.pem", "/k.pem") + revision_router(7))

    assert len(tree["http"]["services"]) == 4
    assert len(tree["http"]["routers"]) == 5  # one more for the revision
    assert f"Path(`{REVISION_PATH}`)" == tree["http"]["routers"]["benchmark-revision"]["rule"]
    headers = tree["http"]["middlewares"]["benchmark-revision"]["headers"]
    assert headers["customResponseHeaders"] == {REVISION_HEADER: "7"}
    certificate = {"certFile": "/c.pem", "keyFile": "/k.pem"}
    assert tree["tls"]["stores"]["default"]["defaultCertificate"] == certificate


def test_the_floor_listens_at_the_given_address() -> None:
    tree = toml.loads(floor_static("127.0.0.1:5", "/a/dynamic.toml"))

    assert tree["entryPoints"]["http"]["address"] == "127.0.0.1:5"
    assert tree["providers"]["file"]["filename"] == "/a/dynamic.toml"
    assert tree["providers"]["providersThrottleDuration"] == "0s"
