"""The command line: ``python -m benchmarks COMMAND``. I/O: arguments, standard output, the file named by --json."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from . import conformance, report, routes
from .contenders import CONTENDERS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure this proxy beside others, on this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    default = routes.Options()
    command = commands.add_parser(
        "routes",
        help="how long adding and deleting routes takes, beside how many there are",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.add_argument(
        "--existing",
        type=int,
        nargs="+",
        default=list(default.existing),
        metavar="N",
        help="sizes of the table at which single changes and bursts are measured",
    )
    command.add_argument(
        "--burst", type=int, default=default.burst, help="how many routes are changed at once; 0: no bursts"
    )
    command.add_argument(
        "--burst-existing",
        type=int,
        default=default.burst_existing,
        metavar="N",
        help="size of one more table, at which only bursts are measured",
    )
    command.add_argument("--repeat", type=int, default=default.repeat, help="single adds and deletes of each, at most")
    command.add_argument("--bursts", type=int, default=default.bursts, help="bursts of each, at most")
    command.add_argument(
        "--seconds",
        type=float,
        default=default.seconds,
        help="how long each contender may take at each table for its single changes, and again for its bursts",
    )
    command.add_argument(
        "--contenders",
        nargs="+",
        choices=list(CONTENDERS),
        default=list(default.contenders),
        metavar="NAME",
        help=f"whom to compare, of {', '.join(CONTENDERS)}",
    )
    command.add_argument("--traefik", default="", help="the binary (default: on PATH, or beside this Python)")
    command.add_argument("--chp", default="", help="the command (default: on PATH, or in ./node_modules/.bin)")
    command.add_argument(
        "--json", default="", metavar="FILE", help="write the results there (default: standard output)"
    )
    command = commands.add_parser("conformance", help="what this proxy and the others do of what a proxy must do")
    command.add_argument("--traefik", default="", help="the binary (default: on PATH, or beside this Python)")
    command.add_argument("--chp", default="", help="the command (default: on PATH)")
    command.add_argument("--rst", default="", metavar="FILE", help="write the table of the README there")
    command.add_argument("--json", default="", metavar="FILE", help="write all results there")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    given = _parser().parse_args(arguments)
    if given.command == "conformance":
        return conformance.run(conformance.Options(given.chp, given.traefik, given.rst, given.json))
    options = routes.Options(
        existing=tuple(given.existing),
        burst=given.burst,
        burst_existing=given.burst_existing,
        repeat=given.repeat,
        bursts=given.bursts,
        seconds=given.seconds,
        contenders=tuple(given.contenders),
        traefik=given.traefik,
        chp=given.chp,
    )
    try:
        result = routes.run(options)
    except asyncio.CancelledError:
        print("interrupted before anything was measured; everything that was started has been ended", file=sys.stderr)
        return 130
    as_json = json.dumps(result, indent=1)
    if given.json:
        Path(given.json).write_text(as_json + "\n", encoding="utf-8")
        print(report.text(result))
    else:
        print(as_json)
        print(report.text(result), file=sys.stderr)
    return 130 if result["interrupted"] else 0


if __name__ == "__main__":
    sys.exit(main())
