"""Looking at a Traefik of others, at who listens at a port, and at the files beside ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import PATIENCE

from traefik_toml_proxy.runtime import outside
from traefik_toml_proxy.runtime.listeners import has_socket, holders, listening_inodes
from traefik_toml_proxy.runtime.outside import broken_neighbour, find_traefik, parsed

# Stands in for Traefik, under its name: it listens, says so, and waits.
_PROGRAM = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket of this process that listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


class TestListeners:
    """Who listens at a port."""

    def test_the_process_that_listens_is_found(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]

        assert os.getpid() in [process.pid for process in holders(port)]
        assert has_socket(os.getpid(), listening_inodes(port))

    def test_over_ipv6_too(self) -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            assert os.getpid() in [process.pid for process in holders(server.getsockname()[1])]

    def test_nobody_listens_at_a_port_that_was_closed(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        listener.close()

        assert (holders(port), listening_inodes(port)) == ([], set())

    def test_a_process_that_has_ended_has_no_socket(self) -> None:
        assert not has_socket(2**22 + 1, {1})


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.toml", "[http.routers.a]\nrule = 'x'\n", ""),
        ("a.toml", "[http.routers\n", "routes"),
        ("a.toml", "{{ range $i := until 3 }}\n[x", ""),
        ("a.yml", "http:\n  routers: {}\n", ""),
        ("a.yaml", "http: [\n", "line 2"),
        ("a.yaml", "- a\n- b\n", "no mapping"),
        ("a.yml", "", ""),
        ("a.txt", "[http\n", ""),
        ("below/a.toml", "x = \n", "invalid"),
    ],
)
def test_a_broken_file_beside_ours_is_found(tmp_path: Path, name: str, text: str, problem: str) -> None:
    """Traefik reads the folders in a folder, too."""
    (tmp_path / "below").mkdir()
    (tmp_path / "below.toml").mkdir()
    (tmp_path / "ours.toml").write_text("[not looked at")
    (tmp_path / name).write_text(text)

    found = broken_neighbour(tmp_path / "ours.toml", tmp_path)
    assert (found is not None) == bool(problem)
    assert found is None or found[0] == str(tmp_path / name)


@pytest.mark.parametrize("standard", [True, False])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yml", 'users: ["ada:hush"\nrealm: x\n'),
        ("a.yml", "password: *hush\n"),
        ("a.toml", "password = hush\n"),
        ("a.toml", 'password = "hush\n'),
    ],
)
def test_what_is_in_a_broken_file_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standard: bool, name: str, text: str
) -> None:
    """It is another application's, and the error is in the Hub's log. Only where the file is broken is told."""
    if not standard:
        monkeypatch.setattr(outside, "_standard_loads", None)
    (tmp_path / name).write_text(text)
    found = broken_neighbour(tmp_path / "ours.toml", tmp_path)

    assert found is not None
    assert "hush" not in found[1]
    assert "line" in found[1]


def test_a_file_that_nobody_writes_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Whoever may make a file there, or start a process with the name of Traefik, could make the looks hang."""
    os.mkfifo(tmp_path / "pipe.toml")
    os.mkfifo(tmp_path / "pipe.yml")

    assert broken_neighbour(tmp_path / "ours.toml", tmp_path) is None
    with Stub(tmp_path / "stub", f"--configFile={tmp_path / 'pipe.toml'}") as stub:
        found = find_traefik(stub.url, tmp_path / "r.toml", tmp_path)
    assert found is not None
    assert "not a regular file" in found.source
    with Stub(tmp_path / "stub", f"--log.filePath={tmp_path / 'pipe.yml'}") as stub:
        found = find_traefik(stub.url, tmp_path / "r.toml", tmp_path)
    assert found is not None
    assert found.complaints == ()


def test_without_a_parser_yaml_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterHub needs one at present."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "a.yml").write_text("http: [\n")

    assert parsed(tmp_path / "a.yml") is None


def test_before_python_3_11_the_toml_package_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_standard_loads", None)
    (tmp_path / "a.toml").write_text("a = 1")

    assert parsed(tmp_path / "a.toml") == {"a": 1}


class Stub:
    """A process with the name of Traefik.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        program = folder / "traefik"
        shutil.copy(os.path.realpath(sys.executable), program)
        self.process = subprocess.Popen(
            [str(program), "-c", _PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={"PYTHONHOME": sys.base_prefix, "LD_LIBRARY_PATH": f"{sys.base_prefix}/lib"} | (environment or {}),
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=10 * PATIENCE)


class TestStaticConfiguration:
    """Where it is found, as Traefik finds it."""

    def test_a_file_goes_before_the_command_line(self, tmp_path: Path) -> None:
        (tmp_path / "static.toml").write_text("[providers.file]\ndirectory = 'watched'\n")
        (tmp_path / "watched").mkdir()
        with Stub(tmp_path, "--configFile=static.toml", "--api.insecure=true") as stub:
            found = find_traefik(stub.url, tmp_path / "watched" / "r.toml", tmp_path / "watched")

        assert found is not None
        assert (found.pid, found.source) == (stub.process.pid, "static.toml")
        assert found.options == {"providers.file.directory": str((tmp_path / "watched").resolve())}

    def test_a_command_line(self, tmp_path: Path) -> None:
        with Stub(tmp_path, "--providers.file.filename=/r.toml") as stub:
            found = find_traefik(stub.url, tmp_path / "r.toml", tmp_path)

        assert found is not None
        assert found.source == "its command line"
        assert (found.options or {})["providers.file.filename"] == "/r.toml"

    def test_a_file_in_its_home(self, tmp_path: Path) -> None:
        (tmp_path / ".config").mkdir()
        (tmp_path / ".config" / "traefik.yml").write_text("log:\n  level: INFO\n")
        with Stub(tmp_path, environment={"HOME": str(tmp_path)}) as stub:
            found = find_traefik(stub.url, tmp_path / "r.toml", tmp_path)

        assert found is not None
        assert found.options == {"log.level": "INFO"}

    @pytest.mark.parametrize("text", [None, "[broken", "{{ template }}"])
    def test_one_that_cannot_be_read_is_not_guessed(self, tmp_path: Path, text: str | None) -> None:
        if text is not None:
            (tmp_path / "static.toml").write_text(text)
        with Stub(tmp_path, "--configFile=static.toml") as stub:
            found = find_traefik(stub.url, tmp_path / "r.toml", tmp_path)

        assert found is not None
        assert found.options is None
        assert "read" in found.source

    def test_the_end_of_its_log_is_read(self, tmp_path: Path) -> None:
        line = "2026-01-01T00:00:00Z ERR Error occurred during watcher callback error=x providerName=file"
        (tmp_path / "log").write_text(f"{'.' * 2**17}\n{line}\nINF fine\n")
        (tmp_path / "static.toml").write_text("[log]\nfilePath = 'log'\n")
        with Stub(tmp_path, "--configFile=static.toml") as stub:
            found = find_traefik(stub.url, tmp_path / "r.toml", tmp_path)

        assert found is not None
        assert found.complaints == (line,)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it as another user")
    def test_all_folders_around_the_file_must_let_its_user_in(self) -> None:
        """The file's own folder may be open, and the one around it not."""
        with tempfile.TemporaryDirectory() as made:
            outer = Path(made)
            outer.chmod(0o755)
            (outer / "hubs" / "one").mkdir(parents=True)
            file = outer / "hubs" / "one" / "r.toml"
            file.touch(mode=0o644)
            reader = subprocess.Popen(["sleep", "30"], user=54321, group=54321, extra_groups=[])
            try:
                assert outside._may_read(reader.pid, file) is True
                (outer / "hubs").chmod(0o700)
                assert outside._may_read(reader.pid, file) is False
            finally:
                reader.kill()
                reader.wait()

    def test_one_that_watches_the_file_is_found_elsewhere(self, tmp_path: Path) -> None:
        """When nobody listens at the URL."""
        with Stub(tmp_path, f"--providers.file.directory={tmp_path}"), socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"

            assert find_traefik(url, tmp_path / "r.toml", tmp_path) is not None
            assert find_traefik(url, tmp_path / "other" / "r.toml", tmp_path / "other") is None


@pytest.mark.parametrize(
    ("mode", "owner", "group", "permitted"),
    [
        (0o600, 1000, 1000, True),
        (0o600, 1, 1000, False),
        (0o640, 1, 1000, True),
        (0o640, 1, 1, False),
        (0o604, 1, 1, True),
    ],
)
def test_permissions(mode: int, owner: int, group: int, permitted: bool) -> None:
    """Of the owner, the group, or all others, the first that fits decides."""
    status = os.stat_result((0o100000 | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))

    assert outside._permitted(status, 0o4, 1000, {1000}) == permitted
