"""The command ``python -m traefik_toml_proxy``, a traitlets Application. Does I/O through what it runs."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from traitlets import Bool, Enum, Integer, List, Unicode
from traitlets.config import Application

from . import __version__
from .conformance import CASES, Case, Level, Result, StartedByHub, run_all
from .conformance.differential import Difference, find_difference
from .conformance.report import Results, as_json, line, summary


class ConformanceApp(Application):
    """Runs the conformance suite against a proxy class."""

    name = "traefik_toml_proxy conformance"
    version = __version__
    description = """Try a JupyterHub proxy: what users and JupyterHub rely on, from outside.

    Its traits are set as for JupyterHub, and {port1}, {port2} (free ports), {port} (the public one), {scheme} and {folder}
    (an empty one) are filled in.
    """
    examples = """
    python -m traefik_toml_proxy conformance traefik_toml_proxy:TraefikTomlProxy
    python -m traefik_toml_proxy conformance jupyterhub.proxy:ConfigurableHTTPProxy \\
        --ConfigurableHTTPProxy.api_url='{scheme}://127.0.0.1:{port1}'
    """

    json = Unicode("", help="Write the results to this file, as JSON.").tag(config=True)
    outside = Unicode(
        "",
        help="""
        A command that runs the proxy outside of the Hub; set should_start = False for the class, too.

        Ended after each proxy that is tried.
        """,
    ).tag(config=True)
    only = List(Unicode(), help="Run only the cases whose ids begin with one of these.").tag(config=True)
    level = Enum(
        [level.value for level in Level],
        Level.BEYOND.value,
        help="Run the cases up to this level: required, expected or beyond (all).",
    ).tag(config=True)
    chp = Unicode(
        "",
        help="""
        The configurable-http-proxy command, to compare the routing with: the same random tables and paths for both.

        Needs the package hypothesis. A difference is made as small as can be, and printed. Paths with encoded slashes, dot
        segments, two slashes at the start, backslashes or broken escapes are passed over: proxies differ there.
        """,
    ).tag(config=True)
    random_paths = Integer(300, help="How many random paths to compare, when chp is set.").tag(config=True)
    log_file = Unicode("", help="Where the output of the proxy and its log go. Default: nowhere.").tag(config=True)
    list = Bool(False, help="Only list the cases, with their rules and sources.").tag(config=True)

    aliases = {  # noqa: RUF012 - that is how traitlets has it
        "json": "ConformanceApp.json",
        "outside": "ConformanceApp.outside",
        "only": "ConformanceApp.only",
        "level": "ConformanceApp.level",
        "chp": "ConformanceApp.chp",
        "log-file": "ConformanceApp.log_file",
    }
    flags = {"list": ({"ConformanceApp": {"list": True}}, "Only list the cases.")}  # noqa: RUF012 - as above

    def start(self) -> None:
        """Run the cases and print the results; exits with 1 if a required or expected one has failed."""
        cases = self._chosen()
        if self.list:
            for case in cases:
                print(f"{case.id} ({case.level.value})\n  {case.rule}\n  Source: {case.source}")  # noqa: T201 - its output
            return
        if len(self.extra_args) != 1 or ":" not in self.extra_args[0]:
            self.exit("Which proxy? Give one as module:Class.")
        subject = self._subject(self.extra_args[0])
        with _to_file(self.log_file or os.devnull) as out:
            outcomes = asyncio.run(run_all(subject, cases, lambda outcome: print(line(outcome), file=out, flush=True)))
            results = Results(subject.name, subject.version, outcomes)
            print(f"\n{summary(results)}", file=out, flush=True)
            difference = self._difference(subject, out) if self.chp else None
        if self.json:
            Path(self.json).write_text(json.dumps(as_json(results), indent=1) + "\n", encoding="utf-8")
        seen_to_work = results.conforms and any(outcome.result is Result.PASSED for outcome in outcomes)
        self.exit(0 if seen_to_work and difference is None else 1)

    def _difference(self, subject: StartedByHub, out: TextIO) -> Difference | None:
        """Compare the routing with that of configurable-http-proxy, and say what was found."""
        traits = {"api_url": "http://127.0.0.1:{port1}", "command": _command(self.chp), "log_level": "error"}
        chp = StartedByHub("jupyterhub.proxy:ConfigurableHTTPProxy", {"ConfigurableHTTPProxy": traits})
        difference = find_difference(subject, chp, examples=self.random_paths)
        if difference is None:
            print(
                f"\nRouting is that of configurable-http-proxy for {self.random_paths} random paths.",
                file=out,
                flush=True,
            )
        else:
            print(f"\nRouting differs from configurable-http-proxy: {difference}", file=out, flush=True)
        return difference

    def _chosen(self) -> tuple[Case, ...]:
        levels = list(Level)[: [level.value for level in Level].index(self.level) + 1]
        prefixes = tuple(self.only) or ("",)
        return tuple(case for case in CASES if case.level in levels and case.id.startswith(prefixes))

    def _subject(self, proxy_class: str) -> StartedByHub:
        config: dict[str, Any] = {
            name: dict(section) for name, section in self.config.items() if name != type(self).__name__
        }
        return StartedByHub(
            proxy_class,
            config=config,
            command=_command(self.outside),
            version=_version_of(proxy_class.partition(":")[0]),
        )


def _command(text: str) -> list[str]:
    """Return the words of a command; a relative path is that of this folder, and the proxy is started in another one."""
    words = shlex.split(text)
    return [str(Path(words[0]).absolute()) if os.sep in words[0] else words[0], *words[1:]] if words else []


def _version_of(module: str) -> str:
    """Return the version of the package that a module is in, or "" if it does not say."""
    return str(getattr(importlib.import_module(module.partition(".")[0]), "__version__", ""))


@contextlib.contextmanager
def _to_file(path: str) -> Iterator[TextIO]:
    """Send all output of this process, and of those that it starts, to a file; yield what the output was."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    sys.stdout.flush()
    with open(os.dup(1), "w", encoding="utf-8") as out, Path(path).open("ab") as file:  # noqa: PTH123 - a descriptor
        kept = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield out
        finally:
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)


class TraefikTomlProxyApp(Application):
    """What the package can do beside being a proxy."""

    name = "traefik_toml_proxy"
    version = __version__
    description = "Commands of traefik_toml_proxy."
    subcommands = {"conformance": (ConformanceApp, "Try a JupyterHub proxy, whichever.")}  # noqa: RUF012 - as above

    def start(self) -> None:
        """Run the subcommand, or say which there are."""
        if self.subapp is not None:
            self.subapp.start()
        else:
            self.print_help()


main = TraefikTomlProxyApp.launch_instance
