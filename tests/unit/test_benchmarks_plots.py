"""benchmarks.plots: every result can be drawn, and the same numbers give the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.plots import draw

NOTHING: dict[str, dict[str, Any]] = {
    "routes": {"parameters": {"burst": 200}, "levels": []},
    "requests": {"samples": []},
    "websockets": {"echoes": [], "opened": []},
    "churn": {"samples": []},
    "busy": {"samples": []},
    "restart": {"parameters": {"seconds": 60}, "samples": []},
}


def result(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the results of a run."""
    about = {"date": "2026-01-01", "machine": {"cores": 2, "cpu": "a cpu"}, "versions": {"traefik": "3.7"}}
    return {**about, "parts": parts}


def cut_off(contender: str, seconds: float | None) -> dict[str, Any]:
    """Return one sample of the part ``restart``."""
    return {"contender": contender, "existing": 100, "event": "the proxy is killed", "cut_off_s": seconds}


def test_parts_without_measurements_are_empty_plots(tmp_path: Path) -> None:
    files = draw(result(NOTHING), tmp_path)

    assert {f"{name}.{kind}" for name in NOTHING for kind in ("png", "svg")} == {file.name for file in files}
    assert all(file.stat().st_size for file in files)


def test_a_plot_has_the_numbers_the_machine_and_the_versions(tmp_path: Path) -> None:
    samples = [cut_off("ours", 0.123), cut_off("jtp", None)]
    part = {"parameters": {"seconds": 60}, "samples": samples}

    draw(result({"restart": part}), tmp_path)
    drawn = (tmp_path / "restart.svg").read_text()
    draw(result({"restart": part}), tmp_path)

    assert drawn == (tmp_path / "restart.svg").read_text()
    for text in (
        "0.123",
        "for good",
        "traefik_toml_proxy",
        "jupyterhub-traefik-proxy",
        "2026-01-01",
        "a cpu",
        "traefik 3.7",
    ):
        assert text in drawn
