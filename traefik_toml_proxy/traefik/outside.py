"""Judges a Traefik that others run by its static configuration, and says why it does not serve the routes. Pure.

Options are kept as Traefik takes them on its command line: dotted names, whose case does not matter, with texts as values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..errors import quoted
from ..findings import Finding, wrong
from .sharing import same_names

# What findings here are about.
RUNS_APART = "Traefik that others run"

Options = Mapping[str, str]

# What Traefik has for what is not set (pkg/config/static/static_config.go, SetEffectiveConfiguration; entrypoints.go).
_THROTTLE = 2.0
_READ_TIMEOUT = "60s"
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:[0-9.]+(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")


def options_of_tree(tree: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Return the options in a static configuration that was read from a file."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        name = f"{above}{key}".lower()
        match value:
            case Mapping():
                # A table without options can have a meaning, such as `tls`.
                found |= options_of_tree(value, f"{name}.") or {name: "true"}
            case bool():
                found[name] = str(value).lower()
            case list():
                found[name] = ",".join(map(str, value))
            case _:
                found[name] = str(value)
    return found


def options_of_command(arguments: Sequence[str]) -> dict[str, str]:
    """Return the options on a command line (paerser/flag): ``--name=value``, ``--name value``, or ``--name``."""
    found: dict[str, str] = {}
    waiting = None
    for word in arguments:
        if word.startswith("-"):
            name, has_value, value = word.lstrip("-").partition("=")
            waiting = None if has_value else name.lower()
            found[name.lower()] = value if has_value else "true"
        elif waiting:
            found[waiting], waiting = word, None
    return found


def seconds(duration: str) -> float | None:
    """Return how many seconds a duration in Traefik's form has (``1m30s``, or a number of seconds); None if it is none."""
    text = duration.strip()
    parts = _DURATION_PART.findall(text) if _DURATION.fullmatch(text) else [(text, "s")]
    try:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class OutsideTraefik:
    """A running Traefik that others have started.

    Attributes:
        pid: Its process.
        options: Its static configuration; None if that cannot be read.
        source: Where the options are from, or why they cannot be read.
        may_read: Whether its user may read the file with the routes; None if that is not known.
        complaints: The last errors about its files in its log, if that can be read.
        in_container: Whether a path may lead it to another file than this process. In its options, the file with the routes
            and the folders around it have the paths that this process knows.
        is_hidden: Whether that is not so, since this user may not look into its container.
    """

    pid: int
    options: Options | None
    source: str
    may_read: bool | None = None
    complaints: tuple[str, ...] = ()
    in_container: bool = False
    is_hidden: bool = False

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"Traefik (process {self.pid}, configured by {self.source})"

    @property
    def entry_points(self) -> dict[str, str]:
        """The names and addresses of its entry points, as far as they are known."""
        found = {}
        for name, value in (self.options or {}).items():
            match name.split("."):
                case ["entrypoints", entry_point, "address"]:
                    found[entry_point] = value
        return found

    def entry_point_at(self, port: int) -> str | None:
        """Return the name of an entry point that listens at a port, or None."""
        at_port = (name for name, address in self.entry_points.items() if _port(address) == str(port))
        return next(at_port, None)

    @property
    def throttle(self) -> float | None:
        """For how many seconds it may hold back a change; None if that is not known."""
        if self.options is None:
            return None
        duration = self.options.get("providers.providersthrottleduration")
        return _THROTTLE if duration is None else seconds(duration)

    def watches(self, file: str, folder: str) -> bool:
        """Whether it will notice a change of ``file``, as far as can be told. Arguments as for :meth:`not_watching`."""
        return self.options is not None and not self.is_hidden and self.not_watching(file, folder) is None

    def not_watching(self, file: str, folder: str) -> Finding | None:
        """Return why it will not notice a change of ``file``, or None if it will, or it is not known.

        Args:
            file: The absolute path, without symbolic links, as those in the options.
            folder: The folder that it is to watch: that of the file, or one around it in which the proxy makes it look.
        """
        if self.options is None:
            return None
        directory = self.options.get("providers.file.directory", "")
        filename = self.options.get("providers.file.filename", "")
        mend = f'Set providers.file.directory = "{folder}" there, and restart it.'
        if self.in_container:
            mend = f"Set providers.file.directory there to {folder}, or to where that is mounted there, and restart it."
        if not directory and not filename:
            return wrong(RUNS_APART, f"{self.name} has no file provider, so it does not read {file}.", mend)
        if self.options.get("providers.file.watch", "true") == "false":
            reason = f"{self.name} does not watch its files (providers.file.watch)."
            return wrong(RUNS_APART, reason, "Remove that option, and restart it.")
        if self.is_hidden:
            return None
        if directory:
            if directory == folder:
                return None
            inside = f'c.TraefikTomlProxy.watched_folder = "{directory}"'
            if file.startswith(f"{directory}/"):
                return wrong(RUNS_APART, f"{self.name} watches {directory}, but not the folders in it.", inside)
            return wrong(RUNS_APART, f"{self.name} watches the folder {directory}, and so not {file}.", mend)
        if filename == file:
            return None
        if not self.in_container:  # a file that is mounted alone would not be replaced there
            mend = (
                f'Set providers.file.filename = "{file}" there and restart it, or set '
                "c.TraefikTomlProxy.dynamic_config_file."
            )
        return wrong(RUNS_APART, f"{self.name} watches {filename}, and so not {file}.", mend)

    def harmful_settings(self, entry_point: str, trusted_proxies: Sequence[str] = ()) -> Iterator[Finding]:
        """Return what in its static configuration harms the Hub's users, and what mends it.

        Args:
            entry_point: The name of the entry point that they come through.
            trusted_proxies: The proxies in front of it.
        """
        options = self.options
        if options is None:
            return
        throttle = self.throttle
        if throttle is None or throttle > 0:
            yield wrong(
                RUNS_APART,
                f"{self.name} holds back every second change for {_duration(throttle)} (providersThrottleDuration).",
                'Set providers.providersThrottleDuration = "0s" there.',
            )
        point = f"entrypoints.{entry_point.lower()}"
        if f"{point}.address" not in options:
            known = ", ".join(map(quoted, self.entry_points)) or "none"
            yield wrong(
                RUNS_APART,
                f"{self.name} has no entry point {quoted(entry_point)}; it has {known}.",
                "Set c.TraefikProxy.traefik_entrypoint to the name of the one that users come through.",
            )
            return
        limits = f"{point}.transport.respondingtimeouts"
        read, write = options.get(f"{limits}.readtimeout", _READ_TIMEOUT), options.get(f"{limits}.writetimeout", "0")
        for name, value, what in (("readTimeout", read, "uploads"), ("writeTimeout", write, "downloads")):
            if seconds(value) != 0:
                yield wrong(
                    RUNS_APART,
                    f"{self.name} cuts off {what} that take longer than {value} ({name}).",
                    f'Set entryPoints.{entry_point}.transport.respondingTimeouts.{name} = "0s" there.',
                )
        trusts = f"{point}.forwardedheaders"
        if trusted_proxies and f"{trusts}.trustedips" not in options and options.get(f"{trusts}.insecure") != "true":
            yield wrong(
                RUNS_APART,
                f"{self.name} does not believe what the proxies in front of it say about users.",
                f"Set entryPoints.{entry_point}.forwardedHeaders.trustedIPs = {list(trusted_proxies)!r} there.",
            )
        if options.get(f"{point}.http.encodequerysemicolons", "false") != "true":
            yield wrong(
                RUNS_APART,
                f"{self.name} changes ; to & in the queries of users' requests.",
                f"Set entryPoints.{entry_point}.http.encodeQuerySemicolons = true there.",
            )


def port_of(url: str) -> int:
    """Return the port of ``http[s]://host[:port]``."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _port(address: str) -> str:
    """Return the port in the address of an entry point, such as ``:80`` or ``:80/tcp``."""
    return address.partition("/")[0].rpartition(":")[2]


def _duration(amount: float | None) -> str:
    return "some time" if amount is None else f"{amount:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What can be seen when a revision is not live.

    Attributes:
        url: The entry point that was asked.
        file: The file with the routes, an absolute path.
        folder: The folder around it that Traefik is to watch.
        entry_point: ``traefik_entrypoint``.
        waited: For how many seconds the revision was waited for.
        answered: Whether anything answered.
        refused: Whether something else answered that is there to stay, such as a login page: it may be in front of our entry
            point, and then only what is certain whatever has answered is a reason.
        live: The revision that is live at the entry point; None if none is.
        elsewhere: The revision that a router of the file has which belongs to all entry points; None if that is not there.
        traefik: The Traefik that listens at the URL, or else watches the file; None if none was found.
        broken: Another file in the folder of the file that Traefik cannot read, and why; None if there is none.
        namespace: What begins all names in the file.
        double: Another file in the folder with the same namespace; None if there is none.
    """

    url: str
    file: str
    folder: str
    entry_point: str
    waited: float = 0
    answered: bool
    refused: bool = False
    live: int | None
    elsewhere: int | None = None
    traefik: OutsideTraefik | None = None
    broken: tuple[str, str] | None = None
    namespace: str = ""
    double: str | None = None


def why_not_live(seen: Seen) -> Finding | None:
    """Return why a revision is not live, or None if it cannot be told."""
    if not seen.answered:
        return _not_running(seen)
    if seen.live is None and seen.elsewhere is not None:
        return _another_entry_point(seen)
    traefik = seen.traefik
    reason = traefik.not_watching(seen.file, seen.folder) if traefik else None
    if reason is not None:
        return reason
    if traefik is not None and traefik.may_read is False:
        return wrong(
            RUNS_APART,
            f"The user of {traefik.name} may not read {seen.file}.",
            "Set c.TraefikTomlProxy.dynamic_config_file_group to a group of both users, and let it read the folder.",
        )
    if seen.broken is not None and _reads_the_folder(seen):
        path, problem = seen.broken
        return wrong(
            RUNS_APART,
            f"{path}, in the same folder, is broken ({problem}). Traefik loads no file of a folder if one is broken.",
            "Mend or remove it.",
        )
    if seen.double is not None and _reads_the_folder(seen):
        return wrong(RUNS_APART, same_names(seen.double, seen.file, seen.namespace))
    if seen.refused:
        return None
    if traefik is not None and traefik.complaints:
        return wrong(RUNS_APART, f"{traefik.name} says in its log: {traefik.complaints[-1]}")
    return _throttled(seen, traefik) if traefik is not None and traefik.options is not None else None


def _reads_the_folder(seen: Seen) -> bool:
    """Whether Traefik reads the folder; it may do so if that cannot be seen."""
    if seen.traefik is None or seen.traefik.options is None:
        return not seen.refused
    return bool(seen.traefik.options.get("providers.file.directory"))


def _not_running(seen: Seen) -> Finding:
    if seen.traefik is None:
        return wrong(
            RUNS_APART,
            f"Nobody answers at {seen.url}: Traefik does not run, or listens elsewhere.",
            "Start it, or set c.TraefikProxy.traefik_url to where its entry point is.",
        )
    where = ", ".join(f"{name} ({address})" for name, address in seen.traefik.entry_points.items()) or "unknown"
    return wrong(
        RUNS_APART,
        f"Nobody answers at {seen.url}, but {seen.traefik.name} watches {seen.file}. Its entry points: {where}.",
        "Set c.TraefikProxy.traefik_url to one of them.",
    )


def _another_entry_point(seen: Seen) -> Finding:
    name = seen.traefik.entry_point_at(port_of(seen.url)) if seen.traefik else None
    value = f'"{name}"' if name else "its name in Traefik's static configuration"
    return wrong(
        RUNS_APART,
        f"Traefik has loaded {seen.file}, but the entry point at {seen.url} is not {quoted(seen.entry_point)}.",
        f"Set c.TraefikProxy.traefik_entrypoint = {value}" + ("" if name else "."),
    )


def _throttled(seen: Seen, traefik: OutsideTraefik) -> Finding | None:
    if traefik.throttle is not None and traefik.throttle <= seen.waited / 2:
        return None  # it would have been live by now
    return wrong(
        RUNS_APART,
        f"{traefik.name} holds back changes for {_duration(traefik.throttle)}, and this one was given up after "
        f"{seen.waited:.1f} s.",
        'Set providers.providersThrottleDuration = "0s" there, and restart it.',
    )
