"""The architecture: which modules import which, what each kind of module keeps away from, and how large they may be.

When a module is added or moved, edit the tables below; the tests under them stay as they are.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import traefik_toml_proxy

# What the modules of a room may do, from the least: nothing but compute; wait; do I/O; also read traits.
PURE, ASYNC, IO, TRAITS = KINDS = ("Pure", "async", "I/O", "traits")


class Room(NamedTuple):
    """A row of the table.

    Attributes:
        name: What other rows call it.
        kind: What its modules may do.
        modules: Their names, separated by spaces; ``a.*`` stands for all below ``a`` that no other row names.
        uses: The rooms, or single modules, that they import besides each other.
    """

    name: str
    kind: str
    modules: str
    uses: str


# From top to bottom: a room uses only rooms below it.
HOUSE = [
    Room(
        "command",
        TRAITS,
        "__main__ cli cli.*",
        "package proxies runtime.activity runtime.live_looks masking findings seams "
        "routes suite stage results errors _version",
    ),
    Room(
        "agent command",
        TRAITS,
        "cli.agent",
        "agent proxies.etcd_traits proxies.values runtime.certificate runtime.pairs messages traefik addresses errors "
        "threads package",
    ),
    Room("package", TRAITS, "__init__", "proxies errors _version"),
    Room(
        "proxies",
        TRAITS,
        "proxies proxies.*",
        "leftovers messages inprocess runtime.session runtime.replicas runtime.diagnosis runtime.looks runtime.live_looks "
        "runtime.program runtime.certificate runtime.pairs runtime.transport_files session publisher stores documents seams "
        "addresses traefik routes masking findings errors metrics tasks threads _version",
    ),
    Room("metrics", IO, "metrics", "seams"),
    Room(
        "agent",
        IO,
        "agent agent.*",
        "readiness runtime session standstill stores documents messages files seams traefik routes errors threads",
    ),
    Room("readiness", PURE, "agent.readiness", ""),
    Room(
        "leftovers",
        PURE,
        "proxies.leftovers proxies.leftovers_etcd proxies.leftovers_inprocess",
        "findings errors",
    ),
    Room(
        "inprocess",
        IO,
        "inprocess inprocess.*",
        "http runtime.certificate runtime.pairs runtime.transport_files runtime.process runtime.state_folder "
        "runtime.listeners session "
        "publisher files seams addresses traefik routes errors tasks threads _version",
    ),
    Room(
        "http",
        PURE,
        "inprocess.heads inprocess.bodies inprocess.readers inprocess.forwarding inprocess.frames inprocess.pages "
        "inprocess.targets inprocess.messages inprocess.limits",
        "routes errors",
    ),
    Room(
        "runtime",
        IO,
        "runtime runtime.*",
        "session publisher watcher tasks stores messages stores.toml_text stores.toml_document stores.neighbours files "
        "answers connections seams traefik routes findings errors threads",
    ),
    Room("session", ASYNC, "session", "publisher watcher seams tasks"),
    Room("publisher", ASYNC, "publisher", "waits watcher seams tasks routes errors"),
    Room("watcher", ASYNC, "watcher", "standstill seams tasks"),
    Room("waits", ASYNC, "waits", "seams tasks routes errors"),
    Room(
        "stores", IO, "stores stores.*", "documents messages files seams masking traefik.sharing routes errors threads"
    ),
    Room("files", IO, "files folders access locks", "tasks threads errors"),
    Room("documents", PURE, "stores.toml_document stores.toml_text", "traefik routes errors"),
    Room("messages", PURE, "stores.etcd_messages stores.etcd_table", "routes errors"),
    Room("answers", PURE, "runtime.answers", "traefik seams errors"),
    Room("traefik", PURE, "traefik traefik.*", "routes findings errors"),
    Room("standstill", PURE, "standstill", "seams"),
    Room("connections", PURE, "runtime.last_seen runtime.sock_diag", "routes"),
    Room("seams", PURE, "seams", "routes"),
    Room("addresses", PURE, "addresses", "errors"),
    Room("routes", PURE, "routes", "overlay errors"),
    Room("overlay", PURE, "overlay", ""),
    Room("masking", PURE, "masking", ""),
    Room("findings", PURE, "findings", ""),
    Room("errors", PURE, "errors", ""),
    Room("_version", PURE, "_version", ""),
    Room("tasks", ASYNC, "tasks", ""),
    Room("threads", ASYNC, "threads", ""),
    # A test suite for any JupyterHub proxy, so it uses nothing of ours.
    Room("suite", TRAITS, "conformance conformance.*", "cases stage results"),
    Room("cases", TRAITS, "conformance.cases conformance.cases.*", "stage results"),
    Room(
        "stage",
        TRAITS,
        "conformance.stage conformance.subject conformance.started_by_hub conformance.hub conformance.processes "
        "conformance.client conformance.backend conformance.wire conformance.ports conformance.listening",
        "results",
    ),
    Room("results", PURE, "conformance.case conformance.outcome conformance.report conformance.setting", ""),
]

# All that a pure module may import besides this package: nothing that does I/O, waits, or depends on where it runs.
FOR_PURE = {
    *(
        "__future__",
        "abc",
        "base64",
        "bisect",
        "collections",
        "collections.abc",
        "copy",
        "dataclasses",
        "datetime",
        "enum",
    ),
    *("escapism", "functools", "hashlib", "http", "inspect", "ipaddress", "itertools", "json", "math", "re", "string"),
    *("struct", "toml", "toml.encoder", "types", "typing", "urllib.parse", "zlib"),
}
FOR_ASYNC = FOR_PURE | {"asyncio", "concurrent.futures", "contextlib", "logging", "time"}
# Settings are read in one place and passed on as plain values.
NOT_FOR_IO = {"traitlets", "jupyterhub"}
# The only packages of others that are imported; pyproject.toml names them, or JupyterHub cannot do without them.
OTHERS = {"aiofiles", "aiohttp", "cryptography", "escapism", "jupyterhub", "prometheus_client", "toml", "traitlets"}
# Used if it is there. JupyterHub needs yaml at present, through jupyter-events.
OTHERS_IF_THERE = {"rich", "yaml"}
# And those that the conformance suite needs as well.
OTHERS_FOR_CONFORMANCE = {"dateutil", "hypothesis", "pytest", "tornado"}

MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 50

# What breaks a rule, and why it may. One that is no longer needed fails, too.
EXEMPT: dict[str, str] = {}

PACKAGE = traefik_toml_proxy.__name__
FOLDER = Path(traefik_toml_proxy.__file__).parent
FILES = {
    ".".join(file.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(FOLDER.rglob("*.py"))
}
MODULES = list(FILES)


def room_of(module: str) -> Room:
    """Return the row of a module: the one that names it, else the longest that fits with a ``*``."""
    patterns = {pattern: room for room in HOUSE for pattern in room.modules.split()}
    fitting = [name for name in patterns if name == module or (name[-1] == "*" and module.startswith(name[:-1]))]
    assert fitting, f"no row of HOUSE has the module {module}"
    return patterns[max(fitting, key=lambda name: (name == module, len(name)))]


@functools.cache
def tree_of(module: str) -> ast.Module:
    """Return the parsed text of a module."""
    return ast.parse(FILES[module].read_text())


@functools.cache
def imports_of(module: str) -> frozenset[str]:
    """Return what a module imports anywhere in it: also in functions, and only for type checkers.

    Modules of this package have their name in it (``traefik.rules``); ``from . import name`` is an import of the package
    where the name is not a module.
    """
    here = [PACKAGE, *FILES[module].relative_to(FOLDER).with_suffix("").parts]
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join(
                [*here[: -node.level], *filter(None, [node.module])] if node.level else [node.module or ""]
            )
            children = {f"{parent}.{name.name}" for name in node.names}
            submodules = {child for child in children if _in_package(child) in FILES}
            found |= submodules if submodules == children else {parent, *submodules}
    return frozenset(map(_in_package, found))


def _in_package(name: str) -> str:
    return "__init__" if name == PACKAGE else name.removeprefix(f"{PACKAGE}.")


def own_imports_of(module: str) -> frozenset[str]:
    """Return those of them that are modules of this package."""
    return imports_of(module) & FILES.keys()


def other_imports_of(module: str) -> frozenset[str]:
    """Return those of them that are not."""
    return imports_of(module) - FILES.keys()


def not_exempt(breaches: Iterable[str]) -> list[str]:
    """Return the breaches of a rule that no exemption allows."""
    return [breach for breach in breaches if breach not in EXEMPT]


# The rules. Each yields what breaks it, in words.


def upward_imports() -> Iterator[str]:
    """A module imports its own room, and what its room uses."""
    for module in MODULES:
        room = room_of(module)
        for name in sorted(own_imports_of(module)):
            if room_of(name) is not room and not {name, room_of(name).name} & set(room.uses.split()):
                yield f"{module} imports {name}"


def import_cycles() -> Iterator[str]:
    """No module imports itself through others."""
    cycles = {
        frozenset({name for name in _reached_from(module) if module in _reached_from(name)}) for module in MODULES
    }
    for cycle in cycles:
        if cycle:
            yield " <-> ".join(sorted(cycle))


@functools.cache
def _reached_from(module: str) -> frozenset[str]:
    reached: set[str] = set()
    waiting = set(own_imports_of(module))
    while waiting - reached:
        reached |= waiting
        waiting = {name for imported in waiting for name in own_imports_of(imported)}
    return frozenset(reached)


def imports_of_the_wrong_kind() -> Iterator[str]:
    """Pure modules import what is pure; async ones may wait; those that do I/O get their settings from others."""
    for module in MODULES:
        kind = room_of(module).kind
        allowed = {PURE: FOR_PURE, ASYNC: FOR_ASYNC}.get(kind)
        for name in sorted(other_imports_of(module)):
            if (kind == IO and name.partition(".")[0] in NOT_FOR_IO) or (allowed is not None and name not in allowed):
                yield f"{module} imports {name}"
        for name in sorted(own_imports_of(module)):
            if KINDS.index(room_of(name).kind) > KINDS.index(kind):
                yield f"{module} imports {name}, which is not {kind}"


def calls_that_are_not_pure() -> Iterator[str]:
    """Without an import, too, a module can do I/O."""
    for module in MODULES:
        if room_of(module).kind in (PURE, ASYNC):
            for node in ast.walk(tree_of(module)):
                if isinstance(node, ast.Name) and node.id in {"open", "print", "input", "exec", "eval", "__import__"}:
                    yield f"{module} uses {node.id}"


def threads_of_the_hub() -> Iterator[str]:
    """What blocks runs in threads of our own: the Hub may have filled asyncio's with slow look-ups of names."""
    for module in MODULES:
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.Attribute) and node.attr in {"to_thread", "run_in_executor", "getaddrinfo"}:
                blocks = ast.unparse(node) == "socket.getaddrinfo"  # called in a thread
                if not blocks and module != "threads" and not module.startswith("conformance"):
                    yield f"{module} uses {node.attr}"


def unsaid_kinds() -> Iterator[str]:
    """The first line of a module says what it is for, and of which kind it is."""
    for module in MODULES:
        kind = room_of(module).kind
        first = (ast.get_docstring(tree_of(module)) or "").partition("\n")[0]
        words = {PURE: ["Pure."], ASYNC: ["async"], IO: ["I/O"], TRAITS: ["I/O", "traits"]}[kind]
        if FILES[module].name == "__init__.py":
            words = [*words, "starts nothing", "each module says"]
        if len(first) <= 30 or not any(word in first for word in words):
            yield f"{module} does not say {kind}"
        if kind != PURE and "Pure." in first:
            yield f"{module} says Pure"


def long_modules_and_functions() -> Iterator[str]:
    """What is longer than a reader can keep in mind is in two pieces."""
    for module in MODULES:
        lines = len(FILES[module].read_text().splitlines())
        if lines > MOST_LINES_OF_A_MODULE:
            yield f"{module} has more than {MOST_LINES_OF_A_MODULE} lines"
        for node in ast.walk(tree_of(module)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    yield f"{module}.{node.name} has more than {MOST_LINES_OF_A_FUNCTION} lines"


def unknown_packages() -> Iterator[str]:
    """What is imported is the standard library, or one of a few packages."""
    for module in MODULES:
        known = OTHERS | OTHERS_IF_THERE | (OTHERS_FOR_CONFORMANCE if module.startswith("conformance") else set())
        roots = {name.partition(".")[0] for name in other_imports_of(module)}
        for name in sorted(roots - known - sys.stdlib_module_names):
            yield f"{module} needs {name}"


RULES = [
    upward_imports,
    import_cycles,
    imports_of_the_wrong_kind,
    calls_that_are_not_pure,
    threads_of_the_hub,
    unsaid_kinds,
    long_modules_and_functions,
    unknown_packages,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_modules_keep_the_rule(rule: object) -> None:
    """See the docstring of the rule."""
    assert not_exempt(rule()) == []  # type: ignore[operator]


def test_every_exemption_is_needed() -> None:
    """One whose reason has gone is removed."""
    assert EXEMPT.keys() - {breach for rule in RULES for breach in rule()} == set()


def test_the_table_points_down_and_names_what_there_is() -> None:
    """A room uses what stands below it, each row has a module, and nothing that a row uses has gone."""
    names = [room.name for room in HOUSE]
    for at, room in enumerate(HOUSE):
        used = [name if name in names else room_of(name).name for name in room.uses.split()]
        assert set(used) <= set(names[at + 1 :]), f"{room.name} points upwards"
        assert {name for name in room.uses.split() if name not in names} <= FILES.keys()
        assert {name for name in room.modules.split() if name[-1] != "*"} <= FILES.keys()
    assert {room_of(module).name for module in MODULES} == set(names)


def test_importing_the_package_starts_nothing() -> None:
    """No thread, task, process or socket, and no file but the modules themselves (whatever others do is imported before)."""
    script = """
        import asyncio, sys, threading
        from traefik_toml_proxy import TraefikTomlProxy

        for name in [name for name in sys.modules if name.partition(".")[0] == "traefik_toml_proxy"]:
            del sys.modules[name]
        threads = threading.enumerate()
        seen = []

        def note(event, arguments):
            module_is_read = event == "open" and str(arguments[0]).endswith((".py", ".pyc"))
            kinds = ("open", "os", "shutil", "signal", "socket", "subprocess", "tempfile")
            if event.partition(".")[0] in kinds and event != "os.listdir" and not module_is_read:
                seen.append((event, arguments))

        async def main():
            tasks = asyncio.all_tasks()
            seen.clear()
            from traefik_toml_proxy import TraefikTomlProxy
            assert not seen, seen
            assert asyncio.all_tasks() == tasks

        sys.addaudithook(note)
        asyncio.run(main())
        assert threading.enumerate() == threads
        assert "traefik_toml_proxy.proxies.base" in sys.modules
    """

    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
