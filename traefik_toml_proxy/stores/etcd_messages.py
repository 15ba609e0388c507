"""Makes the requests to etcd's JSON gateway, and reads its answers. Pure.

The gateway takes each gRPC message as JSON: bytes are base64, and 64-bit numbers are strings (etcd,
api/etcdserverpb/rpc.proto). A field that has its default value is left out of an answer.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import quoted

Json = dict[str, Any]

# Numbers of gRPC errors (google.golang.org/grpc/codes).
_CANCELLED, _UNKNOWN, _INVALID, _DEADLINE, _NOT_FOUND, _DENIED = 1, 2, 3, 4, 5, 7
_EXHAUSTED, _OUT_OF_RANGE, _INTERNAL, _UNAVAILABLE, _UNAUTHENTICATED = 8, 11, 13, 14, 16


class KeyValue(NamedTuple):
    """A key and its value, the revisions of etcd at which it was made and last set, and its lease or 0."""

    key: bytes
    value: bytes
    created: int
    modified: int
    lease: int = 0


class Range(NamedTuple):
    """The keys that were read.

    Attributes:
        cluster: The id of the cluster that answered.
        revision: Its revision.
        found: The keys in order.
        total: How many keys there are in the range, which may be more than were asked for.
    """

    cluster: int
    revision: int
    found: tuple[KeyValue, ...]
    total: int


class Outcome(NamedTuple):
    """What a transaction has done.

    Attributes:
        cluster: The id of the cluster that answered.
        revision: Its revision after the transaction.
        succeeded: Whether all comparisons were true.
        ranges: What the ranges among the operations have found, in order.
    """

    cluster: int
    revision: int
    succeeded: bool
    ranges: tuple[Range, ...]


class Event(NamedTuple):
    """A change of one key; without a value it was deleted."""

    key: bytes
    value: bytes | None
    modified: int


class Watched(NamedTuple):
    """A message of a watch.

    Attributes:
        revision: The revision of the cluster.
        created: Whether it only says that the watch has begun.
        compacted: The oldest revision that can still be watched, if the watch has ended for that reason; else 0.
        cancelled: Why the watch has ended, or None.
        events: The changes in order; those of one transaction are all in one message.
    """

    revision: int
    created: bool
    compacted: int
    cancelled: str | None
    events: tuple[Event, ...]


class Failure(NamedTuple):
    """An error that etcd has answered.

    Attributes:
        code: Its gRPC number; None if the answer is not etcd's.
        message: What it says, quoted where necessary.
    """

    code: int | None
    message: str

    @classmethod
    def of_watch(cls, reason: str) -> Failure:
        """Return what the end of a watch means, for which etcd gives a reason instead of a number.

        For an expired token that is "invalid auth token" in 3.4, and "permission denied" in 3.5
        (server/etcdserver/api/v3rpc/watch.go).
        """
        numbers = {"permission denied": _DENIED, "auth token": _UNAUTHENTICATED, "revision of auth store": _INVALID}
        return cls(next((number for words, number in numbers.items() if words in reason), _UNAVAILABLE), reason)

    @property
    def is_unknown(self) -> bool:
        """Whether the request may have been carried out all the same, or may be if it is sent again.

        Without a quorum, a transaction ends with the number for "unknown", and a read with that for "unavailable".
        """
        return self.code in (_CANCELLED, _UNKNOWN, _DEADLINE, _INTERNAL, _UNAVAILABLE)

    @property
    def is_stale_token(self) -> bool:
        """Whether to log in again: the token has expired, the member was restarted, or the users have changed."""
        return self.code == _UNAUTHENTICATED or (self.code == _INVALID and "revision of auth store" in self.message)

    @property
    def is_denied(self) -> bool:
        """Whether the user may not do that. A new watch with an expired token is answered like this as well (etcd 3.5)."""
        return self.code == _DENIED

    @property
    def is_not_found(self) -> bool:
        """Whether there is no such lease."""
        return self.code == _NOT_FOUND

    @property
    def is_compacted(self) -> bool:
        """Whether the revision that was asked for is no longer kept."""
        return self.code == _OUT_OF_RANGE


# Parts of requests.


def text_of(data: bytes) -> str:
    """Return bytes in the form of the gateway."""
    return b64encode(data).decode()


def prefix_end(prefix: bytes) -> bytes:
    """Return the end of the range of all keys that begin with a prefix, whose last byte is not 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def put(key: bytes, value: bytes, lease: int = 0) -> Json:
    """Return the operation that sets a key, which goes when its lease does; 0 is none."""
    body: Json = {"key": text_of(key), "value": text_of(value)}
    return {"request_put": body | ({"lease": str(lease)} if lease else {})}


def delete(key: bytes, end: bytes = b"") -> Json:
    """Return the operation that deletes a key, or all keys from it to ``end``."""
    return {"request_delete_range": _keys(key, end)}


def get(key: bytes, end: bytes = b"", *, limit: int = 0, revision: int = 0, count_only: bool = False) -> Json:
    """Return the operation that reads a key, or all keys from it to ``end``.

    Args:
        key: The key, or the first one.
        end: The key after the last one; empty for one key.
        limit: The most keys to read; 0 is all.
        revision: The revision of etcd at which to read; 0 is now.
        count_only: Whether only to count them.
    """
    return {"request_range": range_request(key, end, limit=limit, revision=revision, count_only=count_only)}


def range_request(key: bytes, end: bytes, *, limit: int = 0, revision: int = 0, count_only: bool = False) -> Json:
    """Return the request for a range. Arguments as for :func:`get`."""
    body = _keys(key, end)
    if limit:
        body["limit"] = str(limit)
    if revision:
        body["revision"] = str(revision)
    if count_only:
        body["count_only"] = True
    return body


def _keys(key: bytes, end: bytes) -> Json:
    return {"key": text_of(key)} | ({"range_end": text_of(end)} if end else {})


def is_created_at(key: bytes, revision: int) -> Json:
    """Return the comparison that is true if a key was made at that revision of etcd; 0 is true if there is none."""
    return {"key": text_of(key), "target": "CREATE", "result": "EQUAL", "create_revision": str(revision)}


def is_modified_at(key: bytes, revision: int) -> Json:
    """Return the comparison that is true if a key was last set at that revision of etcd; 0 is true if there is none."""
    return {"key": text_of(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def has_lease(key: bytes, lease: int) -> Json:
    """Return the comparison that is true if a key has that lease."""
    return {"key": text_of(key), "target": "LEASE", "result": "EQUAL", "lease": str(lease)}


@dataclass(frozen=True, slots=True)
class Transaction:
    """Operations that are all carried out, or none.

    Attributes:
        compare: What must be true.
        then: The operations if it is.
        otherwise: The operations if it is not.
    """

    compare: Sequence[Json]
    then: Sequence[Json]
    otherwise: Sequence[Json] = ()

    def request(self) -> Json:
        """Return the request."""
        return {"compare": [*self.compare], "success": [*self.then], "failure": [*self.otherwise]}


def watch_request(key: bytes, end: bytes, revision: int) -> Json:
    """Return the request for all changes of the keys from ``key`` to ``end``, from a revision of etcd on."""
    return {"create_request": _keys(key, end) | {"start_revision": str(revision)}}


# Answers.


def read_range(answer: Mapping[str, Any]) -> Range:
    """Read the answer to a range."""
    cluster, revision = _header(answer)
    found = tuple(_key_value(entry) for entry in answer.get("kvs", ()))
    return Range(cluster, revision, found, int(answer.get("count", 0)))


def read_outcome(answer: Mapping[str, Any]) -> Outcome:
    """Read the answer to a transaction."""
    cluster, revision = _header(answer)
    ranges = [entry["response_range"] for entry in answer.get("responses", ()) if "response_range" in entry]
    # The header of an operation inside has the revision only.
    parts = tuple(read_range(part)._replace(cluster=cluster, revision=revision) for part in ranges)
    return Outcome(cluster, revision, bool(answer.get("succeeded")), parts)


def read_watched(line: bytes) -> Watched | Failure:
    """Read a line of the answer to a watch.

    Raises:
        ValueError: If it is not one.
    """
    message = json.loads(line)
    if "error" in message:
        error = message["error"]
        return Failure(int(error.get("grpc_code", error.get("code", _UNKNOWN))), quoted(error.get("message", "")))
    result = message["result"]
    _, revision = _header(result)
    compacted = int(result.get("compact_revision", 0))
    cancelled = quoted(result.get("cancel_reason", "")) if result.get("canceled") else None
    events = tuple(_event(entry) for entry in result.get("events", ()))
    return Watched(revision, bool(result.get("created")), compacted, cancelled, events)


def read_failure(status: int, body: bytes) -> Failure:
    """Read an answer with another HTTP status than 200."""
    try:
        answer = json.loads(body)
        return Failure(int(answer["code"]), quoted(answer.get("message") or answer.get("error", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Failure(None, f"status {status}, {quoted(body.decode('utf-8', 'replace'), 80)}")


def _header(answer: Mapping[str, Any]) -> tuple[int, int]:
    header = answer.get("header", {})
    return int(header.get("cluster_id", 0)), int(header.get("revision", 0))


def _key_value(entry: Mapping[str, Any]) -> KeyValue:
    return KeyValue(
        b64decode(entry["key"]),
        b64decode(entry.get("value", "")),
        int(entry.get("create_revision", 0)),
        int(entry.get("mod_revision", 0)),
        int(entry.get("lease", 0)),
    )


def _event(entry: Mapping[str, Any]) -> Event:
    item = _key_value(entry["kv"])
    return Event(item.key, None if entry.get("type") == "DELETE" else item.value, item.modified)
