"""Examination: what the doctor is told about a proxy that is not started. Its looks do I/O, and change nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ProxyError, quoted
from ..findings import Finding, fine, unknown, wrong
from ..masking import HIDDEN
from ..routes import RouteTable, Snapshot
from ..runtime.certificate import PairFiles, ServedCertificate, name_to_ask_for
from ..runtime.diagnosis import Watched
from ..runtime.live_looks import (
    EntryPoint,
    look_at_outside,
    look_at_own,
    look_at_served_certificate,
    look_at_stored,
)
from ..runtime.looks import (
    hub_runs,
    look_at_addresses,
    look_at_certificate,
    look_at_file,
    look_at_folder,
    look_at_group,
    look_at_inotify,
    look_at_program,
    look_at_timeouts,
    own_traefik,
)
from ..runtime.pairs import UnusablePair
from ..runtime.program import Program
from ..runtime.session import TraefikSettings
from ..stores.neighbours import file_with_same_names, folder_to_touch
from ..stores.toml_document import TomlRenderer
from ..stores.toml_text import dumps
from ..traefik.dynamic import Certificate
from ..traefik.sharing import same_names
from ..traefik.static import OLDEST_VERSION, static_tree
from ..traefik.trust import look_at_trust
from .leftovers import leftovers


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """The settings of a proxy, each worked out when it is asked for, as it may be one that cannot be used.

    Attributes:
        should_start: Whether the Hub starts Traefik.
        state_dir: The absolute path.
        configured_state_dir: The path as it was configured.
        dynamic_file: Returns the file with the routes.
        traefik: Returns the settings of the Traefik that the Hub starts.
        program: Returns its program.
        check_extra_routes: Checks ``Proxy.extra_routes``.
        renderer: Returns what renders the routes, given what Traefik serves by default.
        group: Returns the group that may read the file; None for no other one.
        configured_group: The group as it was configured.
        copies: Returns the folder for the copies of certificates.
        read_transports: Reads the certificates for https targets.
        url: Returns the URL where the Hub reaches the entry point.
        watched: Returns what a Traefik that others run is to do.
        entry_point: The name of the entry point.
        certificate: The admin's certificate, or None.
        https: Whether Traefik speaks https.
        domains: The names for which certificates come from Let's Encrypt.
        trusted_proxies: Returns the trait, checked.
        trusted_downstream: ``JupyterHub.trusted_downstream_ips``.
        https_outside: Whether the Hub's public URL has https.
        secret_path: What begins the paths that only the proxy knows.
        config: Everything that is configured, by class name.
        own_classes: The names of the classes whose settings have an effect.
    """

    should_start: bool
    state_dir: Path
    configured_state_dir: str
    dynamic_file: Callable[[], Path]
    traefik: Callable[[], TraefikSettings]
    program: Callable[[], Program]
    check_extra_routes: Callable[[], object]
    renderer: Callable[[ServedCertificate], TomlRenderer]
    group: Callable[[], int | None]
    configured_group: str
    copies: Callable[[], Path]
    read_transports: Callable[[], None]
    url: Callable[[], str]
    watched: Callable[[], Watched]
    entry_point: str
    certificate: PairFiles | None
    https: bool
    domains: tuple[str, ...]
    trusted_proxies: Callable[[], tuple[str, ...]]
    trusted_downstream: tuple[str, ...]
    https_outside: bool
    secret_path: str = field(repr=False)
    config: dict[str, dict[str, Any]]
    own_classes: frozenset[str]

    def findings(self) -> Iterator[Finding]:
        """Look at everything, one thing after the other. Blocks, for some seconds if Traefik does not answer."""
        looks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
            ("settings", self._settings),
            ("trust", self._trust),
            ("state_dir", lambda: look_at_folder(self.state_dir, self.configured_state_dir)),
            ("dynamic_config_file", lambda: look_at_file(self.dynamic_file(), "dynamic_config_file")),
            ("routes", lambda: look_at_stored(self.dynamic_file())),
            ("certificate", self._certificate),
            *(self._looks_at_own() if self.should_start else self._looks_at_outside()),
        ]
        for about, look in looks:
            yield from safely(about, look)

    def _settings(self) -> Iterator[Finding]:
        """Look for settings that the start would refuse, and those of other proxies."""
        found = [wrong("settings", line) for line in leftovers(self.config, self.own_classes)]
        checks = [self.check_extra_routes, self.read_transports, self._renderer]
        for check in [*checks, *([self._static_tree] if self.should_start else [])]:
            found += list(safely("settings", partial(no_finding, check)))
        yield from dict.fromkeys(found) or [fine("settings", "can be used, and are this proxy's")]

    def _trust(self) -> Iterator[Finding]:
        return look_at_trust(
            self.trusted_proxies(),
            self.trusted_downstream,
            https_outside=self.https_outside,
            https_here=self.https,
        )

    def _certificate(self) -> Iterator[Finding]:
        return look_at_certificate(self.certificate) if self.certificate else iter(())

    def point(self) -> EntryPoint:
        """Return the public entry point.

        Raises:
            ProxyError: If a setting cannot be used.
        """
        url = self.url()
        served = None
        if self.certificate is not None:
            try:
                pair = self.certificate.pair(self.certificate.read())
                served = Certificate("", "", pair.server_name)
            except UnusablePair:
                served = None  # another look says so
        return EntryPoint(url=url, name=self.entry_point, server_name=name_to_ask_for(url, served))

    def _looks_at_outside(self) -> list[tuple[str, Callable[[], Iterator[Finding]]]]:
        """Return the looks at a Traefik that others run."""
        return [
            ("dynamic_config_file", self._beside),
            ("dynamic_config_file_group", self._group),
            ("live", self._outside),
        ]

    def _group(self) -> Iterator[Finding]:
        group, watched = self.group(), self.watched()
        if group is None:
            return iter(())
        return look_at_group(group, self.configured_group, watched.file, watched.folder or watched.file.parent)

    def _beside(self) -> Iterator[Finding]:
        """Look what Traefik finds in the folder that it watches."""
        watched = self.watched()
        file = watched.file.resolve()
        folder_to_touch(file, watched.folder)
        other = file_with_same_names(file, watched.folder or file.parent, watched.namespace)
        if other is not None and watched.namespace:
            yield wrong("dynamic_config_file", same_names(str(other), str(file), watched.namespace))

    def _outside(self) -> Iterator[Finding]:
        return look_at_outside(self.point(), self.watched(), self.trusted_proxies())

    def _looks_at_own(self) -> list[tuple[str, Callable[[], Iterator[Finding]]]]:
        """Return the looks at a Traefik that the Hub starts."""
        return [
            ("inotify", lambda: look_at_inotify(self.dynamic_file().parent)),
            ("Traefik", lambda: look_at_program(self.program())),
            ("ports", self._addresses),
            ("time-outs", self._timeouts),
            ("live", self._live),
            ("certificate", self._served),
        ]

    def _addresses(self) -> Iterator[Finding]:
        points = self._static_tree()["entryPoints"]
        addresses = {name: point["address"] for name, point in points.items() if "address" in point}
        return look_at_addresses(addresses, self._program_or_any(), own_traefik(self.state_dir))

    def _program_or_any(self) -> Program:
        try:
            return self.program()
        except ProxyError:
            return Program(("traefik",), OLDEST_VERSION)  # another look says so

    def _timeouts(self) -> Iterator[Finding]:
        name = self.entry_point
        return look_at_timeouts(self._static_tree()["entryPoints"][name], name)

    def _live(self) -> Iterator[Finding]:
        own = own_traefik(self.state_dir)
        return look_at_own(
            self.point(),
            self.dynamic_file(),
            own,
            self.state_dir / "traefik.log",
            hub_runs=hub_runs(self.state_dir),
        )

    def _served(self) -> Iterator[Finding]:
        runs = self.domains and own_traefik(self.state_dir) is not None
        return look_at_served_certificate(self.url(), self.domains) if runs else iter(())

    def rendered_static(self) -> str:
        """Return the static configuration of the Traefik that the Hub would start.

        Raises:
            ProxyError: If a setting cannot be used.
        """
        return dumps(self._static_tree())

    def rendered_routes(self, table: RouteTable) -> str:
        """Return the text of the file with these routes, but without the secret in the paths; it can have keys.

        Raises:
            ProxyError: If a setting cannot be used.
        """
        self.read_transports()
        return self._renderer().render(Snapshot(1, table)).decode().replace(self.secret_path.strip("/"), HIDDEN)

    def _static_tree(self) -> dict[str, Any]:
        return static_tree(self.traefik().static, self._program_or_any().version)

    def _renderer(self) -> TomlRenderer:
        """Return what renders the routes, with the certificate that Traefik would serve; nothing is written."""
        served = ServedCertificate(self.copies())
        own = PairFiles(self.state_dir / "default-cert.pem", self.state_dir / "default-key.pem")
        files = self.certificate or (own if self.should_start else None)
        with contextlib.suppress(UnusablePair):  # another look says so
            if files is not None:
                served.use(files.pair(files.read()))
        return self.renderer(served)


def no_finding(check: Callable[[], object]) -> Iterator[Finding]:
    """Return no finding; the check may raise what :func:`safely` makes one of."""
    check()
    return iter(())


def safely(about: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Look, and turn an error into a finding: the other looks go on."""
    try:
        yield from look()
    except ProxyError as error:
        yield wrong(about, str(error))
    except Exception as error:  # noqa: BLE001 - a bug of ours must not hide what else is wrong
        yield unknown(about, f"It could not be looked at: {quoted(repr(error))}.")
