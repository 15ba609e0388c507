"""Fixtures of several faults."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from support.backend import Backend
from support.fixtures import BackendMaker
from support.in_process import event_loop_kind, in_process, make_in_process, serve  # noqa: F401 - fixtures
from support.killed_hub import Hub


@pytest_asyncio.fixture
async def ada(make_backend: BackendMaker) -> Backend:
    """The server of a user who keeps working while the Hub is down."""
    return await make_backend("ada")


@pytest_asyncio.fixture
async def killed_hub(traits: dict[str, Any], ada: Backend) -> AsyncIterator[Hub]:
    """A Hub that was killed and left a Traefik with one route."""
    hub = await Hub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    yield hub
    with contextlib.suppress(ProcessLookupError):
        os.kill(hub.traefik_pid, signal.SIGKILL)
