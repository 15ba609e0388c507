"""The command ``python -m traefik_toml_proxy conformance``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from support.chp import CHP_COMMAND

from traefik_toml_proxy.conformance import CASES

PROXY = "traefik_toml_proxy:TraefikTomlProxy"


async def _run(*arguments: str, folder: Path | None = None) -> tuple[int | None, str, str]:
    """Run the command; return its exit status, standard output and standard error."""
    traefik = (
        [f"--TraefikTomlProxy.traefik_command={os.environ['TEST_TRAEFIK']}"] if "TEST_TRAEFIK" in os.environ else []
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "traefik_toml_proxy", "conformance", *arguments, *traefik),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
    )
    out, error = await process.communicate()
    return process.returncode, out.decode(), error.decode()


async def test_it_prints_a_line_for_each_case_and_writes_json(tmp_path: Path) -> None:
    """The lines are for people, and the file is for programs. The exit status says whether the proxy conforms."""
    file = tmp_path / "results.json"
    status, out, _ = await _run(PROXY, "--only", "api.delete", "--json", str(file))
    results = json.loads(file.read_text())

    assert [line.split()[:3] for line in out.splitlines()[:2]] == [
        ["passed", "required", "api.delete"],
        ["passed", "required", "api.delete-missing"],
    ]
    assert [(case["id"], case["result"]) for case in results["cases"]] == [
        ("api.delete", "passed"),
        ("api.delete-missing", "passed"),
    ]
    assert (results["name"], results["conforms"], status) == ("TraefikTomlProxy", True, 0)


async def test_a_failure_is_explained(tmp_path: Path) -> None:
    """The proxy's own error is the reason, and the exit status is 1."""
    log = tmp_path / "log"
    status, out, _ = await _run(
        PROXY, "--only=api.delete-missing", f"--log-file={log}", "--TraefikProxy.trusted_proxies=nonsense"
    )

    assert out.startswith("FAILED      required api.delete-missing")
    assert "trusted_proxies" in out
    assert "source: jupyterhub/" in out
    assert status == 1


async def test_traits_of_all_kinds_are_set() -> None:
    """They reach a proxy in a Hub's own process, and one that is started outside of the Hub."""
    traefik = os.environ.get("TEST_TRAEFIK", str(Path(sys.executable).with_name("traefik")))
    outside = f"{traefik} --entryPoints.web.address=127.0.0.1:{{port}} --providers.file.directory={{folder}}"
    given = {
        "should_start": "False",
        "start_timeout": "20",
        "dynamic_config_file_mode": "384",
        "traefik_env": "GOGC=100",
        "traefik_entrypoint": "web",
        "dynamic_config_file": "{folder}/jupyterhub.toml",
    }
    traits = [f"--TraefikTomlProxy.{name}={value}" for name, value in given.items()]
    only = "--only=['api.delete-missing', 'lifecycle.hub-killed']"
    started, started_out, _ = await _run(PROXY, only, *traits[1:4])
    outside_status, outside_out, _ = await _run(PROXY, only, *traits, f"--outside={outside}")

    assert [line.split()[:3:2] for line in started_out.splitlines()[:2]] == [
        ["passed", "api.delete-missing"],
        ["passed", "lifecycle.hub-killed"],
    ]
    assert outside_out.startswith("passed      required api.delete-missing")
    assert (started, outside_status) == (0, 0)


async def test_a_proxy_that_passes_no_case_does_not_conform() -> None:
    """A case that is not offered shows nothing about the proxy."""
    status, out, _ = await _run(PROXY, "--only=activity", "--TraefikTomlProxy.track_activity=False")

    assert out.count("not offered expected activity.") == 3
    assert status == 1


async def test_it_lists_the_cases() -> None:
    """With their rules and sources."""
    status, out, _ = await _run("--list")

    assert [case.id for case in CASES if f"{case.id} ({case.level.value})\n  {case.rule}\n" not in out] == []
    assert status == 0


@pytest.mark.parametrize(
    "arguments", [["--list"], ["--list", "--only=api.delete"], [PROXY, "--only=api.delete"]], ids=" ".join
)
async def test_it_ends_as_unix_tools_do_when_nobody_reads_its_output(arguments: list[str]) -> None:
    """As with ``... | head``: killed by SIGPIPE, without a traceback, whether or not the output fills a buffer."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "traefik_toml_proxy", "conformance", *arguments),
            stdout=write_end,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        os.close(write_end)
    _, error = await process.communicate()

    assert (process.returncode, error.decode()) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize("arguments", [[], ["not-a-class"], ["a:B", "c:D"]])
async def test_it_requires_a_proxy_class(arguments: list[str]) -> None:
    """Without one, or with something else, it says what it expects."""
    status, _, error = await _run(*arguments)

    assert "module:Class" in error
    assert status == 1


@pytest.mark.skipif(CHP_COMMAND is None, reason="configurable-http-proxy is not installed; see CONTRIBUTING")
async def test_it_compares_the_routing_with_configurable_http_proxy() -> None:
    """Ours has no other differences than those on ambiguous paths."""
    status, out, _ = await _run(PROXY, "--only=api.delete", f"--chp={CHP_COMMAND}", "--ConformanceApp.random_paths=300")

    assert "The routing is that of configurable-http-proxy for 300 random paths." in out
    assert status == 0


@pytest.mark.skipif(CHP_COMMAND is None, reason="configurable-http-proxy is not installed; see CONTRIBUTING")
async def test_known_differences_are_passed_over(tmp_path: Path) -> None:
    """Each is a regular expression. Without it, the difference is reported, and the command fails."""
    (tmp_path / "own_proxy.py").write_text(
        "from traefik_toml_proxy import TraefikTomlProxy\n\n\nclass MyProxy(TraefikTomlProxy):\n"
        "    async def add_route(self, routespec, target, data):\n"
        '        await super().add_route(routespec.replace("services", "elsewhere"), target, data)\n\n'
        "    async def delete_route(self, routespec):\n"
        '        await super().delete_route(routespec.replace("services", "elsewhere"))\n'
    )
    arguments = ("own_proxy:MyProxy", "--only=api.delete-missing", f"--chp={CHP_COMMAND}")
    found_status, found_out, _ = await _run(*arguments, folder=tmp_path)
    known_status, known_out, _ = await _run(*arguments, "--known=nowhere", "--known=^/services/", folder=tmp_path)

    assert "differs from that of configurable-http-proxy: with the routes ['/services/" in found_out
    assert "The routing is that of configurable-http-proxy" in known_out
    assert (found_status, known_status) == (1, 0)


async def test_a_known_difference_that_is_no_regular_expression_is_refused() -> None:
    status, _, error = await _run(PROXY, "--known=(")

    assert "ConformanceApp.known: '(' is no regular expression" in error
    assert status == 1


async def test_a_proxy_class_may_be_in_the_current_folder(tmp_path: Path) -> None:
    """A Hub in another process finds it there as well."""
    (tmp_path / "own_proxy.py").write_text(
        "from traefik_toml_proxy import TraefikTomlProxy\n\n\nclass MyProxy(TraefikTomlProxy):\n    pass\n"
    )
    status, out, _ = await _run("own_proxy:MyProxy", "--only=lifecycle.hub-killed", folder=tmp_path)

    assert out.startswith("passed      required lifecycle.hub-killed")
    assert status == 0


async def test_each_parameter_of_a_subject_is_tested_as_a_proxy_of_its_own(tmp_path: Path) -> None:
    """No case is run against the proxy of another parameter."""
    (tmp_path / "test_both.py").write_text(
        """\
import pytest
from support.small_proxy import SmallSubject

from traefik_toml_proxy.conformance import CASES
from traefik_toml_proxy.conformance.suite import ProxyConformance


class TestBoth(ProxyConformance):
    cases = tuple(case for case in CASES if case.id in ("api.replace", "api.delete"))

    @pytest.fixture(scope="class", params=["", "api.replace"])
    @classmethod
    def subject(cls, request):
        return SmallSubject(request.param)
"""
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_both.py"),
        stdout=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    out, _ = await process.communicate()

    assert "FAILED test_both.py::TestBoth::test_case[api.replace-api.replace]" in out.decode()
    assert "1 failed, 3 passed" in out.decode()
