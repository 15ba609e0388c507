"""benchmarks.report_etcd: routes in etcd beside a file that as many Traefiks watch."""

from __future__ import annotations

from typing import Any

from benchmarks.report_etcd import ratios


def changes(ms: float, count: int = 1, gap: float = 5.0, proxy_cpu: float = 1.0) -> dict[str, Any]:
    """Return some adds of one kind."""
    cpu = {"hub_cpu_ms": 1.0, "proxy_cpu_ms": proxy_cpu}
    return {"add": [{"ms": ms, "live_ms": ms, "changes": count, "missed": 0, "loop_gap_ms": gap, **cpu}], "delete": []}


def level(existing: int, etcd: float, files: float, *, burst: float = 100.0, agent: float = 0.5) -> dict[str, Any]:
    """Return what was measured at one size of the table."""
    idle = {"agent": agent, "etcd": 1.5}
    contenders = {
        "ours": {"single": changes(files)},
        "etcd": {
            "single": changes(etcd, proxy_cpu=3.0),
            "burst": changes(burst, 200),
            "idle": idle,
            "start": {"start_gap_ms": 500.0},
        },
        "files": {"single": changes(files, proxy_cpu=3.0), "burst": changes(100.0, 200)},
    }
    return {"existing": existing, "contenders": contenders}


def kept(*levels: dict[str, Any]) -> list[bool | None]:
    """Return which of the ratios are kept."""
    return [each["kept"] for each in ratios({"parameters": {"burst": 200}, "levels": list(levels)})]


def test_without_etcd_there_are_no_ratios() -> None:
    assert kept({"existing": 0, "contenders": {"ours": {}}}) == []


def test_all_are_kept_at_their_limits() -> None:
    """What the contender does at its start does not count: it starts etcd and the agents as well."""
    many = level(10_000, 125, 100)
    many["contenders"]["etcd"] |= {"burst": changes(100, 200, gap=25), "single": changes(125, proxy_cpu=3.9)}

    assert kept(level(0, 70, 10, agent=1), level(1_000, 140, 100, burst=140), many) == [True] * 8


def test_none_is_kept_beyond_its_limit() -> None:
    many = level(10_000, 126, 100)
    many["contenders"]["etcd"] |= {"burst": changes(100, 200, gap=26), "single": changes(126, proxy_cpu=3.93)}

    assert kept(level(0, 71, 10, agent=1.1), level(1_000, 141, 100, burst=141), many) == [False] * 8


def test_the_processor_time_is_that_of_adds_and_deletes() -> None:
    """Of all single changes, not of bursts. Three replicas are beside three Traefiks with one file, and beside one."""
    many = level(10_000, 1, 1, burst=1)
    single = changes(1, proxy_cpu=60.0)
    single["delete"] = changes(1, proxy_cpu=90.0)["add"]
    many["contenders"] |= {"etcd": {"single": single}, "ours": {"single": changes(1, proxy_cpu=20.0)}}
    many["contenders"]["files"]["single"] = changes(1, proxy_cpu=30.0)
    found = {
        each["name"].rpartition(" / ")[2]: (each["value"], each["note"])
        for each in ratios({"parameters": {"burst": 200}, "levels": [many]})
        if each["name"].startswith("processor time of a change at 10000 routes, a replica, etcd / ")
    }

    assert found == {
        "files": (2.5, "etcd 25 ms (n 2), files 10 ms (n 1)"),
        "ours": (1.25, "etcd 25 ms (n 2), ours 20 ms (n 1)"),
    }


def test_what_failed_was_not_measured() -> None:
    assert kept({"existing": 0, "contenders": {"etcd": {"failed": "it fell over"}}}) == [None] * 8
