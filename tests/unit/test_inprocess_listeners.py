"""Where the proxy in the Hub's process listens: what can be opened, and what is said where nothing can."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from support.other_user import USER, needs_root, open_folder
from support.ports import free_port

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.inprocess import listeners
from traefik_toml_proxy.inprocess.listeners import (
    Place,
    check_places,
    open_sockets,
    place_of,
    remove_socket,
    unused_sockets,
)


def url_of(path: object) -> str:
    """Return what ``c.JupyterHub.bind_url`` is for a unix socket."""
    return f"http+unix://{quote(str(path), safe='')}"


def long_path(folder: Path, length: int) -> Path:
    """Return a path of so many bytes, whose folder exists, with a name of one letter."""
    parent = folder / ("d" * (length - len(os.fsencode(folder)) - len("//s")))
    parent.mkdir()
    return parent / "s"


def message(place: Place) -> str:
    """Return what is said where nobody can listen."""
    with pytest.raises(ConfigurationError) as failure:
        open_sockets(place)
    return str(failure.value)


@contextlib.contextmanager
def opened(place: Place) -> Iterator[None]:
    """Listen at a place for a while."""
    sockets = open_sockets(place)
    try:
        yield
    finally:
        for one in sockets:
            one.close()


class TestPaths:
    """Unix sockets."""

    @pytest.mark.parametrize("path", ["/" + "x" * 107, "/" + "é" * 54])
    def test_nobody_could_connect_to_a_longer_one(self, path: str) -> None:
        """unix(7): the path has 108 bytes with the one that ends it; it is counted in bytes."""
        with pytest.raises(
            ConfigurationError, match=r"c\.JupyterHub\.bind_url is .*; the path of its socket has 10[89] b"
        ):
            place_of(url_of(path), 0o660)
        assert place_of(url_of("/" + "x" * 106), 0o660).path == "/" + "x" * 106

    def test_the_longest_one_can_be_used(self, tmp_path: Path) -> None:
        """However short the name of the file is: the socket has another name before it has its permissions."""
        path = long_path(tmp_path, 107)
        place = place_of(url_of(path), 0o640)
        with opened(place):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
            assert path.stat().st_mode & 0o777 == 0o640
            assert list(path.parent.iterdir()) == [path]
            assert "Another program listens there; stop it, or choose another path." in message(place)
            remove_socket(place)
            assert path.exists()  # somebody listens
        remove_socket(place)
        assert not path.exists()

    def test_the_socket_of_a_program_that_has_ended_is_replaced(self, tmp_path: Path) -> None:
        place = place_of(url_of(tmp_path / "s"), 0o660)
        for _ in range(2):
            with opened(place):
                assert (tmp_path / "s").is_socket()

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("missing/s", "The folder {0}/missing does not exist; create it."),
            ("file", "A file that is no socket is there; remove it, or choose another path."),
            ("", "A file that is no socket is there"),
            ("dangling", "A file that is no socket is there"),
            ("file/s", "(Not a directory)"),
            ("/sys/s", "The Hub's user may not write in /sys; choose another folder."),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path: Path, path: str, words: str) -> None:
        """And what is there is left alone."""
        (tmp_path / "file").write_text("mine")
        (tmp_path / "dangling").symlink_to("nowhere")
        said = message(place_of(url_of(tmp_path / path), 0o660))

        assert words.format(tmp_path) in said
        assert said.endswith(" c.JupyterHub.bind_url sets this address.")
        assert {each.name for each in tmp_path.iterdir()} == {"dangling", "file"}
        assert (tmp_path / "file").read_text() == "mine"

    def test_a_path_that_cannot_be_used_is_noticed_before_the_last_process_is_ended(self, tmp_path: Path) -> None:
        """One at which somebody listens, which may be that process, is not."""
        with pytest.raises(ConfigurationError, match="does not exist; create it"):
            check_places([(Place(path=str(tmp_path / "missing" / "s")), False, None)], os.getpid())
        place = Place(path=str(tmp_path / "s"))
        with opened(place):
            check_places([(place, False, None)], os.getpid())

    @needs_root
    def test_that_of_another_user_is_left_alone(self) -> None:
        """Whether anybody listens there cannot be found out. And other users' folders are not written to."""
        with open_folder() as folder:
            place = Place(path=str(folder / "s"), mode=0o600)
            with opened(place):
                os.seteuid(USER)
                try:
                    said = [message(place), message(Place(path=str(folder / "other")))]
                finally:
                    os.seteuid(0)

        assert "A socket of another user is there; remove it, or choose another path." in said[0]
        assert f"The Hub's user may not write in {folder}; choose another folder." in said[1]


class TestPorts:
    """TCP."""

    def test_the_setting_that_has_the_address_is_named(self) -> None:
        """There may be two addresses."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            said = [message(place_of(url, 0)), message(place_of(url, 0, "c.InProcessProxy.redirect_http"))]

        assert [one.rpartition(". ")[2] for one in said] == [
            "c.JupyterHub.bind_url sets this address.",
            "c.InProcessProxy.redirect_http sets this address.",
        ]
        assert all("stop it, or choose another port." in one for one in said)

    def test_an_address_of_another_machine(self) -> None:
        assert "This machine does not have that address. c.Jupyter" in message(place_of("http://192.0.2.1:1234", 0))


class TestSystemd:
    """sd_listen_fds(3): sockets that systemd has opened."""

    @pytest.fixture
    def pass_on(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
        """A socket that systemd has opened, at some port, and a pipe, as from ListenFIFO=."""
        with socket.create_server(("127.0.0.1", 0)) as passed, contextlib.ExitStack() as stack:
            first = 200  # far from those that pytest has
            os.dup2(passed.fileno(), first)
            stack.callback(os.close, first)
            ends = os.pipe()
            os.dup2(ends[0], first + 1)
            for descriptor in (*ends, first + 1):
                stack.callback(os.close, descriptor)
            monkeypatch.setattr(listeners, "_FIRST_INHERITED", first)
            monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
            monkeypatch.setenv("LISTEN_FDS", "2")
            yield passed

    def test_one_at_the_right_port_is_used(self, pass_on: socket.socket) -> None:
        """Whatever its address is, and nothing is said."""
        place = Place("192.0.2.1", pass_on.getsockname()[1])
        with opened(place):
            assert unused_sockets([place]) == []

    def test_one_at_another_port_is_named(self, pass_on: socket.socket) -> None:
        """With the settings that it should fit."""
        places = [Place("", 8000), Place("127.0.0.1", 80, setting="c.InProcessProxy.redirect_http")]
        (said,) = unused_sockets(places)

        assert said.startswith(f"systemd has opened 127.0.0.1:{pass_on.getsockname()[1]} for the Hub, where no proxy ")
        assert said.endswith("as *:8000 (c.JupyterHub.bind_url) or 127.0.0.1:80 (c.InProcessProxy.redirect_http)")

    @pytest.mark.usefixtures("pass_on")
    def test_so_is_one_for_a_path(self, tmp_path: Path) -> None:
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            os.dup2(other.fileno(), listeners._FIRST_INHERITED)

        assert [said.split(" for ")[0] for said in unused_sockets([Place("", free_port())])] == [
            f"systemd has opened {path}"
        ]
        assert unused_sockets([Place(path=path)]) == []

    @pytest.mark.usefixtures("pass_on")
    def test_abstract_ones_are_named_and_what_is_no_socket_any_more_is_passed_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The name of an abstract socket is bytes; it is no port, whatever its second byte is."""
        monkeypatch.setenv("LISTEN_FDS", "3")  # there is no third one
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(f"\0P{os.getpid()}")
            os.dup2(other.fileno(), listeners._FIRST_INHERITED)

        (said,) = unused_sockets([Place("", ord("P"))])
        assert said.startswith(f"systemd has opened b'\\x00P{os.getpid()}' for")

    @pytest.mark.usefixtures("pass_on")
    def test_those_of_another_process_are_nobodys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Variables of the environment reach children, too."""
        monkeypatch.setenv("LISTEN_PID", "1")

        assert unused_sockets([Place("", 8000)]) == []
