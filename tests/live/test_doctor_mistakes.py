"""The commonest mistakes: the doctor finds each of them, and the start says the same where it fails."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from support.apart import started_apart
from support.certificates import make_certificate
from support.doctored import Patient
from support.other_user import GROUP
from support.ports import free_port
from support.programs import script
from support.traefik import TRAEFIK_COMMAND
from support.waiting import PATIENCE

from traefik_toml_proxy.errors import ProxyError, RouteNotLive
from traefik_toml_proxy.findings import Finding, Verdict
from traefik_toml_proxy.locks import OwnerLock
from traefik_toml_proxy.runtime.program import child_environment, find_program

Prepare = Callable[[Patient], Awaitable[object] | None]


@pytest_asyncio.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Patient]:
    """A Hub's configuration without a mistake."""
    async with contextlib.AsyncExitStack() as opened:
        yield Patient(tmp_path, opened)


class Mistake(NamedTuple):
    """A mistake, and what the doctor finds.

    Attributes:
        prepare: Makes it, in a configuration that is fine or around it.
        about: What the finding is about.
        words: What is in it.
        at_start: Whether the start fails, with the same words; for a Traefik of others, the first route.
    """

    prepare: Prepare
    about: str
    words: tuple[str, ...]
    at_start: bool


def sets(trait: str, value: Any) -> Prepare:
    """Return what sets a trait."""
    return lambda patient: patient.set(trait, value)


def _old_traefik(patient: Patient) -> None:
    patient.set("TraefikProxy.traefik_command", [str(script(patient.folder / "old", "exit 1", version="3.5.3"))])


def _open_state_dir(patient: Patient) -> None:
    patient.state.mkdir()
    patient.state.chmod(0o777)


def _folder_in_place_of_the_file(patient: Patient) -> None:
    (patient.state / "dynamic.toml").mkdir(parents=True)
    patient.state.chmod(0o700)


async def _hub_without_traefik(patient: Patient) -> None:
    """Hold the lock, as a Hub does whose Traefik exits again and again."""
    patient.state.mkdir(mode=0o700)
    lock = OwnerLock(patient.state / "hub.lock")
    await asyncio.to_thread(lock.acquire)
    patient.opened.callback(lock.release)


def _edited_file(patient: Patient) -> None:
    patient.state.mkdir(mode=0o700)
    (patient.state / "dynamic.toml").write_text("[http.routers.mine]\n")


def _other_key(patient: Patient) -> None:
    patient.set("JupyterHub.ssl_cert", str(make_certificate(patient.folder, "one").cert))
    patient.set("JupyterHub.ssl_key", str(make_certificate(patient.folder, "two").key))


def _expired(patient: Patient) -> None:
    pair = make_certificate(patient.folder, "old", days=-1)
    patient.set("JupyterHub.ssl_cert", str(pair.cert))
    patient.set("JupyterHub.ssl_key", str(pair.key))


def _readable_key(patient: Patient) -> None:
    patient.set("JupyterHub.internal_ssl", True)
    patient.set("JupyterHub.internal_certs_location", str(patient.folder / "internal-ssl"))
    patient.set("TraefikTomlProxy.dynamic_config_file_mode", 0o644)


def _only_the_hub_trusts(patient: Patient) -> None:
    patient.set("JupyterHub.trusted_downstream_ips", ["10.0.0.5"])


async def _not_watched(patient: Patient) -> None:
    other = patient.folder / "other"
    other.mkdir()
    await patient.use_traefik_of_others(provider={"directory": str(other)})


async def _a_copy(patient: Patient) -> None:
    await patient.use_traefik_of_others()
    proxy = await patient.proxy()
    await proxy.get_all_routes()
    await proxy.stop()
    shutil.copy(patient.routes, patient.watched / "copy.toml")


async def _outside_of_the_watched_folder(patient: Patient) -> None:
    await patient.use_traefik_of_others()
    patient.set("TraefikTomlProxy.watched_folder", str(patient.folder / "elsewhere"))


async def _broken_neighbour(patient: Patient) -> None:
    (patient.watched / "theirs.yml").write_text("http: [\n")
    await patient.use_traefik_of_others()


async def _entry_point(patient: Patient) -> None:
    await patient.use_traefik_of_others(entry_point="public")


async def _no_encoded_slash(patient: Patient) -> None:
    if (await find_program(TRAEFIK_COMMAND, child_environment({}))).version < (3, 6, 3):
        pytest.skip("this Traefik cannot refuse them")
    await patient.use_traefik_of_others(http={"encodedCharacters": {"allowEncodedSlash": False}})


async def _no_certificate(patient: Patient) -> None:
    await patient.use_traefik_of_others(tls=True, http={"sanitizePath": False, "encodeQuerySemicolons": True})
    (patient.watched / "foreign-certificate.toml").unlink()


async def _other_scheme(patient: Patient) -> None:
    traefik = await patient.use_traefik_of_others()
    patient.set("TraefikProxy.traefik_url", traefik.url.replace("http:", "https:"))


async def _closed_to_the_group(patient: Patient) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to any group")
    patient.set("TraefikTomlProxy.dynamic_config_file_group", str(GROUP))
    await patient.use_traefik_of_others()


def of_others(**how: Any) -> Prepare:
    """Return what configures a Hub for a Traefik of others."""

    async def prepare(patient: Patient) -> None:
        await patient.use_traefik_of_others(**how)

    return prepare


_EXTRA = "TraefikProxy.extra_static_config"
_TIMEOUTS = {"entryPoints": {"http": {"transport": {"respondingTimeouts": {"readTimeout": "60s"}}}}}

# The Hub starts Traefik.
MISTAKES = {
    "another proxy": Mistake(
        sets("JupyterHub.proxy_class", "configurable-http-proxy"),
        "configuration",
        ("ConfigurableHTTPProxy", 'c.JupyterHub.proxy_class = "traefik-toml"'),
        at_start=False,
    ),
    "a typing error": Mistake(
        sets("TraefikProxy.trusted_proxy", ["10.0.0.5"]), "configuration", ("trusted_proxy", "trusted_proxies"), False
    ),
    "a value of another type": Mistake(
        sets("TraefikProxy.check_route_timeout", "a minute"),
        "configuration",
        ("check_route_timeout", "a minute"),
        False,
    ),
    "an error in the file": Mistake(
        lambda patient: patient.write("c.TraefikProxy.state_dir = ("), "configuration", ("SyntaxError",), False
    ),
    "no Traefik": Mistake(
        sets("TraefikProxy.traefik_command", ["/no/such/traefik"]), "Traefik", ("was not found", "pip install"), True
    ),
    "an old Traefik": Mistake(_old_traefik, "Traefik", ("Traefik 3.5.3", "3.6.2 or newer"), at_start=True),
    "an option in the command": Mistake(
        sets("TraefikProxy.traefik_command", ["traefik", "--api"]), "settings", ("'--api'", "extra_static_config"), True
    ),
    "a port that is taken": Mistake(
        Patient.listen, "ports", ("is taken by another process", "process ", "c.JupyterHub.bind_url"), at_start=True
    ),
    "an address of another machine": Mistake(
        lambda patient: patient.set("JupyterHub.bind_url", f"http://192.0.2.1:{patient.port}"),
        "ports",
        ("is not one of this machine", "http://:8000"),
        at_start=True,
    ),
    "a folder that others may write": Mistake(
        _open_state_dir, "state_dir", ("can write to", "chmod 700"), at_start=True
    ),
    "a file that Traefik would not load": Mistake(
        sets("TraefikTomlProxy.dynamic_config_file", "routes.conf"), "dynamic_config_file", ("must end in .toml",), True
    ),
    "a folder in place of the file": Mistake(
        _folder_in_place_of_the_file, "dynamic_config_file", ("is a folder",), at_start=False
    ),
    "a Traefik that does not run": Mistake(
        _hub_without_traefik, "live", ("its Traefik does not", "log says why"), False
    ),
    "a copy of the file": Mistake(
        _a_copy, "dynamic_config_file", ("copy.toml also has the routes", "delete it"), at_start=True
    ),
    "a file that is not in the folder": Mistake(
        _outside_of_the_watched_folder, "dynamic_config_file", ("the folder that watched_folder names",), at_start=True
    ),
    "an edited file": Mistake(_edited_file, "routes", ("cannot be used", "Start the Hub"), at_start=False),
    "no address": Mistake(
        sets("TraefikProxy.trusted_proxies", ["proxy.example.org"]), "trust", ("neither an IP address",), at_start=True
    ),
    "trust in Traefik alone": Mistake(
        sets("TraefikProxy.trusted_proxies", ["10.0.0.5"]),
        "trust",
        ("for the address of every user", "c.JupyterHub.trusted_downstream_ips = ['10.0.0.5']"),
        at_start=False,
    ),
    "trust in the Hub alone": Mistake(
        _only_the_hub_trusts,
        "trust",
        ("only the Hub trusts it", "c.TraefikProxy.trusted_proxies = ['10.0.0.5']"),
        False,
    ),
    "https ends in front": Mistake(
        sets("JupyterHub.public_url", "https://hub.example.org/"), "trust", ("c.TraefikProxy.trusted_proxies =",), False
    ),
    "the key of another certificate": Mistake(
        _other_key, "certificate", ("is not the key of the first certificate",), at_start=True
    ),
    "an expired certificate": Mistake(_expired, "certificate", ("expired at", "Renew it"), at_start=False),
    "no https to redirect to": Mistake(
        sets("TraefikProxy.redirect_http", 80), "settings", ("there is no https",), True
    ),
    "a limit for uploads": Mistake(sets(_EXTRA, _TIMEOUTS), "time-outs", ("cuts off uploads", "readTimeout"), False),
    "another folder for Traefik": Mistake(
        sets(_EXTRA, {"providers": {"file": {"directory": "/etc/traefik"}}}), "settings", ("cannot be set",), True
    ),
    "another proxy's setting": Mistake(
        sets("ConfigurableHTTPProxy.auth_token", "hush"), "settings", ("c.ConfigurableHTTPProxy.auth_token",), False
    ),
    "a key that everybody may read": Mistake(
        _readable_key, "settings", ("0o644", "which others must not read"), at_start=True
    ),
    "a password in a target": Mistake(
        sets("Proxy.extra_routes", {"/x/": "http://me:hush@127.0.0.1:1"}), "settings", ("user name or password",), False
    ),
}

# Others run Traefik.
MISTAKES_WITH_OTHERS = {
    "not running": Mistake(of_others(start=False), "live", ("Traefik does not run",), at_start=True),
    "not watched": Mistake(_not_watched, "live", ("and so not", "providers.file.directory ="), at_start=True),
    "another entry point": Mistake(
        _entry_point, "live", ('c.TraefikProxy.traefik_entrypoint = "public"',), at_start=True
    ),
    "https in place of http": Mistake(_other_scheme, "live", ("begin c.TraefikProxy.traefik_url",), at_start=True),
    "a folder that keeps the group out": Mistake(
        _closed_to_the_group,
        "dynamic_config_file_group",
        (f"The group '{GROUP}' may not enter", "chmod g+x"),
        at_start=False,
    ),
    "another file is broken": Mistake(_broken_neighbour, "live", ("theirs.yml", "is broken"), at_start=True),
    "changes are held back": Mistake(
        of_others(throttle="30s"),
        "live",
        ("holds back changes for 30 s", 'providersThrottleDuration = "0s"'),
        at_start=True,
    ),
    "paths are changed": Mistake(
        of_others(http={"sanitizePath": True}), "Traefik that others run", ("sanitizePath = false",), at_start=False
    ),
    "encoded characters are refused": Mistake(
        _no_encoded_slash,
        "Traefik that others run",
        ("%2F", "encodedCharacters"),
        at_start=False,
    ),
    "a new key at every change": Mistake(
        _no_certificate, "Traefik that others run", ("makes a new key", "defaultCertificate"), at_start=False
    ),
    "uploads are limited": Mistake(
        of_others(read_timeout="60s"), "Traefik that others run", ("cuts off uploads", 'readTimeout = "0s"'), False
    ),
}


def _the_one(findings: list[Finding], mistake: Mistake) -> Finding:
    """Return the finding about a mistake, which has all of its words."""
    found = [
        finding
        for finding in findings
        if finding.verdict is Verdict.WRONG
        and finding.about == mistake.about
        and all(word in str(finding) for word in mistake.words)
    ]
    assert len(found) == 1, findings
    return found[0]


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
async def test_the_doctor_finds_it(mistake: Mistake, patient: Patient) -> None:
    """Only what is wrong, and the start says it in the same words."""
    prepared = mistake.prepare(patient)
    if inspect.isawaitable(prepared):
        await prepared
    findings = await patient.findings()

    found = _the_one(findings, mistake)
    assert "hush" not in str([finding.as_dict() for finding in findings if finding is not found])
    assert mistake.at_start == await _starting_says(patient, found)


async def _starting_says(patient: Patient, found: Finding) -> bool:
    """Whether the Hub's proxy does not start, and says what the doctor said."""
    if found.about == "configuration":
        return False
    try:
        proxy = await patient.proxy()
        await (proxy.start() if proxy.should_start else proxy.get_all_routes())
    except ProxyError as error:
        return found.text in str(error)
    return False


@pytest.mark.parametrize("mistake", MISTAKES_WITH_OTHERS.values(), ids=MISTAKES_WITH_OTHERS)
async def test_the_doctor_finds_it_with_a_traefik_of_others(mistake: Mistake, patient: Patient) -> None:
    """While the Hub runs; what keeps a route from being live is in the error about the route as well."""
    prepared = mistake.prepare(patient)
    if inspect.isawaitable(prepared):
        await prepared
    if not mistake.at_start:
        patient.set("TraefikProxy.check_route_timeout", 10 * PATIENCE)
    proxy = await patient.proxy()
    error = ""
    try:
        await proxy.add_route("/user/a/", f"http://127.0.0.1:{free_port()}", {})
    except RouteNotLive as not_live:
        error = str(not_live)

    found = _the_one(await patient.findings(), mistake)
    assert mistake.at_start == bool(error)
    assert all(word in error for word in mistake.words) == mistake.at_start
    assert found.mend


def test_a_file_that_is_mounted_alone_and_no_inotify_left(patient: Patient) -> None:
    """Such a file cannot be replaced; without inotify, Traefik would notice no change."""
    source, target = patient.folder / "source", patient.folder / "mounted.toml"
    source.touch()
    target.touch()
    mount, limit = f"mount --bind {source} {target}", "echo 0 >/proc/sys/user/max_inotify_instances"
    traits = patient.traits
    patient.set("TraefikTomlProxy.dynamic_config_file", str(target))

    found = patient.wrong_apart(f"{mount} && {limit}")
    assert found.keys() == {"dynamic_config_file", "inotify"}
    assert found["dynamic_config_file"].startswith(f"{target} is a mount of its own")
    same_words = found["dynamic_config_file"].partition(" is ")[2].rstrip(". ")
    assert same_words in started_apart(patient.traits, before=mount).error
    assert "fs.inotify.max_user_instances" in found["inotify"]
    assert found["inotify"].strip().removeprefix("Traefik ") in started_apart(traits, before=limit).error


def test_a_file_of_another_user_and_a_port_for_root_alone(patient: Patient) -> None:
    """As after the Hub was once started by root."""
    patient.state.mkdir(mode=0o700)
    log = patient.state / "traefik.log"
    log.touch(mode=0o600)
    os.chown(log, 54321, 54321)
    patient.set("JupyterHub.bind_url", "http://127.0.0.1:80")

    found = patient.wrong_apart("true", user=1000)
    assert found.keys() == {"state_dir", "entry point http"}
    assert f"{log} belongs to " in found["state_dir"]
    assert "Run: chown -R " in found["state_dir"]
    assert "may not listen on that port" in found["entry point http"]
    assert "cap_net_bind_service" in found["entry point http"]


def test_a_group_that_the_user_is_not_in(patient: Patient) -> None:
    """The file could not be given to it."""
    (patient.folder / "watched").mkdir()
    patient.set("Proxy.should_start", False)
    patient.set("TraefikTomlProxy.dynamic_config_file", str(patient.routes))
    patient.set("TraefikTomlProxy.dynamic_config_file_group", str(GROUP))

    found = patient.wrong_apart("true", user=1000)
    assert "is not in that group" in found["dynamic_config_file_group"]
    assert "usermod --append --groups" in found["dynamic_config_file_group"]
