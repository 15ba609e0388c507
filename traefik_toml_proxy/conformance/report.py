"""Outcomes as text for people, and as JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .case import Level
from .outcome import Outcome, Result

_LONGEST_REASON = 160


@dataclass(frozen=True, slots=True)
class Results:
    """All outcomes of one proxy.

    Attributes:
        name: What the proxy is called.
        version: Its version, and that of what it runs on.
        outcomes: In the order of the cases.
        own: Whether the reader's own proxy was tested: then sensitive cases are shown as well.
    """

    name: str
    version: str
    outcomes: Sequence[Outcome]
    own: bool = True

    @property
    def visible(self) -> list[Outcome]:
        """The outcomes that may be published."""
        return [outcome for outcome in self.outcomes if self.own or not outcome.case.sensitive]

    @property
    def conforms(self) -> bool:
        """Whether no required and no expected case failed."""
        return not [o for o in self.outcomes if o.result is Result.FAILED and o.case.level is not Level.BEYOND]


def line(outcome: Outcome) -> str:
    """Return one outcome as one line of text."""
    mark = {Result.PASSED: "passed", Result.FAILED: "FAILED", Result.NOT_OFFERED: "not offered"}[outcome.result]
    case = outcome.case
    text = f"{mark:11} {case.level.value:8} {case.id:32} {outcome.seconds:6.2f} s"
    return f"{text}  {_one_line(outcome.reason)}".rstrip()


def summary(results: Results) -> str:
    """Return the number of results of each kind for each level, and the rules of the failed cases."""
    lines = [f"{results.name} {results.version}".rstrip()]
    for level in Level:
        counts = Counter(outcome.result for outcome in results.visible if outcome.case.level is level)
        lines.append(f"  {level.value:8}  " + ", ".join(f"{counts[result]} {result.value}" for result in Result))
    for outcome in results.visible:
        if outcome.result is Result.FAILED:
            lines.append(f"  {outcome.case.id} ({outcome.case.level.value}): {outcome.case.rule}")
            lines.append(f"      seen: {_one_line(outcome.reason)}")
            lines.append(f"      source: {outcome.case.source}")
    return "\n".join(lines)


def _one_line(reason: str) -> str:
    text = " ".join(reason.split())
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"


def as_json(results: Results) -> dict[str, Any]:
    """Return the results as a tree for :func:`json.dumps`."""
    return {
        "name": results.name,
        "version": results.version,
        "conforms": results.conforms,
        "cases": [
            {
                "id": outcome.case.id,
                "level": outcome.case.level.value,
                "rule": outcome.case.rule,
                "source": outcome.case.source,
                "result": outcome.result.value,
                "reason": outcome.reason,
                "seconds": round(outcome.seconds, 3),
            }
            for outcome in results.visible
        ],
    }


def comparison(all_results: Sequence[Results], *, date: str) -> str:
    """Return the results of several proxies as reStructuredText: a table of counts, and one of failed cases.

    Args:
        all_results: For the same cases; each becomes a column.
        date: When the proxies were tested.
    """
    groups = list(dict.fromkeys(outcome.case.id.partition(".")[0] for outcome in all_results[0].outcomes))
    head = ["Cases, passed of all", *(f"{results.name} {results.version}".strip() for results in all_results)]
    rows = [
        head,
        *([f"**{level.value}**", *(_counted(results.visible, level) for results in all_results)] for level in Level),
        *([group, *(_counted(results.visible, None, group) for results in all_results)] for group in groups),
    ]
    return f"Made on {date}.\n\n{_list_table(rows)}\n{_failed(all_results)}"


def _counted(outcomes: Iterable[Outcome], level: Level | None, group: str = "") -> str:
    counts = Counter(
        outcome.result
        for outcome in outcomes
        if level in (None, outcome.case.level) and outcome.case.id.startswith(f"{group}." if group else "")
    )
    text = f"{counts[Result.PASSED]} of {counts[Result.PASSED] + counts[Result.FAILED]}"
    missing = counts[Result.NOT_OFFERED]
    return f"{text}, {missing} not offered" if missing else text


def _failed(all_results: Sequence[Results]) -> str:
    """Return a row for each case that some proxy fails; "" if there is none."""
    by_case: dict[str, dict[str, Outcome]] = {}
    for outcome in all_results[0].outcomes:
        found: dict[str, Outcome] = {
            results.name: other
            for results in all_results
            for other in results.visible
            if other.case.id == outcome.case.id and other.result is Result.FAILED
        }
        if found:
            by_case[outcome.case.id] = found
    rows = [["Case that some proxy fails", "Level", "What a proxy must do", "Fails"]]
    for case_id, found in by_case.items():
        case = next(iter(found.values())).case
        rows.append([f"``{case_id}``", case.level.value, case.rule, "; ".join(found)])
    return "\n" + _list_table(rows) if len(rows) > 1 else ""


def _list_table(rows: Sequence[Sequence[str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'* -' if number == 0 else '  -'} {cell}" for number, cell in enumerate(row)]
    return "\n".join(lines) + "\n"
