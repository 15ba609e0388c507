"""traefik_toml_proxy.runtime.transport_files: reads, checks and watches the certificates for connections to targets."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from support.certificates import Pair, make_certificate
from support.fakes import FakeTraefik, MemoryStore
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.metrics import PrometheusMetrics
from traefik_toml_proxy.publisher import RoutePublisher
from traefik_toml_proxy.routes import RouteTable
from traefik_toml_proxy.runtime import transport_files as module
from traefik_toml_proxy.runtime.transport_files import TransportFiles, WatchedTransports
from traefik_toml_proxy.session import CleanupStack
from traefik_toml_proxy.traefik.transports import Transport, Transports


@pytest.fixture
def authority(tmp_path: Path) -> Pair:
    """An authority that the proxy trusts."""
    return make_certificate(tmp_path, "authority")


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """What the proxy shows to servers."""
    return make_certificate(tmp_path, "proxy")


@pytest.fixture
def files(authority: Pair, pair: Pair) -> TransportFiles:
    """All of these."""
    return TransportFiles(
        authorities=authority.cert, certificate=pair.cert, key=pair.key, advice="Ask the admin about it."
    )


def _read(internal: TransportFiles | None, extra: TransportFiles | None = None) -> Transports:
    transports = WatchedTransports(internal, extra)
    transports.read()
    return transports.current()


def test_the_texts_are_those_of_the_files(files: TransportFiles, authority: Pair, pair: Pair) -> None:
    """The extra transport has no certificate to show."""
    both = _read(files, TransportFiles(authorities=authority.cert, advice=""))

    assert both.internal is not None
    assert both.internal.authorities == authority.cert.read_text()
    assert both.internal.certificate == pair.cert.read_text()
    assert both.internal.key == pair.key.read_text()
    assert both.extra is not None
    assert (both.extra.authorities, both.extra.certificate, both.extra.key) == (authority.cert.read_text(), "", "")


def test_without_files_there_are_no_transports() -> None:
    nothing = _read(None)

    assert (nothing.internal, nothing.extra) == (None, None)


def test_all_certificates_of_a_file_are_taken_and_nothing_else(files: TransportFiles, pair: Pair) -> None:
    """A comment, or a key in the file of the certificate, does not get into the configuration; chains do."""
    bundle = files.authorities.read_text()
    files.authorities.write_text(f"# My organization\n{bundle}\n\nAnother one:\n{pair.cert.read_text()}")
    pair.cert.write_text(pair.key.read_text() + pair.cert.read_text() + bundle)

    internal = _read(files).internal

    assert internal is not None
    assert internal.authorities.count("BEGIN CERTIFICATE") == 2
    assert "My organization" not in internal.authorities
    assert internal.certificate.count("BEGIN CERTIFICATE") == 2
    assert "PRIVATE" not in internal.certificate


@pytest.mark.parametrize(
    ("name", "harm", "reason"),
    [
        ("authority.crt", Path.unlink, "No such file or directory"),
        ("proxy.crt", Path.unlink, "No such file or directory"),
        ("proxy.key", Path.unlink, "No such file or directory"),
        ("authority.crt", lambda path: path.write_bytes(b""), "no certificate in PEM format"),
        ("proxy.crt", lambda path: path.write_bytes(b"garbage"), "no certificate in PEM format"),
        ("proxy.key", lambda path: path.write_bytes(b"garbage"), "no key in PEM format"),
        ("proxy.crt", lambda path: os.truncate(path, 300), "no certificate in PEM format"),
        ("proxy.key", lambda path: os.truncate(path, 100), "no key in PEM format"),
        ("proxy.key", lambda path: make_certificate(path.parent, "proxy", password=b"x"), "the key is encrypted"),
        ("proxy.key", lambda path: path.with_name("authority.key").replace(path), "not the key of the certificate"),
        ("proxy.key", lambda path: path.unlink() or path.mkdir(), "Is a directory"),
    ],
)
def test_a_file_that_cannot_work_is_named_with_the_reason_and_the_advice(
    files: TransportFiles, tmp_path: Path, name: str, harm: Callable[[Path], object], reason: str
) -> None:
    """Traefik would say nothing, and answer all requests with 500 or 502."""
    harm(tmp_path / name)

    with pytest.raises(ConfigurationError) as caught:
        _read(files)

    assert str(caught.value).startswith(f"{tmp_path / name} cannot be used: ")
    assert reason in str(caught.value)
    assert str(caught.value).endswith(". Ask the admin about it.")


class Watch:
    """Files that are being watched."""

    def __init__(self, files: TransportFiles) -> None:
        self.store = MemoryStore()
        self.registry = CollectorRegistry()
        self.publisher = RoutePublisher(
            self.store,
            FakeTraefik(self.store.place),
            live_timeout=1,
            check_route=lambda _: None,
            log=logging.getLogger("hub"),
        )
        self._transports = WatchedTransports(files, None)
        self._cleanup = CleanupStack(logging.getLogger("hub"))

    async def begin(self) -> None:
        """Read the files, and watch them from now on."""
        await self.publisher.open()
        await self.publisher.begin(RouteTable())
        await asyncio.to_thread(self._transports.read)
        log = logging.getLogger("hub")
        self._transports.watch(self.publisher, self._cleanup, log, PrometheusMetrics(self.registry))

    async def end(self) -> None:
        await self._cleanup.run()

    @property
    def expiry(self) -> float | None:
        """When a certificate expires, as the metrics say it."""
        name = "traefik_toml_proxy_certificate_expiry_timestamp_seconds"
        return self.registry.get_sample_value(name, {"certificate": "internal_ssl"})

    @property
    def internal(self) -> Transport:
        """What the next commit is to have."""
        internal = self._transports.current().internal
        assert internal is not None
        return internal


@pytest_asyncio.fixture
async def watch(files: TransportFiles, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    """A watch that looks often, and does not mind that the certificates of a test expire soon."""
    monkeypatch.setattr(module, "_INTERVAL", 0.02)
    monkeypatch.setattr(module, "_NOTICE", timedelta(0))
    watch = Watch(files)
    await watch.begin()
    yield watch
    await watch.end()


def _note_looks(monkeypatch: pytest.MonkeyPatch) -> list[TransportFiles]:
    """Return a list that grows by one item with each look."""
    read, looks = module._read, []

    def noted(files: TransportFiles) -> Transport:
        looks.append(files)
        return read(files)

    monkeypatch.setattr(module, "_read", noted)
    return looks


def _replace(path: Path, other: Path) -> None:
    """Replace a file as renewals do it, atomically."""
    new = path.with_suffix(".new")
    new.write_bytes(other.read_bytes())
    new.replace(path)


async def test_a_new_pair_is_used_once_both_files_fit(
    watch: Watch, pair: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then, the last one stays in use, and the log says once what does not fit."""
    caplog.set_level(logging.INFO)
    before, other = watch.internal, make_certificate(tmp_path, "other")

    _replace(pair.key, other.key)
    await eventually(lambda: "not the key of the certificate" in caplog.text)
    assert watch.internal == before
    assert len(watch.store.commits) == 1

    _replace(pair.cert, other.cert)
    await eventually(lambda: len(watch.store.commits) == 2)
    assert (watch.internal.certificate, watch.internal.key) == (other.cert.read_text(), other.key.read_text())
    await eventually(lambda: "can be used again" in caplog.text)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "INFO", "INFO"]


async def test_what_is_seen_once_only_is_left_alone(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be half of a change: neither committed nor logged."""
    caplog.set_level(logging.INFO)
    before, looks = watch.internal, 0

    def flicker(_: TransportFiles) -> Transport:
        nonlocal looks
        looks += 1
        if looks % 4 == 2:
            raise ConfigurationError("half of it is missing.")
        return before if looks % 2 else Transport("half")

    monkeypatch.setattr(module, "_read", flicker)
    await eventually(lambda: looks > 12)

    assert len(watch.store.commits) == 1
    assert caplog.records == []


async def test_unchanged_files_cost_no_commit(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would be a reload."""
    looks = _note_looks(monkeypatch)
    await eventually(lambda: len(looks) > 6)

    assert len(watch.store.commits) == 1


async def test_more_authorities_are_used(watch: Watch, authority: Pair, tmp_path: Path) -> None:
    """A renewal of an authority adds the new one first."""
    other = make_certificate(tmp_path, "other")
    authority.cert.write_bytes(authority.cert.read_bytes() + other.cert.read_bytes())

    await eventually(lambda: len(watch.store.commits) == 2)
    assert watch.internal.authorities == authority.cert.read_text()


async def test_a_commit_that_fails_is_tried_again(
    watch: Watch, authority: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says it once."""
    for _ in range(3):
        watch.store.break_next(OSError(errno.ENOSPC, "No space left on device"))

    authority.cert.write_bytes(make_certificate(tmp_path, "other").cert.read_bytes())

    await eventually(lambda: len(watch.store.commits) == 2)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "No space left on device" in caplog.text


@pytest.mark.parametrize(("notice", "warnings"), [(0, 0), (9999, 1)])
async def test_a_certificate_that_is_about_to_expire_is_told_once_a_day(
    files: TransportFiles,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    notice: float,
    warnings: int,
) -> None:
    """JupyterHub does not renew its own, and afterwards nothing works."""
    monkeypatch.setattr(module, "_INTERVAL", 0.02)
    monkeypatch.setattr(module, "_NOTICE", timedelta(days=notice))
    watch = Watch(files)
    looks = _note_looks(monkeypatch)
    await watch.begin()
    await eventually(lambda: len(looks) > 5)
    await watch.end()

    assert [record.levelname for record in caplog.records] == ["WARNING"] * warnings
    assert caplog.text.count("expires on") == warnings
    assert caplog.text.count("Ask the admin about it.") == warnings


async def test_a_bug_does_not_end_the_watch(
    watch: Watch, authority: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its traceback is logged, and the next look may succeed."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "_read", lambda _: 1 / 0)
        await eventually(lambda: "ZeroDivisionError" in caplog.text)

    authority.cert.write_bytes(make_certificate(tmp_path, "other").cert.read_bytes())
    await eventually(lambda: len(watch.store.commits) == 2)


async def test_without_files_nothing_is_watched(watch: Watch) -> None:
    """Most Hubs have none."""
    cleanup = CleanupStack(logging.getLogger("hub"))
    before = asyncio.all_tasks()
    WatchedTransports().watch(watch.publisher, cleanup, logging.getLogger("hub"))

    assert asyncio.all_tasks() == before


async def test_the_metrics_say_when_the_first_certificate_expires(watch: Watch, tmp_path: Path) -> None:
    """Also after another one has taken its place."""
    await eventually(lambda: watch.expiry)
    before = watch.expiry
    other = make_certificate(tmp_path, "other", days=1)
    _replace(tmp_path / "proxy.key", other.key)
    _replace(tmp_path / "proxy.crt", other.cert)
    await eventually(lambda: watch.expiry != before)

    assert watch.expiry is not None
    assert watch.expiry - time.time() == pytest.approx(24 * 3600, abs=300 * PATIENCE)
