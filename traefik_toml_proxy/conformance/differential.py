"""Random requests over random route tables, sent through two proxies: do they route alike? Does I/O through the stage.

A difference is reduced to the smallest table and path that show it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from .backend import Backend
from .case import Options
from .stage import Stage
from .subject import Subject

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

# What is asked for: a table of routespecs, and a path.
_Request = tuple[tuple[str, ...], str]

# The most routes in one table.
_ROUTES = 6


@dataclass(frozen=True, slots=True)
class KnownDifference:
    """Paths that a proxy may route differently, for a reason.

    Attributes:
        path: Is searched for in a path, which may have a query.
        reason: Why the proxies may differ.
    """

    path: re.Pattern[str]
    reason: str


#: Paths that proxies read differently because the standards forbid them or leave their meaning open. Neither browsers nor
#: JupyterHub send them.
AMBIGUOUS_PATHS = (
    KnownDifference(re.compile("%2f", re.IGNORECASE), "RFC 3986 section 2.2: an encoded slash need not end a segment"),
    KnownDifference(
        re.compile(r"(^|/)(\.|%2e){1,2}(/|$|\?)", re.IGNORECASE),
        "RFC 3986 section 5.2.4: the client resolves dot segments; not every proxy does it again",
    ),
    KnownDifference(re.compile("^//"), "RFC 3986 section 4.2: two slashes may start a host, or a path"),
    KnownDifference(
        re.compile(r"\\|%5c", re.IGNORECASE),
        "RFC 3986 has no backslash, and the URL standard of browsers takes it for a slash",
    ),
    KnownDifference(
        re.compile(r"%(?![0-9A-Fa-f]{2})"), "RFC 3986 section 2.1: a percent sign is followed by two hex digits"
    ),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A request that two proxies send to different routes.

    Attributes:
        table: The routespecs.
        path: The path of the request.
        here: The routespec of the route that it took here, or None.
        there: The routespec of the route that it took through the other proxy, or None.
    """

    table: tuple[str, ...]
    path: str
    here: str | None
    there: str | None

    def __str__(self) -> str:
        return f"with the routes {list(self.table)}, GET {self.path} goes to {self.here} here and to {self.there} there"


class _Found(Exception):
    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


class _Pair:
    """Two running proxies with the same table."""

    def __init__(self, here: Subject, there: Subject) -> None:
        self._stages = Stage(here, Options()), Stage(there, Options())
        self._backends = [Backend(str(number)) for number in range(_ROUTES)]
        self._table: tuple[str, ...] = ()

    async def start(self) -> None:
        for backend in self._backends:
            await backend.__aenter__()
        for stage in self._stages:
            await stage.prepare()
            await stage.start()

    async def close(self) -> None:
        for stage in reversed(self._stages):
            await stage.close()
        for backend in self._backends:
            await backend.close()

    async def ask(self, table: tuple[str, ...], path: str) -> Difference | None:
        """Return how the two differ on a request, or None if they do not."""
        if table != self._table:
            self._table = ()
            here, there = self._stages
            for stage in (here, there):
                await stage.clear()
            if any(await self._add(there, table)):
                return None  # the other proxy refuses such a route, so there is nothing to compare with
            for refusal in await self._add(here, table):
                if refusal is not None:
                    raise refusal
            self._table = table
        taken = []
        for stage in self._stages:
            name = (await stage.get(path)).by
            taken.append(None if name is None else table[int(name)])
        route_here, route_there = taken
        return None if route_here == route_there else Difference(table, path, route_here, route_there)

    async def _add(self, stage: Stage, table: tuple[str, ...]) -> list[BaseException | None]:
        """Add all routes to one of the two; return for each why it was refused, or None."""
        adding = (stage.add(spec, self._backends[number]) for number, spec in enumerate(table))
        return await asyncio.gather(*adding, return_exceptions=True)


def find_difference(
    here: Subject, there: Subject, *, examples: int = 300, known: Iterable[KnownDifference] = AMBIGUOUS_PATHS
) -> Difference | None:
    """Look for a request that two proxies send to different routes.

    Args:
        here: The proxy under test.
        there: The proxy to compare it with.
        examples: How many random tables and paths to try.
        known: Differences to pass over. A proxy with more of its own adds them:
            ``known=[*AMBIGUOUS_PATHS, KnownDifference(re.compile("~"), "...")]``.

    Returns:
        The smallest difference that was found, or None.

    Raises:
        ModuleNotFoundError: If ``hypothesis`` is not installed.
    """
    from hypothesis import HealthCheck, Phase, given, settings

    loop = asyncio.new_event_loop()
    pair = _Pair(here, there)
    passed_over = tuple(known)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(_requests())
    def compare(request: _Request) -> None:
        table, path = request
        difference = loop.run_until_complete(pair.ask(table, path))
        if difference is not None and not any(each.path.search(path) for each in passed_over):
            raise _Found(difference)

    try:
        loop.run_until_complete(pair.start())
        compare()
    except _Found as found:
        return found.difference
    finally:
        loop.run_until_complete(pair.close())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    return None


def _requests() -> SearchStrategy[_Request]:
    """Return tables of users and services with awkward names, each with a path at, near or below one of its routes."""
    from hypothesis import strategies as st

    characters = st.sampled_from([*"abA0", *"@'+~.-_ ()!$&,;=:*", "ü", "秀", "%", "?", "#"])
    names = st.text(characters, min_size=1, max_size=4).filter(lambda name: set(name) != {"."} and name == name.strip())
    escaped = names.map(lambda name: quote(name, safe="@~"))
    specs = st.one_of(
        st.just("/"),
        escaped.map("/user/{}/".format),
        st.tuples(escaped, escaped).map(lambda both: f"/user/{both[0]}/{both[1]}/"),
        names.filter(lambda name: not set(name) & set("%?#")).map("/services/{}/".format),
    )
    # Two spellings of one place cannot both be served.
    tables = st.lists(specs, min_size=1, max_size=_ROUTES, unique_by=unquote).map(tuple)
    endings = st.sampled_from(["", "/", "/lab", "x", "?x=1", "//", "/..", "/a%2Fb", "%20"])

    @st.composite
    def requests(draw: st.DrawFn) -> _Request:
        table = draw(tables)
        spec = draw(st.one_of(st.sampled_from(table), specs)).rstrip("/")
        spell: Callable[[str], str] = draw(st.sampled_from(_SPELLINGS))
        return table, spell(quote(spec, safe="/%@~!$&'()*+,;=:")) + draw(endings) or "/"

    return requests()


def _as_browsers_send(path: str) -> str:
    """Return the path with those characters unescaped that browsers do not escape."""
    return re.sub("%(27|2B|28|29|21|24|26|2C|3B|3D|3A|2A)", lambda match: chr(int(match[1], 16)), path)


def _lower_escapes(path: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), path)


def _everything_encoded(path: str) -> str:
    return re.sub("[@'+~()!$&,;=:*]", lambda match: f"%{ord(match[0]):02X}", path)


_SPELLINGS: tuple[Callable[[str], str], ...] = (str, _as_browsers_send, _lower_escapes, _everything_encoded)
