"""The file with the routes in every format so far, as earlier versions have written it: tests/data/README.rst."""

from __future__ import annotations

from pathlib import Path

import pytest

from traefik_toml_proxy.routes import Route, RouteTable, Snapshot
from traefik_toml_proxy.stores.toml_document import TomlRenderer, read_snapshot
from traefik_toml_proxy.traefik.dynamic import DynamicSettings

FOLDER = Path(__file__).parents[1] / "data"
GUIDE = Path(__file__).parents[2] / "docs/how-to/upgrade.rst"

# What each of them has.
ROUTES = [
    Route.checked("/", "http://127.0.0.1:8081", {"hub": True}),
    Route.checked("/services/announcements/", "http://[::1]:41004", {"service": "announcements"}),
    Route.checked("/user/ada/", "http://127.0.0.1:41001", {"user": "ada", "server_name": ""}),
    Route.checked("/user/ada/lab/", "http://127.0.0.1:41002", {"user": "ada", "server_name": "lab"}),
    Route.checked(
        "/user/b%20%C3%B6%27%22%7B/",
        "http://127.0.0.1:41003",
        {"user": "b \u00f6'\"{{ .x }}\\x41\t", "server_name": "", "n": [1, 2.5, None, True, {}]},
    ),
]


@pytest.mark.parametrize("file", sorted(FOLDER.glob("format-*.toml")), ids=lambda file: file.stem)
def test_a_file_of_an_earlier_version_is_read(file: Path) -> None:
    """Every route comes back, byte for byte, and the revision goes on."""
    snapshot = read_snapshot(file.read_text("utf-8"))

    assert snapshot is not None
    assert (snapshot.revision, list(snapshot.table)) == (6, ROUTES)


def test_there_is_a_file_of_the_format_that_is_written_now() -> None:
    """When the format changes, a file of the new one is stored as well, and the guide says which versions have it."""
    renderer = TomlRenderer(DynamicSettings(entry_point="http", secret_path="/secret"), writer="a test")
    written = renderer.render(Snapshot(6, RouteTable(ROUTES))).decode()
    own = [line for line in written.splitlines() if line.startswith("format = ")]

    stored = [file for file in FOLDER.glob("format-*.toml") if own[0] in file.read_text("utf-8").splitlines()]

    assert FOLDER / f"{own[0].replace(' = ', '-')}.toml" in stored
    assert f"   * - {own[0].removeprefix('format = ')}\n" in GUIDE.read_text()


@pytest.mark.parametrize("name", ["format-1-first", "format-2-without-a-count"])
def test_one_of_the_first_files_that_has_lost_all_its_routes_is_no_table_without_routes(name: str) -> None:
    """They had no count, so nothing else tells; all routes must not be lost for it."""
    text = (FOLDER / f"{name}.toml").read_text("utf-8")

    with pytest.raises(ValueError, match="its end is missing"):
        read_snapshot(text[: text.index("revision = 6") + len("revision = 6\n")])
