"""The commands that look at a Hub's proxy, where that has no Traefik: what can be told from the settings is."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import jupyterhub
import pytest
from support.certificates import make_certificate
from traitlets.config import Config

from traefik_toml_proxy.cli.doctor import examine
from traefik_toml_proxy.cli.hub import LoadedHub
from traefik_toml_proxy.cli.main import TraefikTomlProxyApp
from traefik_toml_proxy.findings import Finding, Verdict, anything_wrong


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hub's configuration without a mistake."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "jupyterhub_config.py"
    file.write_text('c.JupyterHub.proxy_class = "in-process"\n')
    return file


def found(file: Path, settings: dict[str, Any]) -> list[Finding]:
    """Return what the doctor finds with some more settings."""
    with file.open("a") as config:
        config.writelines(f"c.{trait} = {value!r}\n" for trait, value in settings.items())
    return list(examine(file, Config()))


def run(command: str, file: Path) -> int:
    """Run a command of ours in this process, and return its status."""
    app = TraefikTomlProxyApp()
    try:
        app.initialize([command, "-f", str(file)])
        app.start()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        for each in (app, app.subapp):
            if each is not None:
                type(each).clear_instance()
    return 0


def test_a_correct_configuration_is_not_called_wrong(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not looked at is not called well, either. The status is 0. Nothing is started or written."""
    before = list(file.parent.iterdir())
    assert run("doctor", file) == 0
    lines = capsys.readouterr().out.splitlines()

    assert [line.partition(": ")[0].split() for line in lines[1:-1]] == [
        ["ok", "configuration"], ["ok", "settings"], ["ok", "trust"], ["?", "live"]
    ]  # fmt: skip
    assert lines[-1] == "Nothing is wrong, as far as could be seen."
    assert list(file.parent.iterdir()) == before


def test_so_is_one_with_everything(file: Path) -> None:
    """Also before the Hub has made the certificates of internal_ssl; ports may be in use, as by the Hub that runs."""
    certificate = make_certificate(file.parent, "hub").traits
    with socket.create_server(("127.0.0.1", 0)) as running:
        settings = {
            **{f"JupyterHub.{trait}": value for trait, value in certificate.items()},
            "JupyterHub.bind_url": f"https://127.0.0.1:{running.getsockname()[1]}",
            "JupyterHub.internal_ssl": True,
            "JupyterHub.cleanup_proxy": False,
            "JupyterHub.trusted_downstream_ips": ["192.0.2.1"],
            "InProcessProxy.where": "process",
            "InProcessProxy.redirect_http": 8080,
            "InProcessProxy.trusted_proxies": ["192.0.2.1"],
            "Proxy.extra_routes": {"/there/": "http://127.0.0.1:1"},
        }
        findings = found(file, settings)

    assert [(one.about, one.verdict) for one in findings if one.verdict is not Verdict.FINE] == [
        ("live", Verdict.UNKNOWN)
    ]
    assert "certificate" in [one.about for one in findings]


@pytest.mark.parametrize(
    ("trait", "value", "about", "words"),
    [
        ("TraefikProxy.trusted_proxies", ["::1"], "settings", "use c.InProcessProxy.trusted_proxies"),
        ("JupyterHub.cleanup_proxy", False, "settings", "has no effect: the proxy runs in a thread"),
        ("Proxy.should_start", False, "settings", "Remove that setting"),
        pytest.param(
            *("JupyterHub.bind_url", "http+unix://%2F" + "x" * 200, "settings", "Choose a shorter one"),
            id="a long path",
            marks=pytest.mark.skipif(jupyterhub.version_info < (6,), reason="JupyterHub 5 makes another URL of it"),
        ),
        ("InProcessProxy.redirect_http", 80, "settings", "set c.JupyterHub.ssl_cert"),
        ("InProcessProxy.trusted_proxies", ["nobody"], "trust", "'nobody'"),
        (
            "InProcessProxy.extra_routes_ca",
            "missing.pem",
            "settings",
            "c.InProcessProxy.extra_routes_ca names this file",
        ),
        ("Proxy.extra_routes", {"/x/": "http://a:99999"}, "settings", "The route '/x/' is refused"),
        (
            "InProcessProxy.trusted_proxies",
            ["192.0.2.1"],
            "trust",
            "c.JupyterHub.trusted_downstream_ips = ['192.0.2.1']",
        ),
        ("JupyterHub.trusted_downstream_ips", ["::1"], "trust", "c.InProcessProxy.trusted_proxies = ['::1']"),
        ("JupyterHub.public_url", "https://hub.example.org/jh/", "trust", "InProcessProxy speaks http"),
        ("JupyterHub.ssl_cert", "/missing.pem", "certificate", "/missing.pem"),
        ("InProcessProxy.typo", 1, "configuration", "`typo` not recognized"),
    ],
)
def test_a_mistake_is_found(file: Path, trait: str, value: object, about: str, words: str) -> None:
    """One that the start would refuse, or that has no effect, or with which logins go wrong."""
    findings = found(file, {trait: value})
    (mistake,) = [one for one in findings if one.verdict is Verdict.WRONG]

    assert (mistake.about, words in str(mistake)) == (about, True)
    assert anything_wrong(findings)


@pytest.mark.parametrize("command", ["routes", "render"])
def test_the_other_commands_say_that_they_are_for_traefik(
    file: Path, command: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """And where the routes can be seen."""
    with file.open("a") as config:
        config.write('c.JupyterHub.base_url = "/jh/"\n')
    with caplog.at_level(logging.CRITICAL):
        assert run(command, file) == 1
    said = caplog.text + capsys.readouterr().err

    assert "This command is for proxies with Traefik." in said
    assert "at /jh/hub/api/proxy." in said


def test_it_is_loaded_as_what_it_is(file: Path) -> None:
    hub = LoadedHub(file, Config())

    assert (hub.proxy, hub.proxy_class) == (None, "InProcessProxy")
    assert hub.in_process is not None
