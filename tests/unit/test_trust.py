"""Whom the proxy and the Hub believe about their clients."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.findings import Verdict
from traefik_toml_proxy.traefik.trust import look_at_trust


def _mends(trusted: list[str], downstream: list[str], *, outside: bool = False, here: bool = False) -> list[str]:
    found = list(look_at_trust(trusted, downstream, https_outside=outside, https_here=here))
    assert all((finding.verdict is Verdict.WRONG) == bool(finding.mend) for finding in found)
    return [finding.mend for finding in found if finding.mend]


@pytest.mark.parametrize(
    ("trusted", "downstream"),
    [([], []), (["10.0.0.5"], ["10.0.0.5"]), (["10.0.0.0/8"], []), (["10.0.0.0/8"], ["10.0.0.5"]), (["::1"], ["::1"])],
)
def test_the_same_for_both_is_fine(trusted: list[str], downstream: list[str]) -> None:
    """The Hub knows no networks, so a network alone says nothing."""
    assert _mends(trusted, downstream) == []


def test_who_is_forgotten_is_named() -> None:
    assert _mends(["10.0.0.5", "10.0.0.6"], ["10.0.0.6"]) == [
        "c.JupyterHub.trusted_downstream_ips = ['10.0.0.6', '10.0.0.5']"
    ]
    assert _mends(["10.0.0.0/8"], ["192.0.2.1", "nobody"]) == [
        "c.TraefikProxy.trusted_proxies = ['10.0.0.0/8', '192.0.2.1', 'nobody']"
    ]


def test_https_outside_alone_needs_a_proxy_in_front() -> None:
    assert len(_mends([], [], outside=True)) == 1
    assert _mends([], [], outside=True, here=True) == []
    assert _mends(["10.0.0.5"], ["10.0.0.5"], outside=True) == []


def test_another_proxy_is_called_by_its_own_name() -> None:
    """In what is found, and in what mends it."""
    found = [
        *look_at_trust(["::1"], ["::2"], https_outside=False, https_here=False, proxy="Ours", setting="c.Ours.trusted"),
        *look_at_trust([], [], https_outside=True, https_here=False, proxy="Ours", setting="c.Ours.trusted"),
    ]

    assert [finding.mend.partition(" = ")[0] for finding in found] == [
        "c.JupyterHub.trusted_downstream_ips", "c.Ours.trusted", "c.Ours.trusted"
    ]  # fmt: skip
    assert all("Ours" in finding.text and "Traefik" not in str(finding) for finding in found)
