"""What the table of routes may hold at each moment, and so which servers may answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .expected import Expected
from .plan import MOVING, STEADY, Place

PLACES = (*STEADY, *MOVING)

# The server that a route leads to, and a number that is in its data.
Route = tuple[str, int]


class Table:
    """What may be in the table for each place.

    There is more than one possibility while a change is under way, and after a Hub was killed that had not answered.
    """

    def __init__(self, expected: Expected) -> None:
        """Begin with no routes.

        Args:
            expected: Is told which servers may answer.
        """
        self._expected = expected
        self._possible: dict[Place, frozenset[Route | None]] = {}
        self._is_being_filled = False
        for place in PLACES:
            self.may_hold(place, {None})

    def possible(self, place: Place) -> frozenset[Route | None]:
        """Return what may be there; None is no route."""
        return self._possible[place]

    def route(self, place: Place) -> Route | None:
        """Return what is there, or, as long as that is not known, one of the possibilities."""
        return min(self._possible[place], key=str)

    def is_known(self, place: Place) -> bool:
        """Whether it is known what is there."""
        return len(self._possible[place]) == 1

    def may_hold(self, place: Place, possible: Iterable[Route | None]) -> None:
        """From now on, one of these is there."""
        self._possible[place] = frozenset(possible)
        answers = {route[0] for route in self._possible[place] if route is not None}
        if None in self._possible[place]:
            # While the table is being filled, the places above may have no routes yet either.
            answers.update(place.above if self._is_being_filled else place.above[:1])
        self._expected.expect(place.path, answers)

    def begin_to_fill(self) -> dict[Place, Route]:
        """The table is empty; return what is to be added."""
        wanted = {place: self.route(place) for place in PLACES}
        self._is_being_filled = True
        for place, route in wanted.items():
            self.may_hold(place, {*self._possible[place], route, None})
        return {place: route for place, route in wanted.items() if route is not None}

    def is_filled(self, added: Mapping[Place, Route]) -> None:
        """All of it has been added."""
        self._is_being_filled = False
        for place in PLACES:
            self.may_hold(place, {added.get(place)})

    def compare(self, found: Mapping[str, Any], names: Mapping[str, str]) -> None:
        """Compare with the Hub's table; from then on, exactly that is there.

        Args:
            found: By routespec, the target and the data.
            names: The names of the servers by target.
        """
        for place in PLACES:
            target, data = found.get(place.path, (None, None))
            route = None if target is None else (names.get(target, target), data["number"])
            if route not in self._possible[place]:
                self._expected.problem(
                    f"the table has {route} for {place.path}; it may be {set(self._possible[place])}"
                )
            self.may_hold(place, {route})
        more = found.keys() - {place.path for place in PLACES}
        if more:
            self._expected.problem(f"the table also has {more}")
