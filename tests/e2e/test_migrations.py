"""examples/migrate-*: servers that were started behind the other proxy are reached behind ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.backend import get
from support.certificates import make_certificate
from support.chp import CHP_COMMAND
from support.examples import install
from support.fixtures import BackendMaker
from support.hub import RealHub
from support.ports import free_ports

pytestmark = pytest.mark.timeout(200)


@pytest.mark.skipif(CHP_COMMAND is None, reason="configurable-http-proxy is not installed")
async def test_from_configurable_http_proxy(tmp_path: Path, make_backend: BackendMaker) -> None:
    """With the certificate, the redirect and the extra route that there were."""
    https, http, api = free_ports(3)
    docs = await make_backend("docs")
    pair = make_certificate(tmp_path, "hub.example.org")
    url = f"https://127.0.0.1:{https}"
    both = {"https://:443": url, "/etc/ssl": tmp_path, "http://127.0.0.1:8123": docs.url}
    chp = {"=80": f"={http}", '"configurable-http-proxy"': repr(CHP_COMMAND)}
    config = install("migrate-from-chp/before.py", tmp_path / "config.py", changes=both | chp)
    more = f"c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{api}'\n"  # the default port may be in use
    async with RealHub(tmp_path, config, url, tls=pair.client(), more=more) as hub:
        before = await hub.start_server("ada")
        assert (await hub.ask("docs/x")).by == "docs"
        await hub.stop()
        install("migrate-from-chp/after.py", config, changes={**both, "redirect_http = 80": f"redirect_http = {http}"})
        said = len(hub.log)
        await hub.start()

        assert "TraefikTomlProxy" in hub.log[said:]
        assert await hub.server_of("ada") == before
        assert (await hub.ask("docs/x")).by == "docs"
        redirect = await get(f"http://127.0.0.1:{http}", "/user/ada/x", host=f"127.0.0.1:{http}")
        assert redirect.headers["location"] == f"{url}/user/ada/x"
        assert await hub.start_server("bob") == await hub.server_of("bob")


async def test_from_jupyterhub_traefik_proxy(tmp_path: Path) -> None:
    """With the files, the level and the access log that there were."""
    pytest.importorskip("jupyterhub_traefik_proxy", reason="jupyterhub-traefik-proxy is not installed")
    public, api = free_ports(2)
    url = f"http://127.0.0.1:{public}"
    changes = {"http://:80": url, "/srv/jupyterhub": tmp_path}
    config = install("migrate-from-jupyterhub-traefik-proxy/before.py", tmp_path / "config.py", changes=changes)
    more = f"c.TraefikFileProviderProxy.traefik_api_url = 'http://127.0.0.1:{api}'\n"  # the default port may be in use
    async with RealHub(tmp_path, config, url, more=more) as hub:
        before = await hub.start_server("ada")
        assert "jupyterhub_traefik_proxy" in hub.log
        await hub.stop()
        install("migrate-from-jupyterhub-traefik-proxy/after.py", config, changes=changes)
        said = len(hub.log)
        await hub.start()

        assert "TraefikTomlProxy" in hub.log[said:]
        assert await hub.server_of("ada") == before
        assert await hub.start_server("bob") == await hub.server_of("bob")
        assert "traefik_toml_proxy" in (tmp_path / "rules.toml").read_text()
        assert "/user/bob/" in (tmp_path / "access.log").read_text()
