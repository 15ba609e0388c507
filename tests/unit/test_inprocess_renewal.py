"""A certificate counts when it has been found twice in a row: files that belong together are not replaced at once."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.certificates import make_certificate
from support.waiting import eventually

from traefik_toml_proxy.inprocess import renewal
from traefik_toml_proxy.inprocess.renewal import PublicTls
from traefik_toml_proxy.inprocess.tls import PublicContext
from traefik_toml_proxy.runtime.certificate import PairFiles
from traefik_toml_proxy.seams import NO_METRICS
from traefik_toml_proxy.threads import in_thread

Contents = tuple[bytes, bytes]


@dataclass(frozen=True)
class Script(PairFiles):
    """Files that have something else in them at each look."""

    looks: Iterator[Contents] = field(default_factory=lambda: iter(()))
    done: list[Contents] = field(default_factory=list)

    def read(self) -> Contents:
        """Return what is in them now."""
        self.done.append(next(self.looks))
        return self.done[-1]


@pytest.mark.parametrize(
    ("looks", "logged"),
    [
        ("old half new new", ["The new certificate in"]),
        ("old half half", ["The new certificate cannot be used"]),
        ("old new old old", []),
        ("old half old new old half old old", []),
        (
            "old half half new new",
            ["The new certificate cannot be used", "The new certificate in", "The certificate in"],
        ),
    ],
)
async def test_what_is_found_only_once_is_neither_shown_nor_complained_about(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    looks: str,
    logged: list[str],
) -> None:
    """It is half of a change, or one that is not complete."""
    caplog.set_level(logging.INFO, logger="hub")
    monkeypatch.setattr(renewal, "_INTERVAL", 0)
    old, new = (make_certificate(tmp_path, name) for name in ("old", "new"))
    contents = {
        "old": (old.cert.read_bytes(), old.key.read_bytes()),
        "half": (new.cert.read_bytes(), old.key.read_bytes()),
        "new": (new.cert.read_bytes(), new.key.read_bytes()),
    }
    named = [contents[name] for name in looks.split()]
    files = Script(old.cert, old.key, looks=itertools.chain(named, itertools.repeat(named[-1])))
    tls = PublicTls(files, functools.partial(in_thread, PublicContext().use), logging.getLogger("hub"), NO_METRICS)
    await tls.open()
    watching = asyncio.ensure_future(tls.watch())
    await eventually(lambda: len(files.done) > len(named) + 1)
    watching.cancel()
    await asyncio.wait([watching])

    assert len(caplog.messages) == len(logged)
    assert all(message.startswith(begin) for message, begin in zip(caplog.messages, logged, strict=True))
