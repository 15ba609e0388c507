"""What a case is: an id, a level, a rule for proxies, the rule's source, and the coroutine that tests it. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

# The coroutine of a case; it gets a Stage (see stage.py).
Run = Callable[[Any], Awaitable[None]]


class Level(str, Enum):
    """How much depends on a rule."""

    REQUIRED = "required"  # JupyterHub breaks without it
    EXPECTED = "expected"  # users of configurable-http-proxy rely on it
    BEYOND = "beyond"  # good to have


class Failed(AssertionError):
    """The proxy breaks the rule of the case; the message says what was seen."""


class NotOffered(Exception):
    """The proxy does not offer what the case is about, and does not pretend to."""


@dataclass(frozen=True, slots=True)
class Options:
    """JupyterHub's settings for the proxy of a case.

    Attributes:
        base_url: The path of ``JupyterHub.bind_url``.
        host_routing: Whether ``JupyterHub.subdomain_host`` is set.
        tls: Whether ``JupyterHub.ssl_cert`` and ``ssl_key`` are set.
        internal_ssl: Whether ``JupyterHub.internal_ssl`` is on.
    """

    base_url: str = "/"
    host_routing: bool = False
    tls: bool = False
    internal_ssl: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that a proxy must do.

    Attributes:
        id: ``group.name``.
        level: How much depends on it.
        rule: What a proxy must do, in one sentence.
        source: Where the rule comes from: JupyterHub's code or documentation, a test of configurable-http-proxy, an RFC.
        run: Tests the rule; raises :class:`Failed` or :class:`NotOffered`.
        options: JupyterHub's settings for it.
        fresh: Whether it needs a proxy of its own, because it stops or kills it.
        sensitive: Whether a failure is a security problem, which is not to be published for other people's proxies.
        seconds: How long it may take; longer is a failure.
    """

    id: str
    level: Level
    rule: str
    source: str
    run: Run
    options: Options = Options()
    fresh: bool = False
    sensitive: bool = False
    seconds: float = 30


class Group:
    """The cases of one module, in the order of their definition."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cases: list[Case] = []

    def case(self, name: str, level: Level, source: str, **more: Any) -> Callable[[Run], Run]:
        """Make the decorated coroutine a case; its docstring is the rule.

        Args:
            name: Becomes the second part of the id.
            level: How much depends on it.
            source: Where the rule comes from.
            **more: The other attributes of :class:`Case`.
        """

        def add(run: Run) -> Run:
            rule = " ".join(inspect.cleandoc(run.__doc__ or "").split())
            self.cases.append(Case(f"{self.name}.{name}", level, rule, source, run, **more))
            return run

        return add


def expect(condition: object, message: str) -> None:
    """Check that ``condition`` is true.

    Raises:
        Failed: With the message, if it is not.
    """
    if not condition:
        raise Failed(message)


def expect_equal(seen: object, wanted: object, what: str) -> None:
    """Check that two values are equal.

    Raises:
        Failed: With both, if they are not.
    """
    if seen != wanted:
        raise Failed(f"{what}: {_short(seen)} instead of {_short(wanted)}")


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
