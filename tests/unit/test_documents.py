"""README.rst, CONTRIBUTING.rst and docs/: what can be checked of them without building them, which CI does."""

from __future__ import annotations

import configparser
import inspect
import json
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import docutils.core
import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.spawner import Spawner
from support.strategies import read_toml
from traitlets.config import Config

from benchmarks.docs_tables import list_tables
from traefik_toml_proxy import InProcessProxy, TraefikEtcdProxy, TraefikTomlProxy

ROOT = Path(__file__).parents[2]
README = ROOT / "README.rst"
DOCS = sorted(page for page in ROOT.glob("docs/**/*.rst") if "_build" not in page.parts)
PAGES = [README, ROOT / "CONTRIBUTING.rst", *DOCS]
RESULTS = json.loads(ROOT.joinpath("benchmarks/results/results.json").read_text("utf-8"))

EXTRAS = set(read_toml(ROOT.joinpath("pyproject.toml").read_text())["project"]["optional-dependencies"])

# Our classes with settings, and those of JupyterHub that the documentation configures.
PROXIES = (InProcessProxy, TraefikEtcdProxy, *TraefikTomlProxy.__mro__)
OURS = [cls for cls in PROXIES if cls.__module__.startswith("traefik_toml_proxy")]
CONFIGURED = {cls.__name__: cls for cls in (JupyterHub, Spawner, *PROXIES)}

CI = [line for line in ROOT.joinpath(".ci/run").read_text().splitlines() if not line.strip().startswith("#")]
# CI makes its environments elsewhere.
VENV = {"python3 -m venv .venv", ". .venv/bin/activate"}


class Block(NamedTuple):
    """A block of code in a page."""

    page: Path
    line: int
    language: str
    text: str
    # From a file in examples/, which the test of its folder runs (test_examples.py).
    included: bool = False

    def __repr__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8") + "\n"
    for match in re.finditer(r"^\.\. code-block:: (\w+)\n\n((?: {3}.*\n|\n)+)", text, re.MULTILINE):
        line = text.count("\n", 0, match.start(2)) + 1
        yield Block(page, line, match[1], textwrap.dedent(match[2]))
    for match in re.finditer(r"^\.\. literalinclude:: (\S+)\n   :language: (\w+)\n", text, re.MULTILINE):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match[2], (page.parent / match[1]).read_text("utf-8"), included=True)


BLOCKS = [block for page in PAGES for block in _blocks(page)]
PYTHON = [block for block in BLOCKS if block.language == "python" and not block.included]


def _of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language and not block.included]


def _literals(page: Path) -> list[str]:
    return re.findall(r"``([^`]+)``", page.read_text("utf-8"))


@pytest.mark.parametrize("name", ["README.rst", "CONTRIBUTING.rst"])
def test_it_is_well_formed(name: str) -> None:
    """A document is reStructuredText without a single warning, and without what only Sphinx knows."""
    settings = {"report_level": 2, "halt_level": 2, "_disable_config": True}
    document = docutils.core.publish_doctree(ROOT.joinpath(name).read_text(), settings_overrides=settings)

    assert len(document) > 3


def test_the_readme_is_short() -> None:
    """A visitor reads it in two minutes."""
    assert len(README.read_text().splitlines()) <= 150


def test_the_readme_leads_to_every_page() -> None:
    """Nobody has to build the documentation to find what is in it."""
    pages = [str(page.relative_to(ROOT)) for page in DOCS if page.stem not in ("contributing", "changelog")]
    text = README.read_text()

    assert len(pages) > 10
    assert [page for page in pages if f"<{page}>" not in text and not page.endswith("/index.rst")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    """Links to files, images, includes, and files of this repository that are named in the text."""
    text = page.read_text("utf-8")
    beside = re.findall(r"`[^`]+<([^>:]+)>`_|^\.\. (?:image|include|literalinclude):: (\S+)", text, re.MULTILINE)
    named = [
        literal for literal in _literals(page) if re.match(r"(benchmarks|charts|docs|examples|tests)/\S*$", literal)
    ]
    files = [page.parent / (link or included) for link, included in beside] + [ROOT / name for name in named]

    assert [str(file) for file in files if not file.exists() and "_build" not in file.parts] == []


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: str(page.relative_to(ROOT)))
def test_all_code_is_in_blocks_that_are_checked(page: Path) -> None:
    """There is no other way to show code, and no language that no test below reads."""
    text = page.read_text("utf-8")
    found = list(_blocks(page))

    assert len(found) == len(re.findall("code-block|sourcecode|parsed-literal|literalinclude", text))
    assert re.findall(r"^(?!\s*\.\. ).*::$", text, re.MULTILINE) == []
    # tests/live/test_proxy_in_front.py and tests/e2e/test_etcd_ha_example.py run these proxies, and test_doctor.py compares
    # what is printed.
    others = {"proxy-in-front.rst": {"nginx", "text"}, "many-proxies.rst": {"text"}, "doctor.rst": {"text"}}
    others["zero-to-jupyterhub.rst"] = {"yaml"}  # tests/k8s give these values to the charts
    more = others.get(page.name, set())
    assert {block.language for block in found} <= {"bash", "ini", "python", "toml"} | more


def _accepted(code: str) -> Config:
    """Return what a piece of jupyterhub_config.py sets, if all of it exists and has a value that is accepted."""
    config = Config()
    exec(code, {"c": config})
    named = {(section, name) for section, values in config.items() for name in values}
    known = {(section, name) for section, _ in named for name in CONFIGURED[section].class_trait_names(config=True)}

    assert named
    assert named - known == set()
    JupyterHub(config=config)
    made = {"Spawner": Spawner(config=config)}
    cls = next((cls for cls in PROXIES[:2] if cls.__name__ in config), TraefikTomlProxy)
    proxy = cls(config=config, app=SimpleNamespace(subdomain_host=""))
    values = {section: config[section] for section in config if section != "JupyterHub"}
    for section, given in values.items():
        assert {name: getattr(made.get(section, proxy), name) for name in given} == given
    return config


@pytest.mark.parametrize("block", [block for block in PYTHON if block.text.startswith("c.")], ids=repr)
def test_a_configuration_is_accepted(block: Block) -> None:
    """JupyterHub and the proxy have each setting, and take the value."""
    assert _accepted(block.text)


def test_examples_in_help_texts_are_accepted() -> None:
    """They are on the page of settings as well."""
    helps = [inspect.cleandoc(trait.help) for cls in OURS for trait in cls.class_own_traits(config=True).values()]
    examples = [inspect.cleandoc(example) for text in helps for example in re.findall(r"(?m)^ +c\.(?:.|\n +)*", text)]

    assert len(examples) >= 2
    for example in examples:
        _accepted(example)


@pytest.mark.parametrize("block", [block for block in PYTHON if not block.text.startswith("c.")], ids=repr)
def test_a_program_runs(block: Block) -> None:
    """What it imports is there, and what it defines can be defined."""
    names: dict[str, Any] = {}

    exec(block.text, names)

    assert names.keys() - {"__builtins__"}


def _leaves(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", str(value).lower() if isinstance(value, bool) else str(value)


STATIC = [Block(file, 1, "toml", file.read_text("utf-8")) for file in sorted(ROOT.glob("examples/**/traefik.toml"))]


@pytest.mark.parametrize("block", [*_of("toml"), *STATIC], ids=repr)
def test_a_static_configuration_is_the_one_that_is_tested(block: Block) -> None:
    """The conformance suite runs against a Traefik with exactly these settings, in a folder and on a port of its own."""
    own = {"entryPoints.web.address", "providers.file.directory"}
    # What Traefik asks elsewhere has nothing to do with requests.
    settings = {name: value for name, value in _leaves(read_toml(block.text)) if not name.startswith("global.")}
    tested = dict(re.findall(r'"--([\w.]+)=([^"]*)"', ROOT.joinpath("tests/conformance/test_ours.py").read_text()))

    assert settings.keys() == tested.keys()
    assert {name: settings[name] for name in settings.keys() - own} == {
        name: tested[name] for name in tested.keys() - own
    }


@pytest.mark.parametrize("block", _of("ini"), ids=repr)
def test_a_unit_file_can_be_read(block: Block) -> None:
    """It is sections with settings."""
    parser = configparser.ConfigParser()
    parser.read_string(block.text)

    assert [section for section in parser.sections() if parser.options(section)] != []


def _commands(block: Block) -> Iterator[list[str]]:
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            yield words[:end]
            words = words[end + 1 :]


COMMANDS = [
    pytest.param(words, id=f"{block!r} {' '.join(words)}") for block in _of("bash") for words in _commands(block)
]


@cache
def _options(*command: str) -> frozenset[str]:
    """Return the options that the help of a command of ours names."""
    process = subprocess.run(
        [sys.executable, "-m", *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return frozenset(re.findall(r"(?<![\w-])--?\w[\w-]*", process.stdout))


def _options_of(module: str, arguments: list[str]) -> frozenset[str]:
    command = [word for word in arguments[:1] if not word.startswith("-")]
    return _options(module, *(command or {"benchmarks": ["profile"]}.get(module, [])))


def _is_trait(option: str) -> bool:
    section, _, name = option.lstrip("-").partition("=")[0].partition(".")
    return section in CONFIGURED and name in CONFIGURED[section].class_trait_names(config=True)


def _in_ci(words: list[str]) -> bool:
    """Whether CI runs it, maybe with more options."""

    def has_all(line: str) -> bool:
        there = iter(re.findall(r"[^\s()'\"]+", line))
        return all(word in there for word in words)

    return any(has_all(line) for line in CI)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_one_that_is_run(words: list[str]) -> None:
    """By CI, or by a test; of our own commands, each option is in their help."""
    match words:
        case ["apt-get", "install", *programs]:
            [line] = [line for line in CI if line.startswith("for program in ")]
            assert set(programs) <= set(line.rstrip("; do").split())
        case ["pip", "install", *what]:
            extras = {extra for one in what for part in re.findall(r"\[(.*)\]", one) for extra in part.split(",")}
            assert {re.sub(r"\[.*\]", "", one) for one in what} - {"--editable"} == {"."}
            assert extras <= EXTRAS
        case ["jupyterhub", "-f", "examples/quickstart/jupyterhub_config.py", *options]:  # tests/e2e run it
            assert [option for option in options if not _is_trait(option)] == []
        case ["python", "-m", "benchmarks" | "traefik_toml_proxy" as module, *arguments]:
            used = {word.partition("=")[0] for word in arguments if word.startswith("-")} - {"--help"}
            assert used - _options_of(module, arguments) == set()
        case ["mv", "jupyterhub-traefik/dynamic.toml", _]:  # tests/faults/test_upgrade.py does it
            pass
        case ["supervisorctl", "-c", "supervisord.conf", "restart", "agent:agent1"]:
            pass  # tests/e2e/test_etcd_ha_example.py does it
        case ["etcdctl", "del", "--prefix", "/jupyterhub/table/"]:  # tests/e2e/test_migrations.py does it
            pass
        case ["helm" | "kubectl" | "docker", *arguments]:
            # They need a cluster or a registry. tests/k8s render the same charts with the same values, and lint the images.
            places = [ROOT, ROOT / "examples/zero-to-jupyterhub"]
            others = re.compile(r"(registry|quay|app)\.|(deployment|pod)/")
            files = [word for word in arguments if "/" in word and not others.match(word)]
            assert [file for file in files if not any(place.joinpath(file).exists() for place in places)] == []
        case ["pytest", "-m", marker, *options]:
            assert re.search(rf'^    "{marker}: ', ROOT.joinpath("pyproject.toml").read_text(), re.MULTILINE)
            named = set(re.findall(r'addoption\("(--\w+)"', ROOT.joinpath("tests/conftest.py").read_text()))
            assert {option for option in options if not option.isdigit()} <= named
        case ["pytest", *arguments]:
            values = {"-n": "4", "--dist": "loadfile"}
            paths = [word for word in arguments if not word.startswith("-") and word not in values.values()]
            assert {word for word in arguments if word.startswith("-")} <= {
                "--cov=traefik_toml_proxy",
                "--cov-branch",
                *values,
            }
            assert [path for path in paths if not ROOT.joinpath(path).exists()] == []
        case _:
            assert " ".join(words) in VENV or _in_ci(words)


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: str(page.relative_to(ROOT)))
def test_an_option_in_the_text_exists(page: Path) -> None:
    """It is an option of one of our commands, or a trait."""
    known = _options("benchmarks", "profile") | {"--MyProxy.trait"}
    known |= _options("traefik_toml_proxy", "conformance") | _options("traefik_toml_proxy", "doctor")
    options = [literal.partition("=")[0] for literal in _literals(page) if literal.startswith("--")]

    assert [option for option in options if option not in known and not _is_trait(option)] == []


def test_every_setting_is_on_the_page_of_settings() -> None:
    """Sphinx takes all settings of a class that have a help text."""
    page = ROOT.joinpath("docs/reference/settings.rst").read_text()
    owners = [cls for cls in OURS if cls.class_own_traits(config=True)]
    traits = [trait for cls in owners for trait in cls.class_own_traits(config=True).values()]

    assert len(traits) >= 14
    assert [trait.name for trait in traits if not trait.help] == []
    shown = re.findall(r"^\.\. autoclass:: traefik_toml_proxy\.(\w+)\n   :members:$", page, re.MULTILINE)
    assert sorted(shown) == sorted(cls.__name__ for cls in owners)


def test_every_part_of_the_benchmarks_is_on_the_page_of_performance() -> None:
    """As a table, which Sphinx makes of the stored results, and as a plot of the same run."""
    page = ROOT.joinpath("docs/reference/performance.rst").read_text()
    parts = list(RESULTS["parts"])

    assert re.findall(r"^\.\. benchmark-table:: (\w+)$", page, re.MULTILINE) == parts
    assert re.findall(r"^\.\. image:: ../../benchmarks/results/(\w+)\.svg$", page, re.MULTILINE) == parts


def test_the_numbers_in_the_readme_are_those_that_are_stored() -> None:
    """How long one change takes, here and with configurable-http-proxy."""
    told = re.search(r"([\d.,]+) ms instead of ([\d.,]+) ms with\s+([\d,]+)\s+routes", README.read_text())
    assert told is not None
    ours, chp, routes = told.groups()

    assert f"* - 1 route\n     - {routes}\n     - {ours}\n     - {chp}\n" in list_tables(RESULTS)["routes"]
