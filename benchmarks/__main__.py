"""The command line, ``python -m benchmarks [COMMAND]``. I/O: standard output, and files in the folder of --to."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import conformance, drill, plot_drill, plots, profile, report, report_drill, routes
from .bench import Common
from .contenders import NAMES

_ALL = "profile"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this proxy beside others on this machine. Without a command, everything is measured.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    about = "everything: how long changes of routes take, and what users notice of the proxy"
    command = commands.add_parser(_ALL, help=about, description=about.capitalize() + ".")
    command.add_argument(
        "--parts", nargs="+", choices=list(profile.PARTS), default=list(profile.PARTS), metavar="PART",
        help=f"only these parts, of {', '.join(profile.PARTS)}",
    )  # fmt: skip
    command.add_argument(
        "--rounds", type=int, default=0, metavar="N",
        help="how often each contender takes its turn in the part requests "
        f"(default: {profile.PARTS['requests'][1].rounds})",
    )  # fmt: skip
    command.add_argument(
        "--quick", action="store_true", help="check in a few minutes that everything works; the numbers mean little"
    )
    _add_common(command)
    _add_routes(commands)
    _add_drill(commands)
    command = commands.add_parser("plots", help="redraw the plots of an earlier run")
    command.add_argument("results", help="results.json of that run")
    command.add_argument("--to", default=".", metavar="FOLDER", help="write them there (default: here)")
    command = commands.add_parser("conformance", help="run the conformance suite against this proxy and the others")
    command.add_argument("--traefik", default="", help="the binary (default: on PATH, or beside this Python)")
    command.add_argument("--chp", default="", help="the command (default: on PATH, or in ./node_modules/.bin)")
    command.add_argument("--rst", default="", metavar="FILE", help="write the tables of the documentation to this file")
    command.add_argument("--json", default="", metavar="FILE", help="write all results to this file")
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--contenders",
        nargs="+",
        choices=NAMES,
        default=list(NAMES),
        metavar="NAME",
        help=f"which contenders to compare, of {', '.join(NAMES)} (floor: bare Traefik; direct: no proxy)",
    )
    command.add_argument(
        "--before",
        default="",
        metavar="PYTHON",
        help="a Python interpreter with another version of this package installed, to compare as 'before' in the same run",
    )
    command.add_argument("--traefik", default="", help="the binary (default: on PATH, or beside this Python)")
    command.add_argument("--chp", default="", help="the command (default: on PATH, or in ./node_modules/.bin)")
    command.add_argument(
        "--to",
        default="benchmark-results",
        metavar="FOLDER",
        help="write results.json, report.txt and the plots there (default: benchmark-results)",
    )


def _add_routes(commands: Any) -> None:
    default = routes.Options()
    command = commands.add_parser(
        "routes",
        help="only how long adding and deleting routes takes, with other parameters",
    )
    command.add_argument(
        "--existing",
        type=int,
        nargs="+",
        default=default.existing,
        metavar="N",
        help="sizes of the table (numbers of routes) at which single changes and bursts are measured (default: %(default)s)",
    )
    command.add_argument(
        "--burst",
        type=int,
        default=default.burst,
        help="how many routes a burst changes at once; 0: no bursts (default: %(default)s)",
    )
    command.add_argument(
        "--burst-existing",
        type=int,
        default=default.burst_existing,
        metavar="N",
        help="size of the table for the ratios to one reload; unless it is in --existing, only bursts are measured at it "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--repeat",
        type=int,
        default=default.repeat,
        help="how many single adds and deletes for each contender, at most (default: %(default)s)",
    )
    command.add_argument(
        "--bursts",
        type=int,
        default=default.bursts,
        help="how many bursts for each contender, at most (default: %(default)s)",
    )
    command.add_argument(
        "--seconds",
        type=float,
        default=default.seconds,
        help="seconds for each contender's single changes at each size, and again for its bursts (default: %(default)s)",
    )
    _add_common(command)


def _add_drill(commands: Any) -> None:
    default = drill.Options()
    about = "kill and freeze everything that serves routes in etcd, while users and changes go on"
    command = commands.add_parser("drill", help=about, description=about.capitalize() + ".")
    command.add_argument(
        "--minutes",
        type=float,
        default=default.minutes,
        metavar="N",
        help="how long, at least; everything is done once, also if that takes longer (default: %(default)s)",
    )
    command.add_argument("--quick", action="store_true", help="less of each kind, and each as short as possible")
    command.add_argument(
        "--patience",
        type=float,
        default=default.patience,
        metavar="FACTOR",
        help="multiplies all limits, for a slow machine (default: %(default)s)",
    )
    command.add_argument("--traefik", default="", help="the binary (default: on PATH, or beside this Python)")
    command.add_argument(
        "--to",
        default="drill-results",
        metavar="FOLDER",
        help="write drill.json, drill.txt and the plot there (default: drill-results)",
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = [_ALL, *arguments]
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.command == "conformance":
        return conformance.run(conformance.Options(given.chp, given.traefik, given.rst, given.json))
    if given.command == "drill":
        return _drill(drill.Options(given.minutes, given.quick, given.patience, given.traefik), Path(given.to))
    if given.command == "plots":
        plots.draw(json.loads(Path(given.results).read_text(encoding="utf-8")), Path(given.to))
        return 0
    if given.before and not shutil.which(given.before):
        parser.error(f"--before: {given.before} cannot be run")
    common = Common(tuple(given.contenders), given.traefik, given.chp, given.before)
    try:
        result = profile.run(common, _options(given), save=lambda result: _save(result, Path(given.to)))
    except asyncio.CancelledError:
        print("interrupted before anything was measured; everything that was started has been stopped", file=sys.stderr)
        return 130
    _write(result, Path(given.to))
    return 130 if result["interrupted"] else 0


def _options(given: argparse.Namespace) -> Mapping[str, Any]:
    if given.command == _ALL:
        parts = {name: profile.QUICK[name] if given.quick else profile.PARTS[name][1] for name in given.parts}
        if given.rounds and "requests" in parts:
            parts["requests"] = replace(parts["requests"], rounds=given.rounds)
        return parts
    options = routes.Options(
        existing=tuple(given.existing),
        burst=given.burst,
        burst_existing=given.burst_existing,
        repeat=given.repeat,
        bursts=given.bursts,
        seconds=given.seconds,
    )
    return {"routes": options}


def _drill(options: drill.Options, folder: Path) -> int:
    """Run the drill; return 0 if all held, 1 if not, 2 if something is not installed."""
    missing = drill.missing(options)
    if missing:
        print(f"no drill, because these are not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    result = drill.run(options)
    result["broken"] = report_drill.broken(result)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "drill.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    text = report_drill.text(result)
    (folder / "drill.txt").write_text(text, encoding="utf-8")
    plot_drill.draw(result, folder)
    print(text)
    print(f"What was seen, this report and the plot are in {folder.absolute()}", file=sys.stderr)
    return 1 if result["broken"] else 0


def _save(result: dict[str, Any], folder: Path) -> None:
    """Write the results as JSON, which reports and plots are made from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _write(result: dict[str, Any], folder: Path) -> None:
    _save(result, folder)
    text = report.text(result)
    (folder / "report.txt").write_text(text, encoding="utf-8")
    plots.draw(result, folder)
    print(text)
    print(f"The results, this report and plots are in {folder.absolute()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
