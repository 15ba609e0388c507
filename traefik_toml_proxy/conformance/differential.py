"""Random tables and random paths, the same against two proxies; what differs is shrunk to the smallest case. Does I/O."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from .backend import Backend
from .case import Options
from .stage import Stage
from .subject import Subject

# More routes than this are not in one table.
_ROUTES = 6


@dataclass(frozen=True, slots=True)
class Known:
    """A difference from configurable-http-proxy that is there for a reason.

    Attributes:
        path: Matches the paths that may be routed in another way.
        reason: Why.
    """

    path: re.Pattern[str]
    reason: str


#: All known differences between TraefikTomlProxy and configurable-http-proxy. Browsers and JupyterHub send none of these.
KNOWN = (
    Known(re.compile("%2f", re.IGNORECASE), "an encoded slash is part of a name, and does not end a segment"),
    Known(re.compile(r"(^|/)(\.|%2e){1,2}(/|$|\?)", re.IGNORECASE), "dots are not resolved; browsers have done it"),
    Known(re.compile("^//"), "a second slash does not begin a host"),
    Known(re.compile(r"\\|%5c", re.IGNORECASE), "a backslash is a character, and not a slash"),
    Known(re.compile(r"%(?![0-9A-Fa-f]{2})"), "what is no escape is refused"),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A request that two proxies send to different routes.

    Attributes:
        table: The routespecs.
        path: What was asked for.
        here: The routespec of the route that it took here, or None.
        there: The same of the other proxy.
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
        """Return how the two differ on a request, if they do."""
        if table != self._table:
            self._table = ()
            here, there = self._stages
            for stage in (here, there):
                await stage.clear()
            if any(await self._add(there, table)):
                return None  # it does not take such a route, so there is nothing to compare with
            for refusal in await self._add(here, table):
                if refusal is not None:
                    raise refusal
            self._table = table
        taken = []
        for stage in self._stages:
            by = (await stage.get(path)).by
            taken.append(None if by is None else table[int(by)])
        by_here, by_there = taken
        return None if by_here == by_there else Difference(table, path, by_here, by_there)

    async def _add(self, stage: Stage, table: tuple[str, ...]) -> list[BaseException | None]:
        """Add all routes to one of the two; return for each why it was refused, or None."""
        adding = (stage.add(spec, self._backends[number]) for number, spec in enumerate(table))
        return await asyncio.gather(*adding, return_exceptions=True)


def find_difference(
    here: Subject, there: Subject, *, examples: int = 300, known: Iterable[Known] = KNOWN
) -> Difference | None:
    """Look for a request that two proxies send to different routes.

    Args:
        here: The proxy under test.
        there: The one to compare it with.
        examples: How many random tables and paths to try.
        known: Differences that are expected.

    Returns:
        The smallest difference that was found, or None.

    Raises:
        ModuleNotFoundError: If ``hypothesis`` is not installed.
    """
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    loop = asyncio.new_event_loop()
    pair = _Pair(here, there)
    characters = st.sampled_from([*"abA0", *"@'+~.-_ ()!$&,;=:*", "ü", "秀", "%", "?", "#"])
    names = st.text(characters, min_size=1, max_size=4).filter(lambda name: set(name) != {"."} and name == name.strip())
    escaped = names.map(lambda name: quote(name, safe="@~"))
    specs = st.one_of(
        st.just("/"),
        escaped.map("/user/{}/".format),
        st.tuples(escaped, escaped).map(lambda both: f"/user/{both[0]}/{both[1]}/"),
        names.filter(lambda name: not set(name) & set("%?#")).map("/services/{}/".format),
    )
    tables = st.lists(specs, min_size=1, max_size=_ROUTES, unique_by=_place).map(tuple)
    endings = st.sampled_from(["", "/", "/lab", "x", "?x=1", "//", "/..", "/a%2Fb", "%20"])

    @st.composite
    def requests(draw: st.DrawFn) -> tuple[tuple[str, ...], str]:
        table = draw(tables)
        spec = draw(st.one_of(st.sampled_from(table), specs)).rstrip("/")
        spell: Callable[[str], str] = draw(st.sampled_from(_SPELLINGS))
        return table, spell(quote(spec, safe="/%@~!$&'()*+,;=:")) + draw(endings) or "/"

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(requests())
    def look(request: tuple[tuple[str, ...], str]) -> None:
        table, path = request
        difference = loop.run_until_complete(pair.ask(table, path))
        if difference is not None and not any(one.path.search(path) for one in known):
            raise _Found(difference)

    try:
        loop.run_until_complete(pair.start())
        look()
    except _Found as found:
        return found.difference
    finally:
        loop.run_until_complete(pair.close())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    return None


def _place(spec: str) -> str:
    """Return what two spellings of one place have in common: a proxy cannot serve both."""
    return unquote(spec)


def _as_browsers_send(path: str) -> str:
    """Return the path with the characters raw that browsers leave raw."""
    return re.sub("%(27|2B|28|29|21|24|26|2C|3B|3D|3A|2A)", lambda match: chr(int(match[1], 16)), path)


def _lower_escapes(path: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), path)


def _everything_encoded(path: str) -> str:
    return re.sub("[@'+~()!$&,;=:*]", lambda match: f"%{ord(match[0]):02X}", path)


_SPELLINGS: tuple[Callable[[str], str], ...] = (str, _as_browsers_send, _lower_escapes, _everything_encoded)
