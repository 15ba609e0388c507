"""Who may connect to whom, as NetworkPolicies say it. Pure.

Networks treat addresses in policies (``ipBlock``) in two ways: with some they are also those of pods, with others only those
of what is outside. So a connection is certain if it is allowed in both ways, and impossible if it is in neither.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Party:
    """A pod, or something outside of the cluster.

    Attributes:
        labels: The labels of a pod; none outside.
        address: Its address.
        ports: The ports of a pod, by name.
        is_pod: Whether it is a pod of the namespace.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = "10.1.2.3"
    ports: Mapping[str, int] = field(default_factory=dict)
    is_pod: bool = True


def may_connect(policies: Iterable[Policy], source: Party, target: Party, port: int, *, blocks_are_pods: bool) -> bool:
    """Whether ``source`` may connect to a TCP port of ``target``.

    Args:
        policies: All policies of the namespace.
        source: Who connects.
        target: To whom.
        port: The port of the pod.
        blocks_are_pods: Whether addresses in policies are also those of pods.
    """
    both = list(policies)
    return all(
        _allows(both, direction, subject, peer, target, port, blocks_are_pods)
        for direction, subject, peer in (("Egress", source, target), ("Ingress", target, source))
    )


def _allows(
    policies: Iterable[Policy], direction: str, subject: Party, peer: Party, target: Party, port: int, blocks: bool
) -> bool:
    chosen = [
        policy["spec"]
        for policy in policies
        if subject.is_pod
        and direction in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], subject)
    ]
    if not chosen:
        return True
    key = {"Egress": "to", "Ingress": "from"}[direction]
    rules = [rule for spec in chosen for rule in spec.get(direction.lower(), [])]
    return any(
        _has_port(rule.get("ports"), target, port)
        and (key not in rule or any(_is_peer(each, peer, blocks) for each in rule[key]))
        for rule in rules
    )


def _selects(selector: Mapping[str, Any], pod: Party) -> bool:
    assert selector.keys() <= {"matchLabels"}, selector
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= pod.labels.items()


def _has_port(ports: Iterable[Mapping[str, Any]] | None, target: Party, port: int) -> bool:
    if ports is None:
        return True
    tcp = [each["port"] for each in ports if each.get("protocol", "TCP") == "TCP"]
    return any((target.ports.get(each) if isinstance(each, str) else each) == port for each in tcp)


def _is_peer(peer: Mapping[str, Any], party: Party, blocks: bool) -> bool:
    if "ipBlock" in peer:
        if party.is_pod and not blocks:
            return False
        address = ipaddress.ip_address(party.address)
        inside = address in ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return inside and not any(address in ipaddress.ip_network(each) for each in peer["ipBlock"].get("except", []))
    if "namespaceSelector" in peer:  # of other namespaces, in what is tested here
        return False
    return party.is_pod and _selects(peer["podSelector"], party)
