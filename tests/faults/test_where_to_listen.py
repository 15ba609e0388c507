"""Where Traefik listens, and where the file with the routes is: what cannot work is said in words that help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.apart import started_apart
from support.fixtures import ProxyMaker

from traefik_toml_proxy.errors import TraefikStartFailed


class TestAllAddresses:
    """``0.0.0.0`` means IPv4 alone to configurable-http-proxy, but not to Traefik."""

    @pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("", False), ("*", False), ("127.0.0.1", False)])
    def test_the_log_says_so_if_ipv6_was_not_asked_for(
        self, traits: dict[str, Any], free_port: int, host: str, warned: bool
    ) -> None:
        """Whether Traefik listens on IPv6 is read from the kernel."""
        outcome = started_apart(traits | {"public_url": f"http://{host}:{free_port}"})

        assert outcome.error == ""
        assert outcome.listening == [f"127.0.0.1:{free_port}" if host == "127.0.0.1" else f"[::]:{free_port}"]
        assert len(outcome.warnings) == warned
        assert all("listens on all IPv6 addresses as well" in warning for warning in outcome.warnings)

    def test_without_ipv6_there_is_nothing_to_say(self, traits: dict[str, Any], free_port: int) -> None:
        """Many containers have none."""
        before = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"
        outcome = started_apart(traits | {"public_url": f"http://0.0.0.0:{free_port}"}, before=before)

        assert (outcome.error, outcome.warnings) == ("", [])


@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]"])
async def test_an_address_of_another_machine_is_told_from_where_users_come(
    make_proxy: ProxyMaker, free_port: int, host: str
) -> None:
    """bind_url is often mistaken for the URL that users type."""
    proxy = make_proxy(public_url=f"http://{host}:{free_port}")

    with pytest.raises(TraefikStartFailed, match=r"c\.JupyterHub\.bind_url says where to listen") as failure:
        await proxy.start()

    assert host.strip("[]") in str(failure.value)


def test_so_is_a_name_that_cannot_be_found(traits: dict[str, Any], free_port: int) -> None:
    """No name server is reached there, so that what this tests does not depend on the one of the machine."""
    outcome = started_apart(traits | {"public_url": f"http://nosuchhost.invalid:{free_port}"})

    assert "c.JupyterHub.bind_url says where to listen" in outcome.error
    assert "lookup nosuchhost.invalid" in outcome.error


@pytest.mark.parametrize("trait", ["dynamic_config_file", "static_config_file"])
def test_a_file_that_is_mounted_alone_is_recognized(traits: dict[str, Any], tmp_path: Path, trait: str) -> None:
    """It cannot be replaced, and Traefik would not notice either; its folder has to be mounted."""
    source, target = tmp_path / "source", tmp_path / "mounted.toml"
    source.touch()
    target.touch()
    outcome = started_apart(traits | {trait: str(target)}, before=f"mount --bind {source} {target}")

    assert "mount its folder instead" in outcome.error
    assert str(target) in outcome.error
