"""The plan of the house: who may import whom, what pure modules keep away from, and that importing starts nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import traefik_toml_proxy

PACKAGE = traefik_toml_proxy.__name__
FOLDER = Path(traefik_toml_proxy.__file__).parent

# Arrows go down: a module imports modules of lower floors only. The pure ones are below the others, but for `stores`.
FLOORS = {
    # The conformance suite is for any proxy: it knows nothing of ours.
    "__main__": 19,
    "cli": 18,
    "conformance": 17,
    "conformance.suite": 17,
    "conformance.runner": 16,
    "conformance.differential": 16,
    "conformance.cases": 15,
    **dict.fromkeys(
        (
            *("conformance.cases.activity", "conformance.cases.api", "conformance.cases.bodies"),
            *("conformance.cases.changes", "conformance.cases.failures", "conformance.cases.headers"),
            *("conformance.cases.lifecycle", "conformance.cases.messages", "conformance.cases.names"),
            *("conformance.cases.routing", "conformance.cases.tls"),
        ),
        14,
    ),
    "conformance.cases.websockets": 13,
    "conformance.stage": 12,
    "conformance.first_hub": 12,
    "conformance.subject": 11,
    "conformance.client": 11,
    "conformance.backend": 10,
    "conformance.wire": 9,
    "conformance.report": 2,
    "conformance.outcome": 1,
    "conformance.case": 0,
    "__init__": 9,
    "proxy": 8,
    "publisher": 7,
    "stores.toml_file": 6,
    "traefik.process": 6,
    "stores": 5,
    "stores.atomic_file": 5,
    "traefik": 5,
    "traefik.certificate": 5,
    "traefik.output": 5,
    "traefik.probe": 5,
    "traefik.program": 5,
    "traefik.dynamic": 4,
    "traefik.layers": 3,
    "traefik.static": 3,
    "traefik.rules": 2,
    "traefik.toml_text": 2,
    "traefik.tree": 2,
    "routes": 1,
    "errors": 0,
}
PURE = ["stores", *(name for name, floor in FLOORS.items() if floor < 5)]

# With these a module could do I/O, wait, or depend on when and where it runs.
IMPURE = {
    *("aiofiles", "aiohttp", "asyncio", "contextvars", "fcntl", "glob", "http", "io", "jupyterhub", "logging", "os"),
    *("pathlib", "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "sys"),
    *("tempfile", "threading", "time", "tornado", "traitlets"),
}


def path_of(module: str) -> Path:
    """Return the file of a module of the package."""
    path = FOLDER.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def tree_of(module: str) -> ast.Module:
    """Return the parsed text of a module of the package."""
    return ast.parse(path_of(module).read_text())


def imports_of(module: str) -> set[str]:
    """Return the absolute names of the modules that a module imports, anywhere in it."""
    here = [PACKAGE, *path_of(module).relative_to(FOLDER).with_suffix("").parts]
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        match node:
            case ast.Import(names=names):
                found.update(name.name for name in names)
            case ast.ImportFrom(module=None, names=names, level=level):
                found.update(".".join([*here[:-level], name.name]) for name in names)
            case ast.ImportFrom(module=str(name), level=0):
                found.add(name)
            case ast.ImportFrom(module=str(name), names=names, level=level):
                parent = ".".join([*here[:-level], name])
                found.update([parent, *(f"{parent}.{child.name}" for child in names)])
    return found


def own_imports_of(module: str) -> set[str]:
    """Return those of them that are modules of the package, by their name in it."""
    inside = {name.removeprefix(f"{PACKAGE}.") for name in imports_of(module) if name.startswith(f"{PACKAGE}.")}
    return inside & FLOORS.keys()


def test_every_module_has_its_place_in_the_house() -> None:
    """A new module says on which floor it is, here and in CONTRIBUTING."""
    files = [file.relative_to(FOLDER).with_suffix("") for file in FOLDER.rglob("*.py")]

    assert {".".join(file.parts).replace(".__init__", "") for file in files} == FLOORS.keys()


@pytest.mark.parametrize("module", FLOORS)
def test_arrows_go_down_only(module: str) -> None:
    """A module imports modules of lower floors, so each can be read, tested and replaced without those above it."""
    upward = {name for name in own_imports_of(module) if FLOORS[name] >= FLOORS[module]}

    assert not upward


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_keep_away_from_the_world(module: str) -> None:
    """No loop, file, socket, process, clock or trait: what they return depends on their arguments alone."""
    roots = {name.partition(".")[0] for name in imports_of(module)}
    allowed = {"pathlib"} if module == "errors" else set()
    calls = [node.func for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call)]
    called = {function.id for function in calls if isinstance(function, ast.Name)}

    assert roots & IMPURE == allowed
    assert called.isdisjoint({"open", "print", "input", "exec", "eval", "__import__"})
    assert own_imports_of(module) <= set(PURE)


@pytest.mark.parametrize(
    ("module", "apart_from"),
    [
        ("publisher", ["traefik.", "tornado", "jupyterhub", "traitlets", "aiofiles", "os", "pathlib"]),
        ("stores", ["traefik.", "asyncio"]),
        ("stores.toml_file", ["traefik.process", "traefik.probe", "traefik.program", "publisher"]),
        ("stores.atomic_file", ["traefik.", "publisher", "routes"]),
        ("traefik.process", ["stores", "publisher", "routes", "traefik.dynamic", "traefik.probe"]),
        ("traefik.probe", ["stores", "publisher", "traefik.process"]),
        ("routes", ["traefik.", "stores"]),
        *((name, ["traefik", "stores", "publisher", "proxy", "routes"]) for name in FLOORS if "conformance" in name),
    ],
)
def test_rooms_that_do_not_know_one_another(module: str, apart_from: list[str]) -> None:
    """The publisher knows neither Traefik nor HTTP, stores know no process, and the process knows no routes."""
    names = {name.removeprefix(f"{PACKAGE}.") for name in imports_of(module)}

    assert not [name for name in names if name.startswith(tuple(apart_from))]


@pytest.mark.parametrize("module", FLOORS)
def test_a_module_says_first_what_it_is_for_and_whether_it_does_io(module: str) -> None:
    """The first line is a sentence, and the docstring has the word Pure or I/O, or says that nothing is started."""
    docstring = ast.get_docstring(tree_of(module)) or ""
    first = docstring.partition("\n")[0]

    assert len(first) > 30
    assert any(word in docstring for word in ("Pure.", "I/O", "pure", "starts nothing"))
    assert (module in PURE) == ("Pure." in docstring)


def test_only_these_modules_of_others_are_needed() -> None:
    """What is imported is the standard library, or what pyproject.toml names, or JupyterHub cannot do without."""
    roots = {name.partition(".")[0] for module in FLOORS for name in imports_of(module)}

    assert roots - sys.stdlib_module_names - {PACKAGE} == {
        "aiofiles",
        "cryptography",
        "escapism",
        "jupyterhub",
        "toml",
        "traitlets",
        # The conformance suite: JupyterHub reads times with the first, and is made of the second; who runs it has the
        # third, and for random tables the last.
        *("dateutil", "tornado", "pytest", "hypothesis"),
    }


def test_importing_the_package_starts_nothing() -> None:
    """No thread, task, process or socket, and no file but the modules themselves (whatever others do is imported before)."""
    script = """
        import asyncio, sys, threading
        import traefik_toml_proxy

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
            import traefik_toml_proxy
            assert not seen, seen
            assert asyncio.all_tasks() == tasks

        sys.addaudithook(note)
        asyncio.run(main())
        assert threading.enumerate() == threads
        assert "traefik_toml_proxy.proxy" in sys.modules
    """

    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")
