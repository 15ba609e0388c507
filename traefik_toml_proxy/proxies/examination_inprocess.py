"""What the doctor is told about a proxy without Traefik that is not started. Its looks do I/O, and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ..findings import Finding, fine, unknown, wrong
from ..runtime.certificate import PairFiles
from ..runtime.looks import look_at_certificate
from ..traefik.trust import look_at_trust
from .examination import no_finding, safely


@dataclass(frozen=True, slots=True, kw_only=True)
class InProcessExamination:
    """The settings of a proxy without Traefik, each worked out when it is asked for.

    Attributes:
        without_effect: Returns a sentence for each setting that has no effect.
        checks: Each raises ProxyError for a setting that the start would refuse.
        trusted_proxies: Returns the trait, checked.
        trusted_downstream: ``JupyterHub.trusted_downstream_ips``.
        https_outside: Whether the Hub's public URL has https.
        certificate: The admin's certificate, or None for http.
    """

    without_effect: Callable[[], list[str]]
    checks: tuple[Callable[[], object], ...]
    trusted_proxies: Callable[[], tuple[str, ...]]
    trusted_downstream: tuple[str, ...]
    https_outside: bool
    certificate: PairFiles | None

    def findings(self) -> Iterator[Finding]:
        """Look at what can be told from the settings, one thing after the other. Blocks."""
        yield from safely("settings", self._settings)
        yield from safely("trust", self._trust)
        if self.certificate is not None:
            yield from safely("certificate", partial(look_at_certificate, self.certificate))
        yield unknown(
            "live",
            "The doctor looks at ports and routes only where there is a Traefik. Whether this proxy listens, and why not, "
            "is in the Hub's log.",
        )

    def _settings(self) -> Iterator[Finding]:
        found = [wrong("settings", line) for line in self.without_effect()]
        for check in self.checks:
            found += safely("settings", partial(no_finding, check))
        yield from dict.fromkeys(found) or [fine("settings", "can be used, and are this proxy's")]

    def _trust(self) -> Iterator[Finding]:
        return look_at_trust(
            self.trusted_proxies(),
            self.trusted_downstream,
            https_outside=self.https_outside,
            https_here=self.certificate is not None,
            proxy="InProcessProxy",
            setting="c.InProcessProxy.trusted_proxies",
        )
