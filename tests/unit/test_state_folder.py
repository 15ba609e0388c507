"""traefik_toml_proxy.runtime.state_folder: the folder, its lock and the static configuration are made again."""

from __future__ import annotations

import asyncio
import errno
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from support.disk import disturbed, failing

from traefik_toml_proxy.errors import ConfigurationError, StoreLocked
from traefik_toml_proxy.runtime.state_folder import StateFolder

LOG = logging.getLogger("hub")
TEXT = b"[static]\n"


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """The file with the static configuration."""
    return tmp_path / "state" / "traefik.toml"


@pytest_asyncio.fixture
async def folder(tmp_path: Path, static: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[StateFolder]:
    """A folder that is in use; closed at the end, twice."""
    caplog.set_level(logging.INFO, "hub")
    folder = StateFolder(tmp_path / "state", LOG)
    await folder.open()
    await folder.write_static(static, TEXT)
    yield folder
    await folder.close()
    await folder.close()


def remove_lock(static: Path) -> None:
    static.with_name("hub.lock").unlink()


def edit_static(static: Path) -> None:
    static.write_bytes(b"[others]\n")


def remove_all(static: Path) -> None:
    shutil.rmtree(static.parent)


@pytest.mark.parametrize("harm", [remove_lock, edit_static, remove_all])
async def test_harm_is_mended_and_logged(
    folder: StateFolder, static: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Once, and once more when all is well; another Hub is still kept out."""
    await folder.repair()
    harm(static)
    for _ in range(3):
        await folder.repair()

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert str(static.parent) in caplog.records[0].getMessage()
    assert static.read_bytes() == TEXT
    assert static.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(StoreLocked):
        await StateFolder(static.parent, LOG).open()


async def test_two_do_not_mend_at_the_same_time(
    folder: StateFolder, static: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Traefik is restarted while the files are looked at: the second finds nothing to do."""
    really_make_again, under_way, most = StateFolder._make_again, 0, 0

    def make_again(again: StateFolder) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.05)
        really_make_again(again)
        under_way -= 1

    monkeypatch.setattr(StateFolder, "_make_again", make_again)
    remove_all(static)
    await asyncio.gather(folder.repair(), folder.repair())

    assert most == 1
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_what_cannot_be_mended_now_is_mended_later(
    folder: StateFolder, static: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk, for example: the log has one line for it."""
    edit_static(static)
    with disturbed(static, "write", failing(errno.ENOSPC)):
        for _ in range(3):
            await folder.repair()
    for _ in range(2):
        await folder.repair()

    assert static.read_bytes() == TEXT
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "No space left on device" in caplog.records[0].getMessage()


async def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    """They could redirect the users of the Hub."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        await StateFolder(tmp_path / "state", LOG).open()


async def test_a_folder_that_is_opened_to_others_meanwhile_is_named_once(
    folder: StateFolder, static: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And once more when it is closed again. It is left to whoever has opened it."""
    for mode in (0o777, 0o777, 0o770, 0o700, 0o700):
        static.parent.chmod(mode)
        await folder.repair()
        assert static.parent.stat().st_mode & 0o777 == mode

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert f"can write to {static.parent} (mode 777)" in caplog.records[0].getMessage()
    assert "chmod 700" in caplog.records[0].getMessage()


async def test_without_a_static_configuration_there_is_none_to_repair(tmp_path: Path) -> None:
    """As while the Hub is still starting."""
    folder = StateFolder(tmp_path / "state", LOG)
    await folder.open()
    remove_lock(tmp_path / "state" / "traefik.toml")
    await folder.repair()

    assert {file.name for file in (tmp_path / "state").iterdir()} == {"hub.lock"}
    await folder.close()
