"""Several Hubs on one Traefik: each gets its own requests, and no others', whatever all of them change meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from support.backend import Backend, get
from support.certificates import make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.ports import free_port
from support.strategies import read_toml
from support.traefik import ForeignTraefik
from support.waiting import eventually, meanwhile

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import ConfigurationError, InvalidRoute
from traefik_toml_proxy.routes import Place, Route, RouteTable, Snapshot
from traefik_toml_proxy.stores.toml_document import TomlRenderer
from traefik_toml_proxy.traefik.dynamic import DynamicSettings

# Requests with the second kind of headers take another front router.
HEADERS = [{}, {"Accept-Encoding": "gzip"}]


@dataclass
class SomeHub:
    """A Hub with many users, all of whose servers are one backend that says which Hub it belongs to."""

    name: str
    base_url: str
    users: int
    hosts: list[str] = field(default_factory=list)
    folder: str = "."
    traits: dict[str, Any] = field(default_factory=dict)

    def use(self, proxy: TraefikTomlProxy, backend: Backend) -> None:
        """Set what it uses."""
        self.proxy, self.backend = proxy, backend

    @property
    def host(self) -> str:
        """A host that its requests are for."""
        return self.hosts[0] if self.hosts else "anything.example.org"

    async def add_all(self) -> None:
        """Add the routes of the Hub and of all its users, at once."""
        await self.proxy.add_route(self.base_url, f"{self.backend.url}/hub", {"hub": True})
        await asyncio.gather(*(self.add(f"{number:04}") for number in range(self.users)))

    async def add(self, user: str) -> None:
        """Add the route of one user, whose target says who it is."""
        await self.proxy.add_route(f"{self.base_url}user/{user}/", f"{self.backend.url}/{user}", {"user": user})

    async def come_and_go(self) -> None:
        """Add and delete users in groups of changing sizes, so that the groups of routers change as well."""
        for number in range(10**9):
            some = [f"guest{number}-{each}" for each in range(1 + number % 40)]
            await asyncio.gather(*map(self.add, some))
            await asyncio.gather(*(self.proxy.delete_route(f"{self.base_url}user/{user}/") for user in some))

    def some_request(self) -> tuple[str, str]:
        """Return the path of a request, and what must be the beginning of the path that reaches the target."""
        user = f"{random.randrange(self.users):04}"
        path = f"{self.base_url}user/{user}/lab"
        pages = f"{self.base_url}hub/home"
        return random.choice([(path, f"/{user}{path}"), (path, f"/{user}{path}"), (pages, f"/hub{pages}")])


def three_hubs(*folders: str) -> list[SomeHub]:
    """One at ``/``, one below it, and one with a host of its own. One of them has more front routers than the others."""
    return [
        SomeHub("root", "/", 500, folder=folders[0], traits={"trusted_proxies": ["127.0.0.1"]}),
        SomeHub("below", "/h2/", 150, folder=folders[1]),
        SomeHub("named", "/", 120, ["third.example.org"], folder=folders[2]),
    ]


@asynccontextmanager
async def sharing(
    hubs: list[SomeHub], folder: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, *, tls: bool = False
) -> AsyncIterator[ForeignTraefik]:
    """Let Hubs use one Traefik."""
    watched = folder / "watched"
    for hub in hubs:
        (watched / hub.folder).mkdir(parents=True, exist_ok=True)
    async with ForeignTraefik(folder, provider={"directory": str(watched)}, tls=tls) as traefik:
        for hub in hubs:
            backend = await make_backend(hub.name)
            own = {"rule_hosts": hub.hosts, "dynamic_config_file": str(watched / hub.folder / f"{hub.name}.toml")}
            proxy = make_proxy(
                should_start=False,
                traefik_url=traefik.url,
                traefik_entrypoint="web",
                watched_folder=str(watched),
                app=SimpleNamespace(base_url=hub.base_url),
                hub=SimpleNamespace(host=backend.url, base_url=f"{hub.base_url}hub/", routespec=hub.base_url),
                **(own | hub.traits),
            )
            hub.use(proxy, backend)
        yield traefik


async def stolen(hubs: list[SomeHub], url: str, count: int) -> tuple[Counter[str], list[str]]:
    """Send requests for all users of all Hubs; return how many each Hub has answered, and the wrong answers."""
    answered: Counter[str] = Counter()
    wrong = []
    for number in range(count):
        hub = hubs[number % len(hubs)]
        path, expected = hub.some_request()
        answer = await get(url, path, host=hub.host, headers=HEADERS[number // len(hubs) % 2])
        answered[answer.by or "nobody"] += 1
        if answer.by != hub.name or answer.seen["path"] != expected:
            wrong.append(f"{hub.host}{path}: {answer.status} by {answer.by}, {answer.seen.get('path')}")
    return answered, wrong


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "folders", [(".", ".", "."), (".", "one", "other/inner")], ids=["one folder", "several folders"]
)
async def test_no_request_of_another_hub_s_users_is_stolen(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, folders: tuple[str, str, str]
) -> None:
    """A Hub at / with 500 users, one at /h2/ with 150, and one with a host of its own: all change routes all the time."""
    hubs = three_hubs(*folders)
    async with sharing(hubs, tmp_path, make_proxy, make_backend) as traefik:
        await asyncio.gather(*(hub.add_all() for hub in hubs))
        async with meanwhile(*(hub.come_and_go() for hub in hubs)):
            answered, wrong = await stolen(hubs, traefik.url, 900)

        assert wrong == []
        assert answered == {"root": 300, "below": 300, "named": 300}
        assert traefik.complaints == []


@pytest.mark.parametrize(
    ("first_is_default", "second_is_default", "otherwise"),
    [(True, False, "one"), (False, True, "two"), (True, True, "one")],
)
async def test_each_hub_s_certificate_is_served_for_its_names_and_one_of_them_otherwise(
    tmp_path: Path,
    make_proxy: ProxyMaker,
    make_backend: BackendMaker,
    first_is_default: bool,
    second_is_default: bool,
    otherwise: str,
) -> None:
    """By mistake, both may be the default one; then Traefik takes that of the first file. Each name has its own."""
    hubs = []
    for name, is_default in [("one", first_is_default), ("two", second_is_default)]:
        pair = make_certificate(tmp_path, name, dns_names=[f"{name}.example.org"])
        hubs.append(
            SomeHub(name, "/", 1, [f"{name}.example.org"], traits={"default_certificate": is_default, **pair.traits})
        )
    async with sharing(hubs, tmp_path, make_proxy, make_backend, tls=True) as traefik:
        for hub in hubs:
            await hub.add_all()

        asked = ["one.example.org", "two.example.org", "other.example.org"]
        assert [await name_in_certificate(traefik.url, name) for name in asked] == ["one", "two", otherwise]


async def name_in_certificate(url: str, asked: str) -> str:
    """Return the common name in the certificate that a client gets who asks for a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    where = urlsplit(url)
    _, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context, server_hostname=asked)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    [name] = x509.load_der_x509_certificate(shown).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


async def test_a_hub_that_gets_a_namespace_keeps_its_users(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """As at an upgrade from a version without, while the file is served; no request fails."""
    hub = SomeHub("root", "/", 130)
    async with sharing([hub], tmp_path, make_proxy, make_backend) as traefik:
        before = DynamicSettings(
            entry_point="web", secret_path="/before", shared_places=(Place("", ()),), lowest_priority=2
        )
        routes = [
            Route.checked(f"/user/{number:04}/", f"{hub.backend.url}/{number:04}", {"user": f"{number:04}"})
            for number in range(hub.users)
        ]
        routes.append(Route.checked("/", f"{hub.backend.url}/hub", {"hub": True}))
        file = Path(hub.proxy.dynamic_config_file)
        rendered = TomlRenderer(before, writer="the version before").render(Snapshot(7, RouteTable(routes)))
        file.with_suffix(".new").write_bytes(rendered)
        file.with_suffix(".new").rename(file)
        await eventually(lambda: is_reached(hub, traefik.url))
        wrong: list[str] = []

        async def keep_asking() -> None:
            while True:
                wrong.extend((await stolen([hub], traefik.url, 1))[1])

        async with meanwhile(keep_asking(), keep_asking()):
            found = await hub.proxy.get_all_routes()
            await hub.add("new")
            await hub.proxy.delete_route("/user/new/")

        assert wrong == []
        assert found.keys() == {route.routespec for route in routes}
        names = read_toml(file.read_text())["http"]["routers"]
        assert [name for name in names if not name.startswith("web-")] == []
        assert traefik.complaints == []


async def is_reached(hub: SomeHub, url: str) -> bool:
    """Whether a request for a Hub is answered by its backend."""
    return (await get(url, hub.base_url, host=hub.host)).by == hub.name


async def test_hosts_are_told_apart_on_a_traefik_that_the_hub_starts(
    make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """Requests for other hosts are for nobody; the Hub still sees that its routes are live, and a load balancer, too."""
    proxy = make_proxy(rule_hosts=["hub.example.org", "*.Users.example.org"], host_routing=True)
    await proxy.start()
    await proxy.add_route("/", (await make_backend("hub")).url, {})
    hosts = ["hub.example.org", "HUB.example.org:8000", "ada.users.example.org", "users.example.org", "127.0.0.1"]

    assert [(await get(proxy.public_url, "/x", host=host)).by for host in hosts] == ["hub", "hub", "hub", None, None]
    assert (await get(proxy.public_url, "/_chp_healthz")).status == 200
    with pytest.raises(InvalidRoute, match=r"its host 'evil\.example\.org' is not in c\.TraefikProxy\.rule_hosts"):
        await proxy.add_route("evil.example.org/user/a/", "http://127.0.0.1:1", {})


@pytest.mark.parametrize(
    ("trait", "value"), [("rule_hosts", ['a.org")||PathPrefix("/']), ("namespace", "a_b"), ("namespace", "{{.}}")]
)
async def test_a_setting_that_would_be_confused_with_another_hub_s_is_refused(
    make_proxy: ProxyMaker, trait: str, value: object
) -> None:
    """The error names it, before anything is started."""
    with pytest.raises(ConfigurationError, match=f"^{trait}: "):
        await make_proxy(**{trait: value}).start()


async def test_the_admin_s_additions_find_the_objects_in_the_namespace(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """They are named as on a Traefik of one's own. Two Hubs' middlewares may have the same name."""
    hubs = three_hubs(".", ".", ".")
    for hub in hubs:
        mark = {"headers": {"customResponseHeaders": {"X-Mark": hub.name}}}
        hub.traits |= {"route_middlewares": {"mark": mark}, "namespace": f"{hub.name}-2"}
        hub.traits["extra_dynamic_config"] = {
            "http": {
                "middlewares": {"jupyterhub-revision": {"headers": {"customResponseHeaders": {"X-More": hub.name}}}}
            }
        }
    async with sharing(hubs, tmp_path, make_proxy, make_backend) as traefik:
        for hub in hubs:
            await hub.proxy.add_route(hub.base_url, hub.backend.url, {})
        answers = [await get(traefik.url, hub.base_url, host=hub.host) for hub in hubs]

        assert [answer.headers["x-mark"] for answer in answers] == ["root", "below", "named"]
        files = [read_toml(Path(hub.proxy.dynamic_config_file).read_text())["http"]["middlewares"] for hub in hubs]
        header = "customResponseHeaders"
        added = [
            file[f"{hub.name}-2_jupyterhub-revision"]["headers"][header] for hub, file in zip(hubs, files, strict=True)
        ]
        assert [headers["X-More"] for headers in added] == ["root", "below", "named"]
        assert traefik.complaints == []


@pytest.mark.parametrize("namespaces", [("aa", "zz"), ("zz", "aa")], ids="-".join)
async def test_a_hub_that_names_a_host_comes_before_one_with_a_wildcard_for_it(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, namespaces: tuple[str, str]
) -> None:
    """Even if it has a wildcard as well, as with subdomain_host; and whichever file Traefik reads first."""
    hubs = [
        SomeHub("named", "/", 1, ["hub.example.org", "*.hub.example.org"], traits={"namespace": namespaces[0]}),
        SomeHub("wild", "/", 1, ["*.example.org"], traits={"namespace": namespaces[1]}),
    ]
    async with sharing(hubs, tmp_path, make_proxy, make_backend) as traefik:
        for hub in hubs:
            await hub.add_all()
        hosts = ["hub.example.org", "ada.hub.example.org", "other.example.org"]

        assert [(await get(traefik.url, "/hub/x", host=host)).by for host in hosts] == ["named", "named", "wild"]


async def test_each_hub_shows_its_own_error_pages(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """To users whose server does not answer."""
    hubs = three_hubs(".", ".", ".")
    async with sharing(hubs, tmp_path, make_proxy, make_backend) as traefik:
        for hub in hubs:
            await hub.proxy.add_route(hub.base_url, hub.backend.url, {})
            await hub.proxy.add_route(f"{hub.base_url}user/a/", f"http://127.0.0.1:{free_port()}", {})
        pages = [
            (await get(traefik.url, f"{hub.base_url}user/a/", host=hub.host, headers={"Accept": "text/html"})).body
            for hub in hubs
        ]

        shown = [(page["name"], page["path"]) for page in map(json.loads, pages)]
        assert shown == [(hub.name, f"{hub.base_url}hub/error/503") for hub in hubs]
