"""All stores, including the fake, keep the same contract."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support.disk import STEPS_BEFORE, disturbed, failing
from support.fakes import MemoryPlace, MemoryStore
from support.store_contract import CONTRACT, Shelf
from support.stores import toml_store

from traefik_toml_proxy.stores.toml_file import TomlFileStore


class TomlShelf:
    """A TOML file in a folder that does not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "new" / "dynamic.toml"

    def store(self) -> TomlFileStore:
        return toml_store(self.path)

    def full_disk(self) -> AbstractContextManager[object]:
        return disturbed(self.path, "write", failing(errno.ENOSPC))

    def failures(self) -> list[AbstractContextManager[object]]:
        return [disturbed(self.path, step, failing(errno.EIO)) for step in STEPS_BEFORE]

    def harm(self) -> None:
        self.path.unlink()


class MemoryShelf:
    """The place of the fake store."""

    def __init__(self, _: Path) -> None:
        self.place = MemoryPlace()

    def store(self) -> MemoryStore:
        return MemoryStore(self.place)

    def full_disk(self) -> AbstractContextManager[object]:
        self.store().break_next(OSError(errno.ENOSPC, "No space left on device"))
        return contextlib.nullcontext()

    def failures(self) -> list[AbstractContextManager[object]]:
        return [self._full_disk_later(), self._lost_answer()]

    @contextlib.contextmanager
    def _full_disk_later(self) -> Iterator[None]:
        with self.full_disk():
            yield

    @contextlib.contextmanager
    def _lost_answer(self) -> Iterator[None]:
        self.place.loses_answers = True
        yield
        self.place.loses_answers = False

    def harm(self) -> None:
        self.place.damage = "was deleted"


@pytest.mark.parametrize("keeps", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make_shelf", [TomlShelf, MemoryShelf])
async def test_every_store_keeps_the_contract(
    make_shelf: Callable[[Path], Shelf], keeps: Callable[[Shelf], Awaitable[None]], tmp_path: Path
) -> None:
    """See support/store_contract.py for what RoutePublisher relies on."""
    await keeps(make_shelf(tmp_path))
