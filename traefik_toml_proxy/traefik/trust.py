"""Compares whom the proxy and the Hub believe about who their clients are. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Sequence

from ..findings import Finding, fine, wrong

_ABOUT = "trust"


def look_at_trust(
    trusted_proxies: Sequence[str],
    trusted_downstream: Collection[str],
    *,
    https_outside: bool,
    https_here: bool,
    proxy: str = "Traefik",
    setting: str = "c.TraefikProxy.trusted_proxies",
) -> Iterator[Finding]:
    """Look for proxies in front that one of the two believes, and the other does not.

    Args:
        trusted_proxies: The trait, as the proxy takes it.
        trusted_downstream: ``JupyterHub.trusted_downstream_ips``: addresses, no networks.
        https_outside: Whether the Hub's public URL has https.
        https_here: Whether the proxy speaks https.
        proxy: What the proxy is called.
        setting: The name of the trait.
    """
    networks = [ipaddress.ip_network(address, strict=False) for address in trusted_proxies]
    found = False
    if https_outside and not https_here and not networks:
        found = True
        yield wrong(
            _ABOUT,
            f"Users come over https, as public_url or subdomain_host says, but {proxy} speaks http. So another proxy is in "
            f"front of it, whom {proxy} does not believe, and logins go wrong.",
            f'{setting} = ["the address of that proxy"]',
        )
    forgotten = [one for one in trusted_proxies if "/" not in one and one not in trusted_downstream]
    if forgotten:
        found = True
        yield wrong(
            _ABOUT,
            f"The Hub takes {', '.join(forgotten)} for the address of every user: only {proxy} trusts the proxy in front.",
            f"c.JupyterHub.trusted_downstream_ips = {[*sorted(trusted_downstream), *forgotten]!r}",
        )
    unknown = [one for one in sorted(trusted_downstream) if not any(_in(one, network) for network in networks)]
    if unknown:
        found = True
        yield wrong(
            _ABOUT,
            f"{proxy} replaces the X-Forwarded-* headers that come from {', '.join(unknown)}: only the Hub trusts it.",
            f"{setting} = {[*trusted_proxies, *unknown]!r}",
        )
    if not found:
        yield fine(_ABOUT, f"proxies in front: {', '.join(trusted_proxies) or 'none'}")


def _in(address: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False
