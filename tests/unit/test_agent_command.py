"""The settings of ``python -m traefik_toml_proxy agent``: the command line, the environment, and a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from traefik_toml_proxy.agent.session import AgentSettings
from traefik_toml_proxy.cli.agent import AgentApp
from traefik_toml_proxy.errors import ConfigurationError

MEMBER = "http://127.0.0.1:2379"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., AgentSettings]:
    """Read the settings from arguments, variables, and a file."""

    def read(*arguments: str, file: str = "", **variables: str) -> AgentSettings:
        for name, value in {"ETCD_ENDPOINTS": json.dumps([MEMBER]), **variables}.items():
            monkeypatch.setenv(f"TRAEFIK_AGENT_{name}", value)
        if file:
            (tmp_path / "agent_config.py").write_text(file)
            arguments = (*arguments, f"--config={tmp_path / 'agent_config.py'}")
        app = AgentApp()
        app.initialize(list(arguments))
        return app._settings()

    return read


def test_the_defaults_are_for_agents_on_one_machine(settings: Callable[..., AgentSettings]) -> None:
    made = settings()

    assert made.etcd.endpoints == (MEMBER,)
    assert (made.keys.root, made.static.address, made.static.entry_point) == ("/jupyterhub", ":8000", "http")
    assert (made.health_host, made.health_port, made.health_url) == ("127.0.0.1", 8002, "http://127.0.0.1:8002")
    assert made.name


def test_the_command_line_overrides_the_environment_which_overrides_the_file(
    settings: Callable[..., AgentSettings],
) -> None:
    file = "c.AgentApp.replica_name = 'file'\nc.AgentApp.etcd_root = '/file'\nc.AgentApp.lease_seconds = 7"
    made = settings("--AgentApp.replica_name=line", file=file, REPLICA_NAME="variable", ETCD_ROOT="/variable")

    assert (made.name, made.keys.root, made.lease_seconds) == ("line", "/variable", 7)


def test_a_list_or_a_dict_in_the_environment_is_json(settings: Callable[..., AgentSettings]) -> None:
    made = settings(TRUSTED_PROXIES='["10.0.0.0/8"]', TRAEFIK_ENV='{"A": "b"}')

    assert made.static.trusted_proxies == ("10.0.0.0/8",)
    assert made.environment == {"A": "b"}
    with pytest.raises(SystemExit, match="TRAEFIK_AGENT_ETCD_ENDPOINTS is not JSON"):
        settings(ETCD_ENDPOINTS="a,b")


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"ETCD_ENDPOINTS": "[]"}, "etcd_endpoints is empty"),
        ({"ETCD_ROOT": "/"}, "etcd_root is empty"),
        ({"HEALTH_ADDRESS": "8002"}, "health_address"),
        ({"HEALTH_ADDRESS": "0.0.0.0:8002"}, "every address: set health_url"),
        ({"HEALTH_ADDRESS": "[::]:8002"}, "every address: set health_url"),
        ({"HEALTH_ADDRESS": ":8002"}, "every address: set health_url"),
        ({"PUBLIC_URL": "https://:443"}, "ssl_cert"),
        ({"ETCD_PASSWORD_FILE": "/no/such/file"}, "etcd_password_file"),
    ],
)
def test_a_wrong_setting_is_named(settings: Callable[..., AgentSettings], variables: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        settings(**variables)


@pytest.mark.parametrize("address", ["fd00::5:8002", "[fd00::5]:8002"])
def test_an_address_of_ipv6_becomes_a_url(settings: Callable[..., AgentSettings], address: str) -> None:
    """Kubernetes gives the address of a pod without brackets."""
    made = settings(HEALTH_ADDRESS=address)

    assert (made.health_host, made.health_port, made.health_url) == ("fd00::5", 8002, "http://[fd00::5]:8002")


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://10.0.0.5:8002/", "http://10.0.0.5:8002"),
        ("http://fd00::5:8002", "http://[fd00::5]:8002"),
        ("http://[fd00::5]:8002", "http://[fd00::5]:8002"),
        ("https://agent-1.example.org:8002", "https://agent-1.example.org:8002"),
        ("http://agent-1", "http://agent-1"),
    ],
)
def test_with_a_url_of_its_own_an_agent_may_answer_at_every_address(
    settings: Callable[..., AgentSettings], host: str, given: str, url: str
) -> None:
    """Kubernetes gives the address of a pod without brackets, there as well."""
    made = settings(HEALTH_ADDRESS=f"{host}:8002", HEALTH_URL=given)

    assert (made.health_host, made.health_port, made.health_url) == (host, 8002, url)


def test_https_needs_a_certificate(settings: Callable[..., AgentSettings]) -> None:
    made = settings(PUBLIC_URL="https://127.0.0.1:8443", SSL_CERT="/etc/hub.pem")

    assert (made.static.tls, made.static.entry_point, made.url) == (True, "https", "https://127.0.0.1:8443")
    assert made.certificate is not None
    assert made.certificate.cert_file == made.certificate.key_file == Path("/etc/hub.pem")


def test_the_password_is_read_from_a_file_and_shown_nowhere(
    settings: Callable[..., AgentSettings], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("secret-word\nmore\n")
    made = settings(ETCD_USERNAME="agent", ETCD_PASSWORD_FILE=str(tmp_path / "password"))

    assert made.etcd.password == "secret-word"
    assert "secret-word" not in repr(made)
