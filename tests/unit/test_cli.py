"""The command ``python -m traefik_toml_proxy`` itself; its subcommands have tests of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from traefik_toml_proxy.cli.output import say_findings
from traefik_toml_proxy.findings import Finding, fine, unknown, wrong


def run(*arguments: str) -> str:
    """Return the standard output of a Python process that succeeds."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


def test_without_a_subcommand_it_lists_them() -> None:
    assert "conformance\n    Run the conformance suite" in run("-m", "traefik_toml_proxy")


def test_a_misspelled_subcommand_is_no_success() -> None:
    """Otherwise a script would take it for a doctor who has found nothing."""
    line = [sys.executable, "-m", "traefik_toml_proxy", "docter", "-f", "x.py"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (2, "")
    assert "'docter'" in done.stderr


def test_a_subcommand_is_imported_only_when_it_is_run() -> None:
    """One command need not pay for what another one imports."""
    script = (
        "import sys; import traefik_toml_proxy; package = set(sys.modules)\n"
        "import traefik_toml_proxy.cli.main; print(*sorted(name for name in set(sys.modules) - package))"
    )

    imported = [name for name in run("-c", script).split() if name.startswith("traefik_toml_proxy")]

    assert imported == ["traefik_toml_proxy.cli", "traefik_toml_proxy.cli.main"]


@pytest.mark.parametrize(
    ("findings", "conclusion"),
    [
        ([fine("a", "b")], "All is well."),
        ([fine("a", "b"), unknown("c", "d")], "Nothing is wrong, as far as could be seen."),
        ([unknown("c", "d"), wrong("e", "f")], "Something is wrong."),
    ],
)
def test_what_could_not_be_seen_is_not_called_well(
    capsys: pytest.CaptureFixture[str], findings: list[Finding], conclusion: str
) -> None:
    say_findings("x was executed.", findings)

    assert capsys.readouterr().out.splitlines()[-1] == conclusion
