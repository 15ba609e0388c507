"""start() returns when Traefik serves; if it fails, it says why, in bounded time, and leaves no process."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from support.backend import get
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import revision_path, traefik_pid
from support.processes import alive, command_line, environment, listening, open_files, started_here
from support.programs import FOREVER, any_script, script
from support.traefik import TRAEFIK_COMMAND
from support.waiting import PATIENCE, eventually
from traitlets.config import Config

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import (
    ConfigurationError,
    ProxyError,
    StoreError,
    StoreLocked,
    TraefikNotFound,
    TraefikStartFailed,
    TraefikUnsupported,
)
from traefik_toml_proxy.runtime import program


async def fails(proxy: TraefikTomlProxy, kind: type[ProxyError], *parts: str) -> None:
    """Start a proxy that fails to start, in bounded time, with an error of this kind that contains each of the parts.

    Afterwards it is as if it had never been started: no process runs, no file is open, and no route is accepted.
    """
    processes, files = started_here(), _paths_open_here()
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        await proxy.start()

    assert time.monotonic() - began < 10 * PATIENCE
    for part in parts:
        assert part in str(caught.value)
    assert started_here() <= processes
    assert _paths_open_here() <= files
    with pytest.raises(ProxyError, match="has not been started"):
        await proxy.add_route("/user/ada/", "http://127.0.0.1:1", {})


def _paths_open_here() -> set[str]:
    return {file for file in open_files(os.getpid()) if file.startswith("/")}


class TestSuccess:
    """What holds when it has returned."""

    async def test_the_very_next_request_is_answered(self, proxy: TraefikTomlProxy) -> None:
        """There is nothing more to wait for; without routes, the answer is 404."""
        assert (await get(proxy.public_url, "/")).status == 404

    async def test_it_listens_where_it_was_asked_to_and_nowhere_else(
        self, proxy: TraefikTomlProxy, free_port: int
    ) -> None:
        """No API, no dashboard, no metrics, no other address."""
        assert listening(traefik_pid(proxy)) == {f"127.0.0.1:{free_port}"}

    async def test_its_process_group_is_its_own(self, proxy: TraefikTomlProxy) -> None:
        """Ctrl-C at the Hub's terminal reaches only the Hub, which then stops Traefik."""
        pid = traefik_pid(proxy)

        assert os.getpgid(pid) == pid != os.getpgid(0)

    async def test_traefik_gets_no_secrets_or_proxy_variables_of_the_hub(
        self, make_proxy: ProxyMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are neither in its environment nor on its command line."""
        secrets = ("JUPYTERHUB_CRYPT_KEY", "CONFIGPROXY_AUTH_TOKEN", "HTTP_PROXY", "https_proxy", "NO_PROXY", "X_TOKEN")
        for name in secrets:
            monkeypatch.setenv(name, "http://hush.invalid")
        proxy = make_proxy()
        await proxy.start()
        given = environment(traefik_pid(proxy))

        assert given.keys().isdisjoint(secrets)
        assert "hush" not in "".join([*given.values(), *command_line(traefik_pid(proxy))])

    async def test_the_secret_path_is_in_no_command_line(self, proxy: TraefikTomlProxy) -> None:
        """Every user of the machine can read command lines."""
        secret = revision_path(proxy).split("/")[1]

        assert secret not in "".join([*command_line(traefik_pid(proxy)), *environment(traefik_pid(proxy)).values()])

    async def test_its_files_are_private_to_the_hub_s_user(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """Every file is 0600 and every folder 0700, even with umask 0."""
        before = os.umask(0)
        proxy = make_proxy()
        await proxy.start()
        await proxy.add_route("/user/ada/", "http://127.0.0.1:1", {})
        os.umask(before)
        state = tmp_path / "state"
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (state, *state.rglob("*"))}

        assert {path.name for path in modes if path.is_file()} >= {"dynamic.toml", "traefik.toml", "traefik.log"}
        assert modes == {path: 0o700 if path.is_dir() else 0o600 for path in modes}

    async def test_it_may_be_started_again_after_stop(
        self, proxy: TraefikTomlProxy, make_backend: BackendMaker
    ) -> None:
        """The table is empty then: ports get reused, so only what the Hub adds again is served."""
        ada = await make_backend("ada")
        await proxy.add_route("/user/ada/", ada.url, {})
        await proxy.stop()
        await proxy.start()

        assert await proxy.get_all_routes() == {}
        assert (await get(proxy.public_url, "/user/ada/")).status == 404

    async def test_a_script_may_run_traefik_with_another_program(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """That is the way to run it with sudo, nice or in a container."""
        traefik = (await program.find_program(TRAEFIK_COMMAND, {})).command[0]
        command = any_script(tmp_path / "traefik", f'exec nice -n 1 {traefik} "$@"')
        proxy = make_proxy(traefik_command=[str(command)])
        await proxy.start()

        assert (await get(proxy.public_url, "/")).status == 404
        assert os.getpriority(os.PRIO_PROCESS, traefik_pid(proxy)) > os.getpriority(os.PRIO_PROCESS, 0)

    async def test_settings_of_other_proxies_are_named(
        self, make_proxy: ProxyMaker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One warning for each, with what takes its place, and without its value. They have no effect."""
        config = Config(
            ConfigurableHTTPProxy={"command": ["chp", "--redirect-port", "80"], "auth_token": "hush"},
            TraefikEtcdProxy={"etcd_url": "http://hush:2379"},
            TraefikProxy={"check_route_timeout": 20},
        )
        await make_proxy(config=config).start()

        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert [warning.split()[0] for warning in warnings] == [
            "c.ConfigurableHTTPProxy.auth_token",
            "c.ConfigurableHTTPProxy.command",
            "'--redirect-port'",
            "c.TraefikEtcdProxy.etcd_url",
        ]
        assert "hush" not in caplog.text


class TestFailure:
    """What the error says when it fails."""

    async def test_a_port_that_is_taken_is_named_with_the_trait(
        self, make_proxy: ProxyMaker, make_backend: BackendMaker
    ) -> None:
        """The error says which port is taken and how to choose another."""
        other = await make_backend("other")
        proxy = make_proxy(public_url=other.url)
        await fails(
            proxy, TraefikStartFailed, other.url.rpartition(":")[2], "c.JupyterHub.bind_url", "address is taken"
        )

    async def test_a_port_where_somebody_listens_without_answering(self, make_proxy: ProxyMaker) -> None:
        """The port is taken by a process that never accepts a connection."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            port = listener.getsockname()[1]
            await fails(make_proxy(public_url=f"http://127.0.0.1:{port}"), TraefikStartFailed, str(port), "bind_url")

    @pytest.mark.parametrize(
        ("extra", "words"),
        [
            ({"entryPoints": {"http": {"bogus": 1}}}, ["field not found", "bogus"]),
            ({"entryPoints": {"http": {"address": "nonsense"}}}, ["nonsense"]),
            ({"providers": {"bogus": {}}}, ["field not found", "bogus"]),
        ],
        ids=["unknown key", "bad address", "unknown provider"],
    )
    async def test_settings_that_traefik_refuses_are_reported_in_its_own_words(
        self, make_proxy: ProxyMaker, extra: dict[str, Any], words: list[str]
    ) -> None:
        """Traefik's own message is what helps with a mistake in extra_static_config."""
        await fails(make_proxy(extra_static_config=extra, start_timeout=5 * PATIENCE), TraefikStartFailed, *words)

    async def test_a_setting_that_toml_cannot_hold(self, make_proxy: ProxyMaker) -> None:
        """The error names the trait."""
        proxy = make_proxy(extra_static_config={"log": {"level": object()}})
        await fails(proxy, ConfigurationError, "extra_static_config")

    @pytest.mark.parametrize(
        "arguments", [["--api.insecure=true"], ["version", "-h"], ["-x"]], ids=["flag", "after a word", "short"]
    )
    async def test_a_command_with_an_option_is_not_run(
        self, make_proxy: ProxyMaker, tmp_path: Path, arguments: list[str]
    ) -> None:
        """Not even for its version: with an option, Traefik would start and listen. The error says what to do instead."""
        command = any_script(tmp_path / "traefik", f"touch {tmp_path / 'run'}")
        proxy = make_proxy(traefik_command=[str(command), *arguments])
        await fails(proxy, ConfigurationError, repr(arguments[-1]), "c.TraefikProxy.extra_static_config", "script")

        assert not (tmp_path / "run").exists()

    async def test_a_program_that_does_not_exist(self, make_proxy: ProxyMaker) -> None:
        """The error names the program and the trait."""
        proxy = make_proxy(traefik_command=["/no/such/traefik"])
        await fails(proxy, TraefikNotFound, "/no/such/traefik", "c.TraefikProxy.traefik_command")

    async def test_a_program_that_is_not_traefik(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """The error shows what it printed."""
        command = any_script(tmp_path / "other", "echo 'nginx version: nginx/1.27'")
        await fails(make_proxy(traefik_command=[str(command)]), TraefikUnsupported, "nginx/1.27", str(command))

    async def test_a_traefik_that_is_too_old(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """The error names both versions, and says what to do."""
        command = script(tmp_path / "traefik", "exit 1", version="3.5.3")
        proxy = make_proxy(traefik_command=[str(command)])
        await fails(proxy, TraefikUnsupported, "Traefik 3.5.3", "3.6.2 or newer", "pip install --upgrade")

    async def test_a_program_that_does_not_print_its_version(
        self, make_proxy: ProxyMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is ended after a while."""
        monkeypatch.setattr(program, "_VERSION_SECONDS", 0.3)
        command = any_script(tmp_path / "traefik", FOREVER)
        await fails(make_proxy(traefik_command=[str(command)]), TraefikUnsupported, "not responding")

    async def test_a_program_that_does_not_serve(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """It has start_timeout seconds; then it is ended, and its last lines are in the error."""
        command = script(tmp_path / "traefik", f"echo I am thinking; {FOREVER}")
        proxy = make_proxy(traefik_command=[str(command)], start_timeout=1 * PATIENCE)
        await fails(proxy, TraefikStartFailed, "I am thinking", proxy.public_url, "no answer")

    async def test_a_program_that_ends_at_once(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """The error comes at once, not after start_timeout."""
        command = script(tmp_path / "traefik", "echo out of luck; exit 7")
        await fails(make_proxy(traefik_command=[str(command)]), TraefikStartFailed, "out of luck", "exit status 7")

    async def test_a_traefik_url_that_is_another_server_s(
        self, make_proxy: ProxyMaker, make_backend: BackendMaker
    ) -> None:
        """The error says what answered, and which trait to look at."""
        other = await make_backend("other")
        proxy = make_proxy(traefik_url=other.url, start_timeout=1 * PATIENCE)
        await fails(proxy, TraefikStartFailed, other.url, "answered 200", "traefik_url")

    async def test_a_state_folder_that_is_a_file(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """The error names the trait."""
        (tmp_path / "state").touch()
        await fails(make_proxy(), ConfigurationError, str(tmp_path / "state"), "c.TraefikProxy.state_dir")

    async def test_a_state_folder_that_others_may_write(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """Anyone who can write there could redirect users."""
        (tmp_path / "state").mkdir()
        (tmp_path / "state").chmod(0o777)
        await fails(make_proxy(), ConfigurationError, "chmod 700", "c.TraefikProxy.state_dir")

    async def test_a_routes_file_that_is_a_folder(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """The error says so, and the folder is left alone."""
        (tmp_path / "state" / "dynamic.toml").mkdir(parents=True)
        (tmp_path / "state").chmod(0o700)
        await fails(make_proxy(), StoreError, "Is a directory", "dynamic_config_file")

    async def test_a_state_folder_of_another_hub(self, make_proxy: ProxyMaker, tmp_path: Path, free_port: int) -> None:
        """It is refused even if each Hub has its own files: the record of the running Traefik is in the folder."""
        first = make_proxy()
        await first.start()
        second = make_proxy(
            public_url=f"http://127.0.0.1:{free_port + 1}",
            static_config_file=str(tmp_path / "other" / "traefik.toml"),
            dynamic_config_file=str(tmp_path / "other" / "dynamic.toml"),
        )
        await fails(second, StoreLocked, str(tmp_path / "state"), f"process {os.getpid()}", "its own state_dir")

        assert alive(traefik_pid(first))

    async def test_a_static_file_that_cannot_be_created(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """The error names the trait."""
        (tmp_path / "file").touch()
        proxy = make_proxy(static_config_file=str(tmp_path / "file" / "traefik.toml"))
        await fails(proxy, ConfigurationError, str(tmp_path / "file"), "c.TraefikProxy.static_config_file")

    @pytest.mark.parametrize(
        "entry_points", ["http", {"http": "x"}, {"http": {"address": 80}}], ids=["no table", "no inner table", "number"]
    )
    async def test_an_invalid_entry_point(self, make_proxy: ProxyMaker, entry_points: object) -> None:
        """The error names the trait, before anything is started."""
        proxy = make_proxy(extra_static_config={"entryPoints": entry_points})
        await fails(proxy, ConfigurationError, "extra_static_config", "'http'")

    async def test_an_output_file_that_cannot_be_written(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """The error does not blame the program."""
        (tmp_path / "state" / "traefik.log").mkdir(parents=True)
        (tmp_path / "state").chmod(0o700)
        await fails(make_proxy(), TraefikStartFailed, "traefik.log cannot be written")

    async def test_it_may_be_tried_again(self, make_proxy: ProxyMaker) -> None:
        """A failed start has released everything, so the next one works."""
        proxy = make_proxy(extra_static_config={"log": {"bogus": 1}})
        await fails(proxy, TraefikStartFailed, "bogus")
        proxy.extra_static_config = {}
        await proxy.start()

        assert alive(traefik_pid(proxy))

    async def test_a_cancelled_start_ends_its_child(self, make_proxy: ProxyMaker, tmp_path: Path) -> None:
        """The Hub may be interrupted while Traefik is starting."""
        command = script(tmp_path / "traefik", f"echo $$ >running.new; mv running.new running; {FOREVER}")
        proxy = make_proxy(traefik_command=[str(command)])
        starting = asyncio.create_task(proxy.start())
        running = tmp_path / "state" / "running"
        await eventually(running.exists)
        starting.cancel()
        await asyncio.wait([starting], timeout=10 * PATIENCE)

        assert starting.cancelled()
        assert not alive(int(running.read_text()))
