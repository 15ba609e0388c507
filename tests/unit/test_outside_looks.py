"""Looking at a Traefik of others, at who listens at a port, and at the files beside ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apart import in_namespaces
from support.other_user import GROUP, USER, needs_root
from support.ports import free_port
from support.waiting import PATIENCE

from traefik_toml_proxy.runtime import outside
from traefik_toml_proxy.runtime.listeners import has_socket, holders, listening_inodes
from traefik_toml_proxy.runtime.others_files import FilesOf
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

    def __init__(
        self, folder: Path, *arguments: str, environment: dict[str, str] | None = None, apart: str = ""
    ) -> None:
        folder.mkdir(exist_ok=True)
        program = folder / "traefik"
        shutil.copy(os.path.realpath(sys.executable), program)
        self.process = subprocess.Popen(
            [*(in_namespaces(apart) if apart else ()), str(program), "-c", _PROGRAM, *arguments],
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

    def test_one_that_watches_the_file_is_found_elsewhere(self, tmp_path: Path) -> None:
        """When nobody listens at the URL."""
        with Stub(tmp_path, f"--providers.file.directory={tmp_path}"), socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"

            assert find_traefik(url, tmp_path / "r.toml", tmp_path) is not None
            assert find_traefik(url, tmp_path / "other" / "r.toml", tmp_path / "other") is None


class TestContainer:
    """A Traefik that has the same folder under another path, or another folder under the same path."""

    @pytest.fixture
    def watched(self, tmp_path: Path) -> Path:
        """The folder with the routes, as the Hub knows it."""
        folder = tmp_path / "watched"
        folder.mkdir(mode=0o700)
        (folder / "r.toml").touch(mode=0o640)
        (tmp_path / "there").mkdir()
        return folder

    @pytest.mark.parametrize("option", ["directory", "filename"])
    def test_the_same_folder_is_known_by_what_it_is(self, tmp_path: Path, watched: Path, option: str) -> None:
        """Whatever its path is there."""
        there = {"directory": tmp_path / "there", "filename": tmp_path / "there" / "r.toml"}[option]
        ours = {"directory": watched, "filename": watched / "r.toml"}[option]
        mount = f"mount --bind {watched} {tmp_path / 'there'}"
        with Stub(tmp_path / "stub", f"--providers.file.{option}={there}", apart=mount) as stub:
            found = find_traefik(stub.url, watched / "r.toml", watched)

        assert found is not None
        assert (found.options or {})[f"providers.file.{option}"] == str(ours)
        assert found.not_watching(str(watched / "r.toml"), str(watched)) is None
        assert (found.in_container, found.is_hidden, found.may_read) == (True, False, True)

    def test_a_folder_around_it_is_known_as_well(self, tmp_path: Path, watched: Path) -> None:
        mount = f"mount --bind {watched.parent} /mnt"
        with Stub(tmp_path / "stub", "--providers.file.directory=/mnt", apart=mount) as stub:
            found = find_traefik(stub.url, watched / "r.toml", watched)

        assert found is not None
        assert f'watched_folder = "{watched.parent}"' in str(found.not_watching(str(watched / "r.toml"), str(watched)))

    def test_another_folder_under_the_same_path_is_another_folder(self, tmp_path: Path, watched: Path) -> None:
        mount = f"mount --bind {tmp_path / 'there'} {watched}"
        with Stub(tmp_path / "stub", f"--providers.file.directory={watched}", apart=mount) as stub:
            found = find_traefik(stub.url, watched / "r.toml", watched)

        assert found is not None
        reason = str(found.not_watching(str(watched / "r.toml"), str(watched)))
        assert f"watches the folder {watched} (as it is seen there), and so not {watched / 'r.toml'}" in reason
        assert "or to where that is mounted there" in reason
        assert found.may_read is None

    def test_where_this_user_may_not_look_nothing_is_guessed(
        self, tmp_path: Path, watched: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also not that it watches the file, when nobody listens at the URL."""
        monkeypatch.setattr(FilesOf, "_is_in_a_container", lambda _: True)
        monkeypatch.setattr(os, "access", lambda *_: False)
        with Stub(tmp_path / "stub", f"--providers.file.directory={tmp_path / 'there'}") as stub:
            found = find_traefik(stub.url, watched / "r.toml", watched)
            elsewhere = find_traefik(f"http://127.0.0.1:{free_port()}", watched / "r.toml", watched)

        assert found is not None
        assert (found.source, found.is_hidden, found.may_read) == ("its command line", True, None)
        assert found.not_watching(str(watched / "r.toml"), str(watched)) is None
        assert elsewhere is None

    @needs_root
    @pytest.mark.parametrize(("mode", "expected"), [(0o750, True), (0o700, False)])
    def test_its_user_needs_no_permission_for_what_is_not_in_its_own_path(
        self, watched: Path, mode: int, expected: bool
    ) -> None:
        """Such as the folders around the one that is mounted in its container."""
        os.chown(watched, -1, GROUP)
        watched.chmod(mode)
        os.chown(watched / "r.toml", -1, GROUP)
        as_other_user = f"setpriv --reuid={USER} --regid={GROUP} --clear-groups"
        mount = f"mount --bind {watched} /mnt && exec {as_other_user} sleep 30"
        process = subprocess.Popen(["unshare", "--mount", "sh", "-c", mount])
        try:
            while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
                assert process.poll() is None
            options = {"providers.file.directory": "/mnt"}
            assert outside._may_read(FilesOf(process.pid), options, watched / "r.toml") is expected
            assert FilesOf(process.pid).may_read(str(watched / "r.toml")) is False
        finally:
            process.kill()
            process.wait()
