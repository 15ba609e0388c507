"""The certificate of JupyterHub.ssl_cert is renewed while a real Traefik serves, and whatever others do to the files."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.backend import get
from support.certificates import Pair, make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import traefik_pid
from support.traefik import ForeignTraefik
from support.waiting import eventually, meanwhile

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.files import KeptFiles
from traefik_toml_proxy.runtime import renewal

RENEWALS = 200


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """The admin's certificate and its key."""
    return make_certificate(tmp_path, "hub")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are looked at more often."""
    monkeypatch.setattr(renewal, "_INTERVAL", 0.05)


@pytest_asyncio.fixture
async def proxy(make_proxy: ProxyMaker, free_port: int, pair: Pair) -> TraefikTomlProxy:
    """A started proxy whose entry point speaks https with the certificate of ``pair``."""
    proxy = make_proxy(public_url=f"https://127.0.0.1:{free_port}/", **pair.traits)
    await proxy.start()
    return proxy


async def served_by(url: str) -> bytes:
    """Return the certificate that a new handshake shows. That it succeeds proves that the key belongs to it."""
    where = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # much quicker to make than one with all authorities
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return certificate


def der(pair: Pair) -> bytes:
    return x509.load_pem_x509_certificate(pair.cert.read_bytes()).public_bytes(Encoding.DER)


async def serves(url: str, expected: bytes) -> bool:
    return await served_by(url) == expected


def copies(proxy: TraefikTomlProxy) -> list[Path]:
    return sorted((Path(proxy.state_dir) / "certificates").glob("*.pem"))


def about_certificates(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "certificate" in record.getMessage().lower()]


@pytest.mark.usefixtures("quick")
async def test_200_renewals_during_200_route_changes_fail_no_handshake(
    tmp_path: Path,
    proxy: TraefikTomlProxy,
    pair: Pair,
    make_backend: BackendMaker,
) -> None:
    """Each handshake shows a whole pair, although one file is replaced after the other, in place and not at once."""
    url, backend = proxy.public_url, await make_backend("a")
    chance = random.Random(11)
    new = [make_certificate(tmp_path, f"new{number}") for number in range(20)]
    known = {der(each) for each in (pair, *new)}
    shown: list[bytes] = []
    failed: list[str] = []

    async def handshakes() -> None:
        while True:
            try:
                shown.append(await served_by(url))
            except OSError as error:
                failed.append(repr(error))
            await asyncio.sleep(0.005)

    async def renewals() -> None:
        for number in range(RENEWALS):
            made = new[number % len(new)]
            for old, text in ((pair.key, made.key.read_bytes()), (pair.cert, made.cert.read_bytes())):
                old.write_bytes(text[: chance.randrange(len(text))])
                await asyncio.sleep(chance.choice([0, 0.01, 0.02]))
                old.write_bytes(text)
                await asyncio.sleep(chance.choice([0, 0.01, 0.02]))
            await asyncio.sleep(chance.choice([0, 0, 0.15]))

    async def changes() -> None:
        for _ in range(100):
            await proxy.add_route("/user/a/", backend.url, {})
            await asyncio.sleep(chance.uniform(0, 0.1))
            await proxy.delete_route("/user/a/")

    async with meanwhile(handshakes()):
        await asyncio.gather(renewals(), changes())
        await eventually(lambda: serves(url, der(new[(RENEWALS - 1) % len(new)])), within=15)

    assert failed == []
    assert set(shown) <= known
    assert len([key for key, _ in itertools.groupby(shown)]) > 20  # that many pairs were taken
    assert len(shown) > RENEWALS
    await eventually(lambda: len(copies(proxy)) == 2, what="the copies of old pairs are gone")


async def test_a_new_pair_is_served_within_15_s_without_a_route_change_or_a_restart(
    tmp_path: Path, proxy: TraefikTomlProxy, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """With the interval that everybody has; the Hub says so in one line."""
    caplog.set_level(logging.INFO, "hub")
    new, pid = make_certificate(tmp_path, "new"), traefik_pid(proxy)
    shutil.copy(new.key, pair.key)
    shutil.copy(new.cert, pair.cert)

    await eventually(lambda: serves(proxy.public_url, der(new)), within=15)

    assert traefik_pid(proxy) == pid
    await eventually(lambda: len(copies(proxy)) == 2)
    (line,) = about_certificates(caplog)
    assert line.startswith(f"The new certificate in {pair.cert} is in service; it is valid until 20")


@pytest.mark.parametrize("how", ["certbot", "kubernetes"])
@pytest.mark.usefixtures("quick")
async def test_a_new_pair_behind_symbolic_links_is_seen(
    tmp_path: Path, make_proxy: ProxyMaker, free_port: int, how: str
) -> None:
    """Certbot replaces one link for each file, Kubernetes a single one for their folder."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    old, new = make_certificate(tmp_path / "1", "tls"), make_certificate(tmp_path / "2", "tls")
    live = tmp_path / "live"
    if how == "certbot":
        live.mkdir()
        (live / "tls.crt").symlink_to(old.cert)
        (live / "tls.key").symlink_to(old.key)
    else:
        live.symlink_to(tmp_path / "1")
    proxy = make_proxy(
        public_url=f"https://127.0.0.1:{free_port}/", ssl_cert=str(live / "tls.crt"), ssl_key=str(live / "tls.key")
    )
    await proxy.start()
    assert await serves(proxy.public_url, der(old))

    for link in [live] if how == "kubernetes" else [live / "tls.crt", live / "tls.key"]:
        (tmp_path / "link").symlink_to(tmp_path / "2" / (link.name if how == "certbot" else ""))
        (tmp_path / "link").replace(link)

    await eventually(lambda: serves(proxy.public_url, der(new)))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda pair, other: shutil.copy(other.key, pair.key), "is not the key of the first certificate"),
        (lambda pair, other: shutil.copy(other.cert, pair.cert), "is not the key of the first certificate"),
        (lambda pair, _: pair.key.unlink(), "hub.key cannot be read (No such file or directory)"),
        (lambda pair, _: pair.cert.write_bytes(b""), "hub.crt is empty"),
        (
            lambda pair, _: make_certificate(pair.cert.parent, "hub", password=b"secret"),
            "hub.key, and CONFIGPROXY_SSL_KEY_PASSPHRASE is not set",
        ),
    ],
    ids=["another key", "another certificate", "no key", "empty certificate", "encrypted key"],
)
@pytest.mark.usefixtures("quick")
async def test_while_the_files_do_not_fit_the_last_pair_stays_served(
    tmp_path: Path,
    proxy: TraefikTomlProxy,
    pair: Pair,
    make_backend: BackendMaker,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Pair, Pair], object],
    said: str,
) -> None:
    """It is said once what does not fit, and once that it fits again; route changes go on."""
    caplog.set_level(logging.INFO, "hub")
    before, kept = der(pair), {file: file.read_bytes() for file in (pair.cert, pair.key)}
    harm(pair, make_certificate(tmp_path, "other"))
    await eventually(lambda: about_certificates(caplog))
    backend = await make_backend("a")
    for _ in range(10):
        await proxy.add_route("/user/a/", backend.url, {})
        assert await serves(proxy.public_url, before)
        await proxy.delete_route("/user/a/")

    (complaint,) = about_certificates(caplog)
    assert said in complaint
    assert "The last certificate that could be used stays served" in complaint

    for file, content in kept.items():
        file.write_bytes(content)

    await eventually(lambda: len(about_certificates(caplog)) == 2)
    assert about_certificates(caplog)[1] == f"The certificate in {pair.cert} with the key in {pair.key} fits again"
    assert await serves(proxy.public_url, before)


async def test_an_encrypted_key_is_opened_and_only_the_hub_s_user_can_read_the_copy(
    tmp_path: Path, make_proxy: ProxyMaker, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traefik cannot open it; the passphrase comes from the same variable as with configurable-http-proxy."""
    monkeypatch.setenv("CONFIGPROXY_SSL_KEY_PASSPHRASE", "secret words")
    pair = make_certificate(tmp_path, "encrypted", password=b"secret words")
    proxy = make_proxy(public_url=f"https://127.0.0.1:{free_port}/", **pair.traits)
    await proxy.start()

    assert await serves(proxy.public_url, der(pair))
    assert [file.stat().st_mode & 0o777 for file in copies(proxy)] == [0o600, 0o600]
    assert b"secret words" not in Path(f"/proc/{traefik_pid(proxy)}/environ").read_bytes()


@pytest.mark.parametrize("given", [True, False])
async def test_what_others_do_to_the_copies_does_not_end_https(
    make_proxy: ProxyMaker, make_backend: BackendMaker, free_port: int, pair: Pair, given: bool
) -> None:
    """Neither with a given certificate nor with the self-made one: the next reload finds the copies as they were."""
    traits: dict[bool, dict[str, Any]] = {
        True: pair.traits,
        False: {
            "traefik_entrypoint": "https",
            "extra_static_config": {"entryPoints": {"https": {"http": {"tls": {}}}}},
        },
    }
    proxy = make_proxy(public_url=f"https://127.0.0.1:{free_port}/", **traits[given])
    await proxy.start()
    backend, before = await make_backend("a"), await served_by(proxy.public_url)
    for number in range(5):
        for file in (*copies(proxy), *Path(proxy.state_dir).glob("default-*.pem")):
            file.unlink()
        await proxy.add_route(f"/user/{number}/", backend.url, {})

        assert await served_by(proxy.public_url) == before


async def test_a_copy_that_somebody_empties_is_written_again_and_said_once(
    proxy: TraefikTomlProxy, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when Traefik has loaded the damaged pair already."""
    for file in copies(proxy):
        file.write_bytes(b"")
    os.utime(
        Path(proxy.state_dir) / "dynamic.toml", ns=(0, (Path(proxy.state_dir) / "dynamic.toml").stat().st_mtime_ns)
    )

    await eventually(lambda: all(file.read_bytes() for file in copies(proxy)))
    await eventually(lambda: serves_again(proxy.public_url, der(pair)))

    # On a busy machine, there may be another line, about a revision that takes long to be live.
    warnings = [record.getMessage() for record in caplog.records if "which was changed" in record.getMessage()]
    assert ["-cert.pem, which was changed: writing it again" in warning for warning in warnings] == [True]


@pytest.mark.parametrize("broken", ["key", "cert"])
async def test_https_that_died_behind_a_kept_connection_is_said_and_mended(
    proxy: TraefikTomlProxy,
    pair: Pair,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    """Even if nothing can be seen in the files: Traefik has read others for a moment, and the probe is still connected."""
    monkeypatch.setattr(KeptFiles, "damage", lambda _: None)
    # After a first change, Traefik sees each event once (it no longer watches the file that it began with).
    await proxy.add_route("/user/a/", "http://127.0.0.1:1", {})
    file = Path(proxy.state_dir) / "dynamic.toml"
    (copy,) = (Path(proxy.state_dir) / "certificates").glob(f"*-{broken}.pem")
    content, dates = copy.read_bytes(), file.stat()
    copy.write_bytes(b"")
    os.utime(file, ns=(dates.st_atime_ns, dates.st_mtime_ns))  # an event, but the file is as it was
    await eventually(lambda: refuses(proxy.public_url))
    copy.write_bytes(content)

    await eventually(lambda: serves_again(proxy.public_url, der(pair)), within=20)

    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["refuses new TLS connections" in line and "writing it again" in line for line in warnings] == [True]


async def refuses(url: str) -> bool:
    try:
        await served_by(url)
    except OSError:
        return True
    return False


async def serves_again(url: str, expected: bytes) -> bool:
    return not await refuses(url) and await serves(url, expected)


@pytest.mark.usefixtures("quick")
async def test_at_the_next_start_the_new_pair_is_served_and_the_copies_of_the_old_one_go(
    tmp_path: Path, make_proxy: ProxyMaker, free_port: int, pair: Pair
) -> None:
    """It was renewed while the Hub was down."""
    traits = {"public_url": f"https://127.0.0.1:{free_port}/", **pair.traits}
    first = make_proxy(**traits)
    await first.start()
    old = copies(first)
    await first.stop()
    new = make_certificate(tmp_path, "hub")
    second = make_proxy(**traits)
    await second.start()

    assert await serves(second.public_url, der(new))
    await eventually(lambda: len(copies(second)) == 2)
    assert not set(old) & set(copies(second))


async def test_a_broken_pair_is_an_error_at_the_start_although_there_is_a_copy(
    make_proxy: ProxyMaker, free_port: int, pair: Pair
) -> None:
    """The admin is there to read it. What is served then would be a surprise later."""
    traits = {"public_url": f"https://127.0.0.1:{free_port}/", **pair.traits}
    first = make_proxy(**traits)
    await first.start()
    await first.stop()
    pair.key.write_bytes(b"")

    with pytest.raises(ConfigurationError, match=r"hub\.key is empty"):
        await make_proxy(**traits).start()


@pytest.mark.usefixtures("quick")
async def test_a_pair_that_expires_soon_is_warned_of(
    tmp_path: Path, make_proxy: ProxyMaker, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a day, beginning with the start."""
    pair = make_certificate(tmp_path, "old", days=-1)
    proxy = make_proxy(public_url=f"https://127.0.0.1:{free_port}/", **pair.traits)
    await proxy.start()
    await eventually(lambda: about_certificates(caplog))
    await proxy.add_route("/", "http://127.0.0.1:1", {})
    await asyncio.sleep(0.3)

    (warning,) = about_certificates(caplog)
    assert f"{pair.cert} expired at " in warning


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o640, 0o640), (0o644, 0o640)])
@pytest.mark.usefixtures("quick")
async def test_an_outside_traefik_gets_new_pairs_through_copies_beside_the_routes(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, mode: int, expected: int
) -> None:
    """Who may read the routes through the group may read the copies; they are never for everybody."""
    watched = tmp_path / "watched"
    watched.mkdir(0o750)
    pair, new = make_certificate(tmp_path, "hub"), make_certificate(tmp_path, "new")
    traefik = ForeignTraefik(tmp_path, provider={"directory": str(watched)}, tls=True)
    proxy = make_proxy(
        should_start=False,
        public_url="https://127.0.0.1:1",
        traefik_url=traefik.url,
        traefik_entrypoint="web",
        dynamic_config_file=str(watched / "routes.toml"),
        dynamic_config_file_mode=mode,
        **pair.traits,
    )
    async with traefik:
        await proxy.add_route("/user/a/", (await make_backend("a")).url, {})
        assert (await get(traefik.url, "/user/a/", tls=pair.client())).by == "a"
        shutil.copy(new.key, pair.key)
        shutil.copy(new.cert, pair.cert)

        await eventually(lambda: serves(traefik.url, der(new)))
        folder = watched / "routes.toml.certificates"
        await eventually(lambda: len(list(folder.iterdir())) == 2)
        assert [file.stat().st_mode & 0o777 for file in folder.iterdir()] == [expected, expected]
        assert folder.stat().st_mode & 0o777 == 0o750
        assert traefik.complaints == []
