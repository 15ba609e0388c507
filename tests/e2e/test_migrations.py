"""Servers that were started behind another proxy are reached behind ours: examples/migrate-*, and between our own two."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.agents import LEASE_SECONDS, AgentProcess
from support.backend import get
from support.certificates import make_certificate
from support.chp import CHP_COMMAND
from support.etcd import running_etcd
from support.examples import install
from support.fixtures import BackendMaker
from support.hub import RealHub
from support.ports import free_ports
from support.processes import alive
from support.waiting import eventually

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


async def test_from_a_file_to_etcd_and_back(tmp_path: Path) -> None:
    """With the commands of the how-to. No server is lost, none is started again, and none that has gone comes back."""
    public = free_ports(1)[0]
    url = f"http://127.0.0.1:{public}"
    config = tmp_path / "config.py"
    common = f'c.JupyterHub.bind_url = "{url}"\nc.JupyterHub.cleanup_servers = False\n'
    in_file = common + 'c.JupyterHub.proxy_class = "traefik-toml"\n'
    async with running_etcd(tmp_path) as etcd:
        in_etcd = common + (
            'c.JupyterHub.proxy_class = "traefik-etcd-ha"\n'
            f"c.TraefikEtcdProxy.etcd_endpoints = {list(etcd.settings.endpoints)}\n"
            f"c.TraefikEtcdProxy.lease_seconds = {LEASE_SECONDS}\n"
        )
        agent = AgentProcess(tmp_path, "one", etcd.settings, "/jupyterhub", public_url=url)
        config.write_text(in_file)
        async with RealHub(tmp_path, config, url) as hub:
            ada = await hub.start_server("ada")
            await hub.stop()

            # To etcd.
            config.write_text(in_etcd)
            async with agent:
                await hub.start()
                assert "c.TraefikProxy.traefik_env has no effect with this proxy: use c.AgentApp" in hub.log
                assert await hub.server_of("ada") == ada
                bob = await hub.start_server("bob")
                await hub.stop()
                assert [await hub.server_of(name) for name in ("ada", "bob")] == [ada, bob]

            # And back.
            config.write_text(in_file)
            await hub.start()
            assert [await hub.server_of(name) for name in ("ada", "bob")] == [ada, bob]
            cleo = await hub.start_server("cleo")
            assert (await hub.api("users/ada/server", method="DELETE")).status in {202, 204}
            await eventually(lambda: not alive(ada))
            await hub.stop()

            # To etcd once more, where an old table is left.
            config.write_text(in_etcd)
            assert "/user/ada/" in etcd.control("get", "--prefix", "/jupyterhub/table/routes/", "--keys-only")
            etcd.control("del", "--prefix", "/jupyterhub/table/")
            async with agent:
                await hub.start()
                assert [await hub.server_of(name) for name in ("ada", "bob", "cleo")] == [-1, bob, cleo]
                await hub.stop()
