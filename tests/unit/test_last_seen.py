"""traefik_toml_proxy.runtime.last_seen: when routes were last used, judging by samples of sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta, timezone

import pytest

from traefik_toml_proxy.routes import Route
from traefik_toml_proxy.runtime.last_seen import LastSeen
from traefik_toml_proxy.runtime.sock_diag import ESTABLISHED, TIME_WAIT, Socket, Traffic, endpoint

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HTTP, HTTPS = "http://10.0.0.1:8001", "https://10.0.0.1:8001"
TRAEFIK, TARGET = ("10.0.0.9", 40001), ("10.0.0.1", 8001)
# The inodes of Traefik's sockets.
OURS = {7}


def _route(routespec: str = "/user/ada/", target: str = HTTP) -> Route:
    return Route.checked(routespec, target, {})


def _endpoint(where: tuple[str, int]) -> bytes:
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    return endpoint(socket.inet_pton(family, where[0]), where[1])


def _open(
    sent: int, segments: int, *, idle: float = 0, to: tuple[str, int] = TARGET, cookie: int = 1, inode: int = 7
) -> Socket:
    """A connection from Traefik that has sent that much, for the last time ``idle`` seconds ago."""
    traffic = Traffic(int(idle * 1000), sent, segments)
    return Socket(ESTABLISHED, _endpoint(TRAEFIK), _endpoint(to), cookie, 0, inode, traffic)


def _closed(seconds_ago: float, *, by: tuple[str, int], to: tuple[str, int], cookie: int = 1) -> Socket:
    """A connection that one end has closed."""
    return Socket(TIME_WAIT, _endpoint(by), _endpoint(to), cookie, int(60_000 - seconds_ago * 1000), 0, None)


class Watch:
    """Takes samples of given sockets; the first one at noon, and then one every 30 seconds."""

    def __init__(self, *routes: Route) -> None:
        self.last_seen = LastSeen()
        self.routes: Iterable[Route] = routes
        self.names: set[str] = set()
        self.now = NOON - timedelta(seconds=30)

    def sample(self, *sockets: Socket, addresses: Mapping[str, Collection[bytes]] | None = None) -> dict[str, float]:
        """Take the next sample; returns how many seconds after noon each route was last used."""
        self.now += timedelta(seconds=30)
        self.names = self.last_seen.follow(self.routes)
        self.last_seen.record(sockets, OURS, addresses or {}, self.now - timedelta(seconds=0.5), self.now)
        assert all(route in self.routes for route, _ in self.last_seen.known().values())
        return {routespec: (at - NOON).total_seconds() for routespec, (_, at) in self.last_seen.known().items()}


def test_a_route_is_used_when_data_is_sent_to_its_target() -> None:
    """The time is that of the last data, and stays while nothing more is sent."""
    watch = Watch(_route(), _route("/user/bob/", "http://10.0.0.2:8001"))

    assert watch.sample() == {}
    assert watch.sample(_open(500, 1, idle=10)) == {"/user/ada/": 20}
    assert watch.sample(_open(500, 1, idle=40)) == {"/user/ada/": 20}
    assert watch.sample(_open(519, 2, idle=1.5)) == {"/user/ada/": 88.5}
    assert watch.sample() == {"/user/ada/": 88.5}


def test_a_connection_without_data_is_no_use() -> None:
    """As one that was opened but not needed."""
    assert Watch(_route()).sample(_open(0, 0)) == {}


@pytest.mark.parametrize(("target", "pong"), [(HTTP, 6), (HTTPS, 28)])
def test_pongs_are_no_use(target: str, pong: int) -> None:
    """However many there are; but one more byte is."""
    watch = Watch(_route(target=target))
    watch.sample(_open(500, 1, idle=5))

    assert watch.sample(_open(500 + pong, 2, idle=5)) == {"/user/ada/": -5}
    assert watch.sample(_open(500 + 4 * pong, 5, idle=5)) == {"/user/ada/": -5}
    assert watch.sample(_open(500 + 4 * pong + 7, 6, idle=5)) == {"/user/ada/": 85}


@pytest.mark.parametrize(("target", "pong"), [(HTTP, 28), (HTTPS, 6)])
def test_what_has_the_size_of_a_pong_of_the_other_scheme_is_use(target: str, pong: int) -> None:
    """A message of 22 bytes is sent as 28."""
    watch = Watch(_route(target=target))
    watch.sample(_open(500, 1, idle=5))

    assert watch.sample(_open(500 + pong, 2, idle=5)) == {"/user/ada/": 25}


@pytest.mark.parametrize(("sent", "segments"), [(12, 1), (18, 2), (6 + 19, 2), (12, 3), (6, 0)])
def test_other_data_is_use_even_with_pongs_among_it(sent: int, segments: int) -> None:
    """Such as a message of 6 bytes, which is as long as two pongs."""
    watch = Watch(_route())
    watch.sample(_open(500, 1, idle=5))

    assert watch.sample(_open(500 + sent, 1 + segments, idle=5)) == {"/user/ada/": 25}


def test_routes_with_the_same_target_are_used_together() -> None:
    """The connections do not show which of them it was."""
    watch = Watch(_route("/user/ada/"), _route("/user/bob/"), _route("/user/eve/", HTTP + "/base"))

    assert watch.sample(_open(500, 1)) == dict.fromkeys(["/user/ada/", "/user/bob/", "/user/eve/"], 0)


def test_the_connections_of_others_are_no_use() -> None:
    """As when the Hub itself asks a server, or Traefik is asked by somebody who comes from the address of a target."""
    towards = Socket(ESTABLISHED, _endpoint(TARGET), _endpoint(TRAEFIK), 3, 0, 7, Traffic(0, 500, 1))
    unknown = _open(0, 0)._replace(traffic=None)

    assert Watch(_route()).sample(_open(500, 1, inode=8), _open(500, 1, inode=0, cookie=2), towards, unknown) == {}


def test_the_latest_of_several_connections_counts() -> None:
    """In whichever order they are listed."""
    sockets = [_open(500, 1, idle=seconds, cookie=seconds) for seconds in (3, 1, 2)]

    assert Watch(_route()).sample(*sockets) == {"/user/ada/": -1}


def test_a_new_connection_is_not_taken_for_an_old_one() -> None:
    """As when Traefik was restarted, and has sent less since; times from before stay."""
    watch = Watch(_route())
    watch.sample(_open(5000, 9, idle=5))
    assert watch.sample() == {"/user/ada/": -5}

    assert watch.sample(_open(500, 1, idle=5, cookie=2)) == {"/user/ada/": 55}


def test_the_time_never_goes_back() -> None:
    """Even if the clock is set back."""
    watch = Watch(_route())
    watch.sample(_open(500, 1))
    watch.now -= timedelta(hours=1)

    assert watch.sample(_open(900, 2)) == {"/user/ada/": 0}


def test_a_route_that_was_added_again_starts_anew() -> None:
    """What was sent before, over a connection that is still open, does not count for it."""
    watch = Watch(_route())
    watch.sample(_open(500, 1))
    watch.routes = [_route()]

    assert watch.sample(_open(500, 1, idle=30)) == {}
    assert watch.sample(_open(900, 2)) == {"/user/ada/": 60}


def test_a_route_that_has_been_deleted_is_forgotten() -> None:
    """And what was sent while there was no route does not count when it is added again."""
    watch = Watch(_route())
    watch.sample(_open(500, 1))
    watch.routes = []
    assert watch.sample(_open(900, 2)) == {}
    watch.routes = [_route()]

    assert watch.sample(_open(900, 2, idle=31)) == {}


def test_the_first_use_of_a_new_route_counts_even_during_a_sample() -> None:
    """It may have been sent after the connections were listed, but the time of the sample is from before that."""
    watch = Watch()
    watch.sample(_open(500, 1, idle=0.2))
    watch.routes = [_route()]

    assert watch.sample(_open(500, 1, idle=30.2)) == {"/user/ada/": -0.2}


def test_a_connection_that_the_server_has_closed_is_use() -> None:
    """A server that does so after each answer has no connection that lasts until a sample. It counts once."""
    watch = Watch(_route())

    assert watch.sample(_closed(4, by=TARGET, to=TRAEFIK)) == {"/user/ada/": -4}
    assert watch.sample(_closed(33.9, by=TARGET, to=TRAEFIK)) == {"/user/ada/": -4}
    assert watch.sample(_closed(2, by=TARGET, to=TRAEFIK, cookie=2)) == {"/user/ada/": 58}


def test_a_connection_that_traefik_has_closed_is_no_use() -> None:
    """Traefik does so when it was idle for 90 seconds."""
    assert Watch(_route()).sample(_closed(4, by=TRAEFIK, to=TARGET)) == {}


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("http://10.0.0.1", ("10.0.0.1", 80)),
        ("https://10.0.0.1", ("10.0.0.1", 443)),
        ("http://[2001:db8::1]:8001", ("2001:db8::1", 8001)),
        ("http://[::ffff:10.0.0.1]:8001", ("10.0.0.1", 8001)),
        ("http://0.0.0.0:8001", ("127.0.0.1", 8001)),
        ("http://[::]:8001", ("::1", 8001)),
    ],
)
def test_targets_with_addresses(target: str, where: tuple[str, int]) -> None:
    """They have the default port of their scheme, and either family; an unspecified address is the machine itself."""
    watch = Watch(_route(target=target))

    assert watch.sample(_open(500, 1, to=where)) == {"/user/ada/": 0}
    assert watch.names == set()


def test_targets_with_names() -> None:
    """A name has all addresses that it is resolved to now, or none."""
    watch = Watch(_route(target="http://Server-ada:8001"), _route("/user/bob/", "http://server-bob:8001"))
    both = {"server-ada": [b"\x0a\0\0\1", b"\x0a\0\0\2"], "server-bob": [b"\x0a\0\0\3"]}

    watch.sample()
    assert watch.names == {"server-ada", "server-bob"}
    assert watch.sample(_open(500, 1, to=("10.0.0.2", 8001))) == {}
    assert watch.sample(_open(600, 2, to=("10.0.0.2", 8001)), addresses=both) == {"/user/ada/": 60}
    assert watch.sample(_open(500, 1, to=("10.0.0.3", 8001), cookie=2), addresses=both) == {
        "/user/ada/": 60,
        "/user/bob/": 90,
    }


@pytest.mark.parametrize("target", ["http://10.0.0.1:{}", HTTP], ids=["one target each", "the same target"])
def test_a_sample_of_many_connections_takes_little_time(target: str) -> None:
    """The limit is 0.1 seconds for 2,000 sockets; that leaves a slow machine several times what is needed."""
    count = 10_000
    routes = [_route(f"/user/{number}/", target.format(number + 1)) for number in range(count)]
    to = [TARGET if target == HTTP else (TARGET[0], number + 1) for number in range(count)]
    samples = [[_open(sent, 1, to=to[n], cookie=n) for n in range(count)] for sent in (500, 900)]
    last_seen = LastSeen()
    began = time.thread_time()
    for sockets in samples:
        last_seen.follow(routes)
        last_seen.record(sockets, OURS, {}, NOON, NOON)
    took = time.thread_time() - began

    assert len(last_seen.known()) == count
    assert took < len(samples) * count / 2000 * 0.1
