"""All results as text, and the ratios that the package makes promises about. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import report_before, report_etcd, report_in_process, report_routes, report_users
from .plain_text import Ratio, ratio_table


def _requests_text(part: Mapping[str, Any]) -> str:
    return "\n\n".join(filter(None, [report_users.requests_text(part), report_before.requests_text(part)]))


_TEXTS: Mapping[str, Callable[[Any], str]] = {
    "routes": report_routes.text,
    "requests": _requests_text,
    "websockets": report_users.websockets_text,
    "churn": report_users.churn_text,
    "busy": report_in_process.busy_text,
    "restart": report_users.restart_text,
}


def _routes_ratios(part: dict[str, Any]) -> list[Ratio]:
    return [*report_routes.ratios(part), *report_etcd.ratios(part), *report_in_process.route_ratios(part)]


def _requests_ratios(part: Mapping[str, Any]) -> list[Ratio]:
    return [*report_users.request_ratios(part), *report_in_process.request_ratios(part)]


_RATIOS: Mapping[str, Callable[[Any], list[Ratio]]] = {
    "routes": _routes_ratios,
    "requests": _requests_ratios,
    "websockets": report_in_process.websocket_ratios,
    "churn": report_users.churn_ratios,
    "busy": report_in_process.busy_ratios,
    "restart": report_users.restart_ratios,
}


def ratios(result: Mapping[str, Any]) -> list[Ratio]:
    """Return the ratios of all parts that were measured."""
    return [found for name, part in result["parts"].items() if name in _RATIOS for found in _RATIOS[name](part)]


def about(result: Mapping[str, Any]) -> str:
    """Return what was compared, on which machine and in which versions."""
    machine, versions = result["machine"], result["versions"]
    head = [
        f"{result['date']}, {result['seconds_taken'] / 60:.0f} minutes",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mib']} MiB, {machine['kernel']}",
        f"load {machine['load_1min']:.1f} before, fsync {machine['fsync_ms']:.2f} ms",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        *(f"{name}: {status}" for name, status in result["contenders"].items() if status != "installed"),
    ]
    if result["interrupted"]:
        head.append("INTERRUPTED: here is what was measured until then")
    return "\n".join(head)


def text(result: Mapping[str, Any]) -> str:
    """Return all results as text."""
    sections = [about(result)]
    for name, part in result["parts"].items():
        failures = report_routes.failures(part) if name == "routes" else part["failures"]
        parameters = ", ".join(f"{key} {value}" for key, value in part["parameters"].items())
        heading = f"{name} ({parameters}; {part['seconds_taken'] / 60:.0f} minutes)"
        sections.append("\n".join(filter(None, [heading, "", report_users.listed(failures), _TEXTS[name](part)])))
    sections.append("\n".join(filter(None, [report_users.listed(result["failures"]), ratio_table(ratios(result))])))
    return "\n\n\n".join(sections) + "\n"
