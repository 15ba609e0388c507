"""The command ``python -m traefik_toml_proxy`` itself; its subcommands have tests of their own."""

from __future__ import annotations

import subprocess
import sys


def run(*arguments: str) -> str:
    """Return the standard output of a Python process that succeeds."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


def test_without_a_subcommand_it_lists_them() -> None:
    assert "conformance\n    Run the conformance suite" in run("-m", "traefik_toml_proxy")


def test_a_subcommand_is_imported_only_when_it_is_run() -> None:
    """One command need not pay for what another one imports."""
    script = (
        "import sys; import traefik_toml_proxy; package = set(sys.modules)\n"
        "import traefik_toml_proxy.cli.main; print(*sorted(name for name in set(sys.modules) - package))"
    )

    imported = [name for name in run("-c", script).split() if name.startswith("traefik_toml_proxy")]

    assert imported == ["traefik_toml_proxy.cli", "traefik_toml_proxy.cli.main"]
