"""examples/recipes: each does what its first line says, with a real Traefik."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from support import http3
from support.backend import get
from support.certificates import make_certificate
from support.examples import install
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import revision_path
from support.ports import free_port
from support.waiting import PATIENCE, eventually, within
from traitlets.config import Config

Recipe = Callable[..., Config]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Read a recipe, with other paths and ports."""

    def read(example: str, changes: Mapping[str, object] | None = None) -> Config:
        config = Config()
        exec(install(example, tmp_path, changes=changes).read_text(), {"c": config})
        return config

    return read


async def test_metrics(make_proxy: ProxyMaker, make_backend: BackendMaker, recipe: Recipe) -> None:
    """Prometheus reads the metrics of Traefik, in which no user is named."""
    address = f"127.0.0.1:{free_port()}"
    proxy = make_proxy(config=recipe("recipes/metrics.py", {"127.0.0.1:9101": address}))
    await proxy.start()
    await proxy.add_route("/user/grace/", (await make_backend("grace")).url, {})
    assert (await get(proxy.public_url, "/user/grace/")).by == "grace"
    assert (await get(proxy.public_url, "/metrics")).status == 404

    async def counted() -> bytes | None:
        """The count is made after the answer."""
        text = (await get(f"http://{address}", "/metrics")).body
        return text if b'traefik_entrypoint_requests_total{code="200",entrypoint="http"' in text else None

    assert b"grace" not in await eventually(counted)


async def test_an_access_log(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, recipe: Recipe
) -> None:
    """It has the path, the status and the browser of each request, but no cookies, and no path that is secret."""
    config = recipe("recipes/access_log.py", {"/var/log/jupyterhub/access.log": tmp_path / "access.log"})
    hub = await make_backend("hub")
    proxy = make_proxy(config=config, hub=SimpleNamespace(host=hub.url, base_url="/hub/", routespec="/"))
    await proxy.start()
    await proxy.add_route("/user/ada/", (await make_backend("ada")).url, {})
    await proxy.add_route("/user/gone/", f"http://127.0.0.1:{free_port()}", {})
    secrets = {"Authorization": "token hush", "Cookie": "session=hush", "X-XSRFToken": "hush", "User-Agent": "Netscape"}
    await get(proxy.public_url, "/user/ada/x?y", headers=secrets)
    await get(proxy.public_url, "/user/gone/")

    lines = await eventually(lambda: [text for text in [_lines(tmp_path / "access.log")] if len(text) == 2])
    assert revision_path(proxy).split("/")[1] not in str(lines)
    line = json.loads(lines[0][0])
    assert (line["RequestPath"], line["DownstreamStatus"]) == ("/user/ada/x?y", 200)
    assert line["request_User-Agent"] == "Netscape"
    assert "hush" not in str(line)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


async def test_security_headers(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, recipe: Recipe, free_port: int
) -> None:
    """In the answers of servers and in those that Traefik makes itself."""
    pair = make_certificate(tmp_path, "hub")
    proxy = make_proxy(
        config=recipe("recipes/security_headers.py"), public_url=f"https://127.0.0.1:{free_port}", **pair.traits
    )
    await proxy.start()
    await proxy.add_route("/", (await make_backend("hub")).url, {})
    await proxy.add_route("/user/gone/", "http://127.0.0.1:1", {})

    for path, status in (("/", 200), ("/user/gone/", 502)):
        answer = await get(proxy.public_url, path, tls=pair.client())
        assert answer.status == status
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(("networks", "status"), [('"10.0.0.0/8", "2001:db8::/32"', 403), ('"127.0.0.0/8"', 200)])
async def test_campus_only(
    make_proxy: ProxyMaker, make_backend: BackendMaker, recipe: Recipe, networks: str, status: int
) -> None:
    """Other addresses are refused, and the Hub starts all the same."""
    proxy = make_proxy(config=recipe("recipes/campus_only.py", {'"10.0.0.0/8", "2001:db8::/32"': networks}))
    await proxy.start()
    await proxy.add_route("/", (await make_backend("hub")).url, {})

    assert (await get(proxy.public_url, "/user/ada/")).status == status


@pytest.mark.parametrize(
    ("front", "forwarded_for", "status"),
    [
        ("127.0.0.1", "10.1.2.3", 200),
        ("127.0.0.1", "192.0.2.7", 403),
        ("127.0.0.1", "10.1.2.3, 192.0.2.7", 403),  # the browser wrote the first one
        ("127.0.0.1", "192.0.2.7, 10.1.2.3, 127.0.0.1", 200),
        ("127.0.0.1", None, 403),
        ("10.0.0.5", "10.1.2.3", 403),  # nobody whom it trusts
    ],
)
async def test_campus_only_behind_another_proxy(
    make_proxy: ProxyMaker,
    make_backend: BackendMaker,
    recipe: Recipe,
    front: str,
    forwarded_for: str | None,
    status: int,
) -> None:
    """The address that it has seen counts, and no other that a browser may name."""
    proxy = make_proxy(config=recipe("recipes/campus_only_behind_proxy.py", {"10.0.0.5": front}))
    await proxy.start()
    await proxy.add_route("/", (await make_backend("hub")).url, {})
    headers = {"X-Forwarded-For": forwarded_for} if forwarded_for else {}

    assert (await get(proxy.public_url, "/user/ada/", headers=headers)).status == status


@pytest.mark.parametrize(("balancer", "address"), [("127.0.0.1", "192.0.2.7"), ("10.0.0.5", "127.0.0.1")])
async def test_proxy_protocol(
    make_proxy: ProxyMaker, make_backend: BackendMaker, recipe: Recipe, balancer: str, address: str
) -> None:
    """The Hub learns the address of the browser from the load balancer, and from nobody else."""
    proxy = make_proxy(config=recipe("recipes/proxy_protocol.py", {"10.0.0.5": balancer}))
    await proxy.start()
    await proxy.add_route("/", (await make_backend("hub")).url, {})
    where = urlsplit(proxy.public_url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await within(10 * PATIENCE, reader.read())
    writer.close()

    assert json.loads(answer.partition(b"\r\n\r\n")[2])["headers"]["X-Forwarded-For"] == address


async def test_http3(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, recipe: Recipe, free_port: int
) -> None:
    """Browsers are told of it, and a route is live there as well when the call returns."""
    pair = make_certificate(tmp_path, "hub")
    proxy = make_proxy(config=recipe("recipes/http3.py"), public_url=f"https://127.0.0.1:{free_port}", **pair.traits)
    await proxy.start()
    await proxy.add_route("/", (await make_backend("hub")).url, {})

    answer = await get(proxy.public_url, "/", tls=pair.client())
    assert answer.headers["alt-svc"].startswith(f'h3=":{free_port}"')
    assert (await http3.get(proxy.public_url, "/user/ada/", ca_file=str(pair.cert))).by == "hub"
    await proxy.add_route("/user/ada/", (await make_backend("ada")).url, {})
    assert (await http3.get(proxy.public_url, "/user/ada/", ca_file=str(pair.cert))).by == "ada"
