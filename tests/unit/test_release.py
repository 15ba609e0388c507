"""What a release needs, as far as it is in files of this repository."""

from __future__ import annotations

import re
from pathlib import Path

from support.strategies import read_toml

from traefik_toml_proxy import __version__

ROOT = Path(__file__).parents[2]
CHANGELOG = ROOT.joinpath("CHANGELOG.md").read_text("utf-8")
WORKFLOWS = [file.read_text("utf-8") for file in ROOT.joinpath(".github/workflows").iterdir()]


def test_the_version_is_one_that_can_be_released_and_the_changelog_says_what_is_new_in_it() -> None:
    """It is the newest section with a date, or, before it is released, the section above it says so."""
    unreleased, *released = re.split(r"(?m)^## ", CHANGELOG.partition("\n## ")[2])

    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert unreleased.startswith("[Unreleased]\n")
    assert [title for title in (section.splitlines()[0] for section in released) if not is_title(title)] == []
    newest = released[0] if released else ""
    assert newest.startswith(f"[{__version__}] - ") or f"\nThis will be version {__version__}.\n" in unreleased


def is_title(line: str) -> bool:
    """Whether it is a version with a date."""
    return re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", line) is not None


def test_workflows_run_what_ci_runs_with_as_few_rights_as_possible() -> None:
    """Each action is pinned to a commit, the token can only read, and the oldest Python that is allowed is there."""
    oldest = read_toml(ROOT.joinpath("pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")

    assert WORKFLOWS
    for text in WORKFLOWS:
        actions = re.findall(r"(?m)^\s*-? *uses: (\S+)", text)
        assert actions
        assert [action for action in actions if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []
        assert re.findall(r"(?m)^permissions:\n((?:  .*\n)+)", text) == ["  contents: read\n"]
        assert f"          uv python install {oldest}\n" in text
        assert re.search(r"(?m)^          \.ci/run$", text)
