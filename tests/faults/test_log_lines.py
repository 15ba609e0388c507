"""Whatever happens, each message of the log is one line of text, at the right level, and without secrets."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.backend import get
from support.certificates import make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import revision_path, traefik_pid
from support.ports import free_port
from support.waiting import eventually

from traefik_toml_proxy import session as module


async def test_a_life_full_of_faults(
    make_proxy: ProxyMaker,
    make_backend: BackendMaker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the start, over requests, failures, repairs and a restart, to the stop."""
    monkeypatch.setattr(module, "_WATCH_INTERVAL", 0.1)
    caplog.set_level(logging.INFO, "hub")
    hub, pair = await make_backend("hub"), make_certificate(tmp_path, "hub")
    proxy = make_proxy(
        public_url=f"https://127.0.0.1:{free_port()}",
        hub=SimpleNamespace(host=hub.url, base_url="/hub/", routespec="/"),
        traefik_log_level="INFO",
        **pair.traits,
    )
    await proxy.start()
    secret, tls = revision_path(proxy), pair.client()
    key = pair.key.read_text().splitlines()[1]
    await proxy.add_route("/", hub.url, {"token": "s3cret"})
    await proxy.add_route("/user/a\u2028da\n/", f"http://127.0.0.1:{free_port()}", {"token": "s3cret"})
    await proxy.delete_route("/user/nobody\n/")
    await get(proxy.public_url, "/user/a%E2%80%A8da%0A/x?token=s3cret", tls=tls, headers={"Cookie": "token=s3cret"})
    await eventually(lambda: "A request for" in caplog.text)
    (tmp_path / "state" / "dynamic.toml").write_text("edited = broken")
    await eventually(lambda: "as it should be again" in caplog.text)
    pair.key.write_text("s3cret")
    await eventually(lambda: "cannot be used" in caplog.text, within=15)
    os.kill(traefik_pid(proxy), signal.SIGKILL)
    await eventually(lambda: "started again" in caplog.text)
    await proxy.stop()

    messages = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [message for _, message in messages if not message.isprintable()] == []
    for word in ("s3cret", secret, key, "token"):
        assert [message for _, message in messages if word in message] == []
    # On a busy machine, Traefik may take longer than five looks, which are half a second here, to load what was repaired, or
    # to listen again.
    others = ("Traefik: ", " is not live (", " are not served: ", " is live")
    ours = {
        f"{level} {message.partition(' ')[0]}" for level, message in messages if not any(map(message.count, others))
    }
    assert sorted(ours) == sorted(
        {
            "INFO Traefik",  # it serves, runs again, has been stopped
            "WARNING There",  # no such route
            "WARNING A",  # request that failed
            f"WARNING {tmp_path / 'state' / 'dynamic.toml'}",
            f"INFO {tmp_path / 'state' / 'dynamic.toml'}",
            "ERROR The",  # new certificate cannot be used
            "ERROR Traefik",  # has exited
        }
    )
