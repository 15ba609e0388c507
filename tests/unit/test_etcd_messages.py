"""What is sent to etcd's gateway, and how its answers are read."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from traefik_toml_proxy.stores.etcd_messages import (
    Event,
    Failure,
    KeyValue,
    Outcome,
    Range,
    Transaction,
    Watched,
    delete,
    get,
    has_lease,
    is_created_at,
    is_modified_at,
    prefix_end,
    put,
    range_request,
    read_failure,
    read_outcome,
    read_range,
    read_watched,
    watch_request,
)


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


HEADER = {"cluster_id": "18446744073709551615", "revision": "9007199254740993"}


def test_a_put_has_its_lease() -> None:
    assert put(b"k", b"\xff", 7) == {"request_put": {"key": b64("k"), "value": "/w==", "lease": "7"}}


def test_a_put_without_a_lease_names_none() -> None:
    assert put(b"k", b"v") == {"request_put": {"key": b64("k"), "value": b64("v")}}


def test_a_range_names_only_what_is_set() -> None:
    assert get(b"a") == {"request_range": {"key": b64("a")}}
    assert range_request(b"a", b"b", limit=5, revision=6, count_only=True) == {
        "key": b64("a"),
        "range_end": b64("b"),
        "limit": "5",
        "revision": "6",
        "count_only": True,
    }


def test_a_delete_is_of_one_key_or_of_a_range() -> None:
    assert delete(b"a") == {"request_delete_range": {"key": b64("a")}}
    assert delete(b"a", b"b") == {"request_delete_range": {"key": b64("a"), "range_end": b64("b")}}


def test_a_prefix_ends_before_the_next_one() -> None:
    assert prefix_end(b"/hub/") == b"/hub0"


def test_a_transaction_has_all_its_parts() -> None:
    compare = [is_created_at(b"k", 0), is_modified_at(b"k", 3), has_lease(b"k", 2**62)]
    request = Transaction(compare, [put(b"k", b"v")], [get(b"k")]).request()

    assert request == {
        "compare": [
            {"key": b64("k"), "target": "CREATE", "result": "EQUAL", "create_revision": "0"},
            {"key": b64("k"), "target": "MOD", "result": "EQUAL", "mod_revision": "3"},
            {"key": b64("k"), "target": "LEASE", "result": "EQUAL", "lease": "4611686018427387904"},
        ],
        "success": [put(b"k", b"v")],
        "failure": [get(b"k")],
    }


def test_a_watch_starts_at_its_revision() -> None:
    request = watch_request(b"a", b"b", 4)

    assert request == {"create_request": {"key": b64("a"), "range_end": b64("b"), "start_revision": "4"}}


def test_a_range_is_read_exactly() -> None:
    """64-bit numbers are strings, and what has its default value is left out."""
    answer = {
        "header": HEADER,
        "kvs": [
            {"key": b64("a"), "value": b64("v"), "create_revision": "5", "mod_revision": "6"},
            {"key": b64("b")},
        ],
        "count": "12",
    }

    found = (KeyValue(b"a", b"v", 5, 6), KeyValue(b"b", b"", 0, 0))
    assert read_range(answer) == Range(18446744073709551615, 9007199254740993, found, 12)


def test_an_empty_range_is_read() -> None:
    assert read_range({}) == Range(0, 0, (), 0)


def test_the_outcome_of_a_transaction_is_read() -> None:
    """Only its ranges have results; their own headers have no cluster."""
    part = {"header": {"revision": "3"}, "kvs": [{"key": b64("a"), "value": b64("v")}], "count": "1"}
    answer = {"header": HEADER, "succeeded": True, "responses": [{"response_put": {}}, {"response_range": part}]}

    outcome = read_outcome(answer)

    cluster, revision = 18446744073709551615, 9007199254740993
    ranges = (Range(cluster, revision, (KeyValue(b"a", b"v", 0, 0),), 1),)
    assert outcome == Outcome(cluster, revision, succeeded=True, ranges=ranges)
    assert not read_outcome({"header": HEADER}).succeeded


def line(**result: Any) -> bytes:
    return json.dumps({"result": {"header": HEADER} | result}).encode()


def test_the_events_of_a_watch_are_read() -> None:
    message = read_watched(
        line(
            events=[
                {"kv": {"key": b64("a"), "value": b64("v"), "mod_revision": "4"}},
                {"type": "DELETE", "kv": {"key": b64("b"), "mod_revision": "5"}},
            ]
        )
    )

    events = (Event(b"a", b"v", 4), Event(b"b", None, 5))
    assert message == Watched(9007199254740993, created=False, compacted=0, cancelled=None, events=events)


def test_the_begin_and_the_end_of_a_watch_are_read() -> None:
    begin, end = read_watched(line(created=True)), read_watched(line(canceled=True, compact_revision="8"))

    assert isinstance(begin, Watched)
    assert isinstance(end, Watched)
    assert (begin.created, begin.cancelled) == (True, None)
    assert (end.compacted, end.cancelled) == (8, "''")


@pytest.mark.parametrize("number", ["grpc_code", "code"])
def test_a_watch_that_fails_says_why(number: str) -> None:
    message = read_watched(json.dumps({"error": {number: 14, "message": "no leader"}}).encode())

    assert message == Failure(14, "'no leader'")


def test_a_failure_is_read() -> None:
    assert read_failure(400, b'{"error":"a","message":"b","code":3}') == Failure(3, "'b'")
    assert read_failure(400, b'{"error":"a","code":3}') == Failure(3, "'a'")


@pytest.mark.parametrize("body", [b"404 page not found\n", b"[]", b"3", b'{"code": null}', b"{}", b"\xff"])
def test_a_failure_that_is_not_of_etcd_is_quoted(body: bytes) -> None:
    failure = read_failure(404, body)

    assert failure.code is None
    assert failure.message.startswith("status 404, '")


@pytest.mark.parametrize(
    ("code", "message", "kinds"),
    [
        (14, "etcdserver: no leader", {"is_unknown"}),
        (2, "context deadline exceeded", {"is_unknown"}),
        (16, "etcdserver: invalid auth token", {"is_stale_token"}),
        (3, "etcdserver: revision of auth store is old", {"is_stale_token"}),
        (3, "etcdserver: key is not provided", set()),
        (7, "etcdserver: permission denied", {"is_denied"}),
        (5, "etcdserver: requested lease not found", {"is_not_found"}),
        (11, "etcdserver: mvcc: required revision has been compacted", {"is_compacted"}),
        (8, "etcdserver: mvcc: database space exceeded", set()),
        (None, "status 404", set()),
    ],
)
def test_failures_are_told_apart(code: int | None, message: str, kinds: set[str]) -> None:
    failure = Failure(code, message)

    names = ("is_unknown", "is_stale_token", "is_denied", "is_not_found", "is_compacted")
    assert {name for name in names if getattr(failure, name)} == kinds


@pytest.mark.parametrize(
    ("reason", "is_denied", "is_stale_token"),
    [
        ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", True, False),
        ("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", False, True),
        ("etcdserver: revision of auth store is old", False, True),
        ("etcdserver: no leader", False, False),
    ],
)
def test_the_reason_for_the_end_of_a_watch(reason: str, is_denied: bool, is_stale_token: bool) -> None:
    """It tells whether to log in again, to give up, or to try another member."""
    failure = Failure.of_watch(reason)

    assert (failure.is_denied, failure.is_stale_token) == (is_denied, is_stale_token)
    assert failure.is_unknown == (not is_denied and not is_stale_token)
