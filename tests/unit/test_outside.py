"""A Traefik that others run: its static configuration, and why it does not serve the routes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from traefik_toml_proxy.traefik.outside import (
    OutsideTraefik,
    Seen,
    options_of_command,
    options_of_tree,
    port_of,
    seconds,
    why_not_live,
)

FILE = "/etc/traefik/dynamic/hub.toml"
FOLDER = "/etc/traefik/dynamic"
GOOD = {
    "providers.file.directory": "/etc/traefik/dynamic",
    "providers.providersthrottleduration": "0s",
    "entrypoints.web.address": ":80",
    "entrypoints.web.http.encodequerysemicolons": "true",
    "entrypoints.web.transport.respondingtimeouts.readtimeout": "0s",
}


def _traefik(**more: Any) -> OutsideTraefik:
    """Return a Traefik with good options, but for these; "" takes one away."""
    options = {name: value for name, value in (GOOD | more).items() if value != ""}
    return OutsideTraefik(7, options, "traefik.toml", may_read=True)


def test_a_file_and_a_command_line_have_the_same_options() -> None:
    """Names in any case, and a table without options counts as set."""
    tree = {"entryPoints": {"Web": {"address": ":80", "http": {"tls": {}, "sanitizePath": False}, "n": [1, 2]}}, "a": 3}
    command = [
        "--entryPoints.web.ADDRESS=:80",
        "-entrypoints.web.http.tls",
        "--entrypoints.web.http.sanitizepath=false",
    ]

    assert options_of_command([*command, "--entrypoints.web.n", "1,2", "--a=3", "stray"]) == options_of_tree(tree)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2s", 2), ("1m30s", 90), ("250ms", 0.25), ("0", 0), ("10", 10), ("1.5h", 5400), ("soon", None)],
)
def test_durations_are_go_s_or_a_number(text: str, amount: float | None) -> None:
    assert seconds(text) == amount


def test_a_duration_with_two_points_is_none() -> None:
    assert seconds("1.2.3s") is None


@pytest.mark.parametrize(("url", "port"), [("http://h", 80), ("https://h", 443), ("http://h:8000", 8000)])
def test_a_url_has_a_port(url: str, port: int) -> None:
    assert port_of(url) == port


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, None),
        ({"providers.file.directory": "", "providers.file.filename": FILE}, None),
        ({"providers.file.directory": ""}, "has no file provider"),
        ({"providers.file.watch": "false"}, "does not watch its files"),
        ({"providers.file.directory": "/etc/traefik"}, "but not the folders in it"),
        ({"providers.file.directory": "/srv"}, "watches the folder /srv, and so not"),
        ({"providers.file.directory": "", "providers.file.filename": "/srv/a.toml"}, "watches /srv/a.toml"),
    ],
)
def test_whether_the_file_is_watched(options: dict[str, str], words: str | None) -> None:
    found = _traefik(**options).not_watching(FILE, FOLDER)

    assert (found is None) == (words is None)
    assert words is None or (found is not None and words in found.text and found.mend)


def test_what_cannot_be_read_is_no_finding() -> None:
    hidden = OutsideTraefik(7, None, "what cannot be read")

    assert hidden.not_watching(FILE, FOLDER) is None
    assert (hidden.throttle, hidden.entry_points, list(hidden.harmful_settings("web"))) == (None, {}, [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, []),
        ({"providers.providersthrottleduration": ""}, ["every second change for 2 s"]),
        ({"providers.providersthrottleduration": "soon"}, ["every second change for some time"]),
        ({"entrypoints.web.transport.respondingtimeouts.readtimeout": ""}, ["uploads that take longer than 60s"]),
        ({"entrypoints.web.transport.respondingtimeouts.writetimeout": "1m"}, ["downloads that take longer than 1m"]),
        ({"entrypoints.web.http.encodequerysemicolons": ""}, ["changes ; to &"]),
        ({"entrypoints.web.address": "", "entrypoints.other.address": ":80"}, ["no entry point 'web'; it has 'other'"]),
        ({"entrypoints.web.address": ""}, ["it has none"]),
    ],
)
def test_harmful_settings(options: dict[str, str], words: list[str]) -> None:
    found = list(_traefik(**options).harmful_settings("web"))

    assert [one.text for one in found if not one.mend] == []
    assert len(found) == len(words)
    assert all(word in finding.text for word, finding in zip(words, found, strict=True))


def test_proxies_in_front_are_to_be_believed() -> None:
    """By Traefik itself; the Hub only writes the routes."""
    believed = {"entrypoints.web.forwardedheaders.trustedips": "10.0.0.5"}
    all_are = {"entrypoints.web.forwardedheaders.insecure": "true"}

    [found] = _traefik().harmful_settings("web", ["10.0.0.5"])
    assert found.mend == "Set entryPoints.web.forwardedHeaders.trustedIPs = ['10.0.0.5'] there."
    assert [list(_traefik(**more).harmful_settings("web", ["10.0.0.5"])) for more in (believed, all_are)] == [[], []]


NOT_LIVE = Seen(
    url="http://127.0.0.1:80", file=FILE, folder=FOLDER, entry_point="web", waited=3, answered=True, live=None
)
THROTTLED = _traefik(**{"providers.providersthrottleduration": "10s"})


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (replace(NOT_LIVE, answered=False), "Traefik does not run, or listens elsewhere"),
        (replace(NOT_LIVE, answered=False, traefik=_traefik()), "Its entry points: web (:80)"),
        (
            replace(NOT_LIVE, answered=False, traefik=OutsideTraefik(7, {}, "its command line")),
            "Its entry points: unknown",
        ),
        (replace(NOT_LIVE, elsewhere=3), "traefik_entrypoint = its name in Traefik's static configuration."),
        (replace(NOT_LIVE, elsewhere=3, traefik=_traefik()), 'traefik_entrypoint = "web"'),
        (replace(NOT_LIVE, traefik=_traefik(**{"providers.file.directory": "/srv"})), "and so not"),
        (replace(NOT_LIVE, traefik=replace(_traefik(), may_read=False)), "may not read"),
        (replace(NOT_LIVE, broken=("/etc/traefik/dynamic/x.yml", "no YAML")), "x.yml, in the same folder, is broken"),
        (replace(NOT_LIVE, double="copy.toml", namespace="web-x"), "copy.toml also has the routes of a Hub"),
        (replace(NOT_LIVE, broken=("x.yml", "no YAML"), traefik=OutsideTraefik(7, None, "hidden")), "is broken"),
        (replace(NOT_LIVE, traefik=replace(_traefik(), complaints=("one", "two"))), "says in its log: two"),
        (
            replace(NOT_LIVE, live=2, traefik=THROTTLED),
            "holds back changes for 10 s, and this one was given up after 3.0 s",
        ),
        (replace(NOT_LIVE, live=2, elsewhere=2, traefik=THROTTLED), "holds back changes"),
        (replace(NOT_LIVE, live=2, waited=30, traefik=THROTTLED), None),
        (replace(NOT_LIVE, traefik=_traefik()), None),
        (replace(NOT_LIVE, traefik=OutsideTraefik(7, None, "hidden")), None),
        (NOT_LIVE, None),
    ],
)
def test_why_a_revision_is_not_live(seen: Seen, words: str | None) -> None:
    """The first reason that is certain."""
    found = why_not_live(seen)

    assert (found is None) == (words is None)
    assert words is None or words in str(found)


REFUSED = replace(NOT_LIVE, refused=True)
BROKEN = ("/etc/traefik/dynamic/x.yml", "no YAML")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (replace(REFUSED, traefik=_traefik(**{"providers.file.directory": "/srv"})), "and so not"),
        (replace(REFUSED, traefik=replace(_traefik(), may_read=False)), "may not read"),
        (replace(REFUSED, traefik=_traefik(), broken=BROKEN), "is broken"),
        (replace(REFUSED, traefik=_traefik(), double="copy.toml", namespace="web-x"), "copy.toml also has the routes"),
        (replace(REFUSED, elsewhere=3, traefik=_traefik()), 'traefik_entrypoint = "web"'),
        # Who answered may be somebody else, and whether Traefik reads the folder is not known.
        (replace(REFUSED, broken=BROKEN, double="copy.toml", namespace="web-x"), None),
        (replace(REFUSED, broken=BROKEN, traefik=OutsideTraefik(7, None, "hidden")), None),
        # It may say so of something else, and the password that was asked for is the reason.
        (replace(REFUSED, traefik=replace(_traefik(), complaints=("one",))), None),
        (replace(REFUSED, traefik=THROTTLED), None),
        (replace(REFUSED, traefik=_traefik()), None),
    ],
)
def test_where_something_else_answered_the_reason_is_certain(seen: Seen, words: str | None) -> None:
    """Otherwise, what it answered is the best that is known."""
    found = why_not_live(seen)

    assert (found is None) == (words is None)
    assert words is None or words in str(found)


def test_a_broken_neighbour_does_not_matter_to_who_reads_one_file() -> None:
    one = _traefik(**{"providers.file.directory": "", "providers.file.filename": FILE})

    assert why_not_live(replace(NOT_LIVE, broken=("x.yml", "no YAML"), traefik=one)) is None
