"""``python -m traefik_toml_proxy conformance``: the conformance suite against any proxy class. Does I/O through it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from traitlets import Bool, Enum, Integer, List, TraitError, Unicode, validate
from traitlets.config import Application

from .. import __version__
from ..conformance import CASES, Case, Level, Result, StartedByHub, run_all
from ..conformance.differential import AMBIGUOUS_PATHS, Difference, KnownDifference, find_difference
from ..conformance.report import Results, as_json, line, summary


class ConformanceApp(Application):
    """Runs the conformance suite against a proxy class."""

    name = "traefik_toml_proxy conformance"
    version = __version__
    description = """Test a JupyterHub proxy from the outside: does it do what users and JupyterHub rely on?

    Set the proxy's traits as you would for JupyterHub. In their values, {port1}, {port2} and {port3} stand for free ports,
    {port} for the public one, {scheme} for http or https, and {folder} for an empty folder.
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
        A command that runs the proxy outside of the Hub. Set should_start = False for the class as well.

        The command is started for each group of cases that share a proxy, and killed after it.
        """,
    ).tag(config=True)
    only = List(Unicode(), help="Run only the cases whose ids start with one of these.").tag(config=True)
    level = Enum(
        [level.value for level in Level],
        Level.BEYOND.value,
        help="Run the cases up to this level: required, expected or beyond (all).",
    ).tag(config=True)
    chp = Unicode(
        "",
        help="""
        The configurable-http-proxy command. If set, send the same random paths over the same random route tables through
        both proxies, and report the first path that they route differently, reduced to the smallest example.

        Requires the package hypothesis. Paths on which the standards let proxies differ are passed over: those with encoded
        slashes, dot segments, two slashes at the start, backslashes or malformed escapes. More can be given by known.
        """,
    ).tag(config=True)
    known = List(
        Unicode(),
        help="""
        A known difference from configurable-http-proxy: a regular expression for paths to pass over when chp is set.

        It is searched for anywhere in the path. May be given more than once.
        """,
    ).tag(config=True)
    random_paths = Integer(300, help="How many random paths to compare if chp is set.").tag(config=True)
    log_file = Unicode("", help="Append the proxy's output and its log to this file. Default: discard them.").tag(
        config=True
    )
    list = Bool(False, help="List the cases, with their rules and sources, and run none.").tag(config=True)

    aliases = {  # noqa: RUF012 - traitlets expects a plain class attribute
        "json": "ConformanceApp.json",
        "outside": "ConformanceApp.outside",
        "only": "ConformanceApp.only",
        "level": "ConformanceApp.level",
        "chp": "ConformanceApp.chp",
        "known": "ConformanceApp.known",
        "log-file": "ConformanceApp.log_file",
    }
    flags = {  # noqa: RUF012 - as above
        "list": ({"ConformanceApp": {"list": True}}, "List the cases, with their rules and sources, and run none.")
    }

    @validate("known")
    def _check_known(self, proposal: Any) -> Any:
        for pattern in proposal.value:
            try:
                re.compile(pattern)
            except re.error as error:
                raise TraitError(f"ConformanceApp.known: {pattern!r} is no regular expression: {error}") from error
        return proposal.value

    def start(self) -> None:
        """Run the cases and print the results; exit with 1 if a required or expected one has failed."""
        cases = self._selected_cases()
        if self.list:
            for case in cases:
                print(f"{case.id} ({case.level.value})\n  {case.rule}\n  Source: {case.source}")  # noqa: T201 - its output
            return
        if len(self.extra_args) != 1 or ":" not in self.extra_args[0]:
            self.exit("Name one proxy class, as module:Class.")
        subject = self._subject(self.extra_args[0])
        with _output_redirected(self.log_file or os.devnull) as out:
            outcomes = asyncio.run(run_all(subject, cases, lambda outcome: print(line(outcome), file=out, flush=True)))
            results = Results(subject.name, subject.version, outcomes)
            print(f"\n{summary(results)}", file=out, flush=True)
            difference = self._routing_difference(subject, out) if self.chp else None
        if self.json:
            Path(self.json).write_text(json.dumps(as_json(results), indent=1) + "\n", encoding="utf-8")
        passes_any = any(outcome.result is Result.PASSED for outcome in outcomes)
        self.exit(0 if results.conforms and passes_any and difference is None else 1)

    def _routing_difference(self, subject: StartedByHub, out: TextIO) -> Difference | None:
        """Compare the routing with configurable-http-proxy's, and print the result."""
        traits = {"api_url": "http://127.0.0.1:{port1}", "command": _command(self.chp), "log_level": "error"}
        chp = StartedByHub("jupyterhub.proxy:ConfigurableHTTPProxy", {"ConfigurableHTTPProxy": traits})
        own = [KnownDifference(re.compile(pattern), "given by --known") for pattern in self.known]
        difference = find_difference(subject, chp, examples=self.random_paths, known=[*AMBIGUOUS_PATHS, *own])
        if difference is None:
            text = f"The routing is that of configurable-http-proxy for {self.random_paths} random paths."
        else:
            text = f"The routing differs from that of configurable-http-proxy: {difference}"
        print(f"\n{text}", file=out, flush=True)
        return difference

    def _selected_cases(self) -> tuple[Case, ...]:
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
    """Return the words of a command, its program as an absolute path: the proxy is started in another folder."""
    words = shlex.split(text)
    return [str(Path(words[0]).absolute()) if os.sep in words[0] else words[0], *words[1:]] if words else []


def _version_of(module: str) -> str:
    """Return the ``__version__`` of a module's top-level package, or "" if it has none."""
    return str(getattr(importlib.import_module(module.partition(".")[0]), "__version__", ""))


@contextlib.contextmanager
def _output_redirected(path: str) -> Iterator[TextIO]:
    """Send the output of this process and of its children to a file; yield the original standard output."""
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
