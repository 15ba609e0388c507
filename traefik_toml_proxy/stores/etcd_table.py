"""How the routes, and what is known of the replicas that serve them, are kept in etcd: keys and values. Pure.

::

    <root>/leader                     who may write; has the lease of the Hub
    <root>/table/head                 what the table is: see Head
    <root>/table/routes/<routespec>   {"target", "data"}; keys are bytes, so the routespec needs no escapes
    <root>/replicas/<id>              what a replica serves: see Report; has the lease of its agent
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from ..errors import ConfigurationError, InvalidRoute, quoted
from ..routes import Route
from .etcd_messages import Json, delete, prefix_end, put

# The version of the format.
_FORMAT = 1

# etcd takes 128 operations (--max-txn-ops) and 1.5 MiB (--max-request-bytes) in one transaction, by default.
_MOST_OPERATIONS = 120
_MOST_BYTES = 2**20
# What a key and a value take besides their own bytes, roughly.
_OVERHEAD = 32


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one table.

    Attributes:
        root: What they all begin with, without a slash at the end.
    """

    root: str

    @classmethod
    def below(cls, root: str) -> Keys:
        """Return the keys below a root that an admin has set.

        Raises:
            ConfigurationError: If it is empty.
        """
        stripped = root.rstrip("/")
        if not stripped:
            raise ConfigurationError('etcd_root is empty; each Hub needs its own, such as "/jupyterhub".')
        return cls(stripped)

    def _key(self, name: str) -> bytes:
        return f"{self.root}/{name}".encode("utf-8", "surrogateescape")

    @property
    def leader(self) -> bytes:
        """The key of who may write."""
        return self._key("leader")

    @property
    def head(self) -> bytes:
        """The key of the head."""
        return self._key("table/head")

    @property
    def table(self) -> tuple[bytes, bytes]:
        """The range of the head and the routes."""
        prefix = self._key("table/")
        return prefix, prefix_end(prefix)

    @property
    def routes(self) -> tuple[bytes, bytes]:
        """The range of the routes."""
        prefix = self._key("table/routes/")
        return prefix, prefix_end(prefix)

    @property
    def replicas(self) -> tuple[bytes, bytes]:
        """The range of the replicas."""
        prefix = self._key("replicas/")
        return prefix, prefix_end(prefix)

    def route(self, routespec: str) -> bytes:
        """Return the key of a route."""
        return self._key(f"table/routes/{routespec}")

    def routespec_of(self, key: bytes) -> str:
        """Return the routespec in a key of :attr:`routes`; it may be one that no route has."""
        return key[len(self.routes[0]) :].decode("utf-8", "surrogateescape")

    def replica(self, name: str) -> bytes:
        """Return the key of a replica."""
        return self._key(f"replicas/{name}")

    def replica_of(self, key: bytes) -> str:
        """Return the name in a key of :attr:`replicas`."""
        return key[len(self.replicas[0]) :].decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Head:
    """What the table is. Each transaction that changes the table writes it.

    Attributes:
        revision: The revision of the snapshot.
        secret: The secret path that begins the path of the revision route.
        count: How many routes there are.
        mark: Tells this transaction from all others, so that its writer knows it again after a lost answer.
        hub_url: The URL of the Hub's own pages, for error pages; "" if there are none.
        base: If more transactions follow, the revision of etcd at which the last whole table was; else 0.
    """

    revision: int
    secret: str
    count: int
    mark: str
    hub_url: str = ""
    base: int = 0

    def to_bytes(self) -> bytes:
        """Return the value of its key."""
        return _dump({"format": _FORMAT} | asdict(self))


def read_head(value: bytes) -> Head:
    """Read the value of the head.

    Raises:
        ValueError: If it is not one, or of another format.
    """
    found = _load(value)
    if found.get("format") != _FORMAT:
        raise ValueError(f"the table has format {quoted(repr(found.get('format')))}; this version reads {_FORMAT}")
    match found:
        case {
            "revision": int(revision),
            "secret": str(secret),
            "count": int(count),
            "mark": str(mark),
            "hub_url": str(hub_url),
            "base": int(base),
        }:
            return Head(revision, secret, count, mark, hub_url, base)
    raise ValueError(f"the head of the table is incomplete: {quoted(repr(value))}")


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent says about its replica.

    Attributes:
        revision: The revision that its entry point serves; None if that is not known.
        secret: The secret path under which it serves that.
        url: Where its peers can ask how fresh it is; "" if nowhere.
        ready: Whether it should get requests.
    """

    revision: int | None
    secret: str
    url: str
    ready: bool

    def to_bytes(self) -> bytes:
        """Return the value of its key."""
        return _dump(asdict(self))


def read_report(value: bytes) -> Report:
    """Read the value of a replica.

    Raises:
        ValueError: If it is not one.
    """
    match _load(value):
        case {"revision": int() | None as revision, "secret": str(secret), "url": str(url), "ready": bool(ready)}:
            return Report(revision, secret, url, ready)
    raise ValueError(f"the report of a replica is incomplete: {quoted(repr(value))}")


def leader_value(owner: str, token: str) -> bytes:
    """Return the value of the leader: a text for people, and a token that nobody else has."""
    return _dump({"owner": owner, "token": token})


def owner_in(value: bytes) -> str:
    """Return the text in the value of the leader."""
    try:
        return str(_load(value).get("owner", "an unknown process"))
    except ValueError:
        return "an unknown process"


def route_value(route: Route) -> bytes:
    """Return the value of a route."""
    return f'{{"target":{json.dumps(route.target)},"data":{route.data_json}}}'.encode()


def read_route(routespec: str, value: bytes) -> Route:
    """Read the value of a route.

    Raises:
        ValueError: If it is not one that can be served.
    """
    match _load(value):
        case {"target": str(target), "data": data}:
            return Route.read(routespec, target, data)
    raise ValueError(f"the route {quoted(routespec)} is incomplete")


def check_size(keys: Keys, route: Route) -> None:
    """Check that a route fits into a transaction.

    Raises:
        InvalidRoute: If it does not.
    """
    size = _size(keys.route(route.routespec), route_value(route))
    if size > _MOST_BYTES:
        raise InvalidRoute(route.routespec, f"with its data it has {size} bytes, but etcd takes {_MOST_BYTES}")


def _size(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + _OVERHEAD


@dataclass(slots=True)
class Step:
    """The changes of one transaction.

    Attributes:
        operations: What etcd is to do, without the head.
        routes: The same by routespec: the new route, or None for one that is deleted.
    """

    operations: list[Json]
    routes: dict[str, Route | None]


def plan(keys: Keys, stored: Mapping[str, Route | None], table: Iterable[Route]) -> list[Step]:
    """Return the transactions that turn what is stored into a table; at least one, whose operations may be none.

    Args:
        keys: The keys.
        stored: What etcd has, by routespec; None for something that is not a valid route.
        table: The routes to have.
    """
    steps = [Step([], {})]
    size = 0
    for routespec, route in _changes(stored, table):
        key = keys.route(routespec)
        value = b"" if route is None else route_value(route)
        size += _size(key, value)
        # One operation is left for the head.
        if steps[-1].operations and (size > _MOST_BYTES or len(steps[-1].operations) >= _MOST_OPERATIONS - 1):
            steps.append(Step([], {}))
            size = _size(key, value)
        steps[-1].operations.append(delete(key) if route is None else put(key, value))
        steps[-1].routes[routespec] = route
    return steps


def _changes(stored: Mapping[str, Route | None], table: Iterable[Route]) -> Iterator[tuple[str, Route | None]]:
    wanted = {route.routespec: route for route in table}
    # Deletions come first, since a place may get another spelling.
    for routespec in stored:
        if routespec not in wanted:
            yield routespec, None
    for routespec, route in wanted.items():
        before = stored.get(routespec)
        if before is not route and before != route:
            yield routespec, route


def _dump(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _load(value: bytes) -> Json:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{quoted(repr(value))} is not JSON ({quoted(str(error))})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{quoted(repr(value))} is not a JSON object")
    return found
