"""A Hub of another version has written the file with the routes: an older one, or a newer one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.backend import Backend, get
from support.fixtures import ProxyMaker
from support.inside import traefik_pid
from support.killed_hub import Hub

from traefik_toml_proxy.errors import StoreTooNew

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file with the routes."""
    return tmp_path / "state" / "dynamic.toml"


def as_if_newer(file: Path) -> bytes:
    """Make a file look as if a newer version had written it; return what is in it."""
    text = re.sub(r"(?m)^format = \d+$", "format = 99", file.read_text())
    new = file.with_name("new")
    new.write_text(text.replace("[jupyterhub.routes]", "[jupyterhub.in-another-form]"))
    new.rename(file)
    return file.read_bytes()


@pytest.mark.parametrize("format_", ["format-1-first", "format-2-without-a-count"])
async def test_the_routes_of_an_older_version_are_served_on(
    make_proxy: ProxyMaker, killed_hub: Hub, ada: Backend, file: Path, format_: str
) -> None:
    """The new Hub takes over its Traefik with its routes, and nobody is cut off."""
    old = DATA.joinpath(f"{format_}.toml").read_text().replace("http://127.0.0.1:41001", ada.url)
    file.write_text(old)
    proxy = make_proxy()
    await proxy.start()

    assert traefik_pid(proxy) == killed_hub.traefik_pid
    assert sorted(await proxy.get_all_routes()) == [
        "/",
        "/services/announcements/",
        "/user/ada/",
        "/user/ada/lab/",
        "/user/b%20%C3%B6%27%22%7B/",
    ]
    assert (await get(proxy.public_url, "/user/ada/")).by == "ada"


async def test_a_newer_file_is_refused_and_nobody_is_cut_off(
    make_proxy: ProxyMaker, killed_hub: Hub, traits: dict[str, Any], file: Path
) -> None:
    """The start fails with what to do; the file stays as it is, and Traefik goes on."""
    content = as_if_newer(file)

    with pytest.raises(StoreTooNew, match=r"format is 99.*rename .*dynamic\.toml: the Hub adds all routes again"):
        await make_proxy().start()

    assert file.read_bytes() == content
    assert [each.name for each in file.parent.iterdir() if "broken" in each.name] == []
    assert (await get(traits["public_url"], "/user/ada/")).by == "ada"
    assert traefik_pid(file.parent) == killed_hub.traefik_pid


@pytest.mark.usefixtures("killed_hub")
async def test_a_downgrade_works_as_it_is_told(make_proxy: ProxyMaker, ada: Backend, file: Path) -> None:
    """The file is renamed, and the Hub adds the routes again."""
    content = as_if_newer(file)
    aside = file.with_name("dynamic.toml.newer")
    file.rename(aside)
    proxy = make_proxy()
    await proxy.start()

    assert await proxy.get_all_routes() == {}

    await proxy.add_route("/user/ada/", ada.url, {})

    assert (await get(proxy.public_url, "/user/ada/")).by == "ada"
    assert aside.read_bytes() == content
