"""Who may reach whom with the chart's network policies and those of Zero to JupyterHub; each answer can be turned over."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from support.charts import Object, labels, needs_helm, needs_z2jh, pods, ports, render, z2jh
from support.pods.hub import example_values
from support.reachability import Party, may_connect

needs_helm()
pytestmark = needs_z2jh

MODES = ["beside", "replace"]

# Who connects to which port of whom: what must be possible.
ALLOWED = {
    ("outside", "proxy", 8000),
    ("outside", "proxy", 8443),
    ("autohttps", "proxy", 8000),
    ("singleuser", "proxy", 8000),
    ("proxy", "hub", 8081),
    ("proxy", "singleuser", 8888),
    ("proxy", "proxy", 8002),
    ("proxy", "etcd", 2379),
    ("proxy", "outside", 443),
    ("proxy", "outside over IPv6", 443),
    ("outside over IPv6", "proxy", 8000),
    ("hub", "etcd", 2379),
    ("etcd", "etcd", 2380),
}
# And what must not be.
DENIED = {
    ("outside", "proxy", 8002),
    ("outside", "etcd", 2379),
    ("outside", "etcd", 2380),
    ("outside", "etcd", 2381),
    ("autohttps", "etcd", 2379),
    ("singleuser", "etcd", 2379),
    ("singleuser", "etcd", 2380),
    ("singleuser", "proxy", 8002),
    ("hub", "proxy", 8002),
    ("hub", "etcd", 2380),
    ("proxy", "etcd", 2380),
    ("proxy", "etcd", 2381),
    ("proxy", "metadata", 80),
    ("proxy", "metadata over IPv6", 80),
    ("outside over IPv6", "etcd", 2379),
    ("etcd", "proxy", 8002),
    ("etcd", "proxy", 8000),
    ("etcd", "hub", 8081),
    ("etcd", "singleuser", 8888),
    ("etcd", "outside", 443),
}


def parties(mode: str) -> dict[str, Party]:
    """Return everybody."""
    ours, theirs = pods(render({"mode": mode, "tls": {"secretName": "tls"}})), pods(z2jh())
    replica, member = ours["Deployment/traefik-proxy"], ours["StatefulSet/traefik-proxy-etcd"]
    common = {"app": "jupyterhub", "release": "hub"}
    return {
        "outside": Party(is_pod=False, address="192.0.2.1"),
        "outside over IPv6": Party(is_pod=False, address="2001:db8::1"),
        "metadata": Party(is_pod=False, address="169.254.169.254"),
        "metadata over IPv6": Party(is_pod=False, address="fd00:ec2::254"),
        "hub": Party(labels(theirs["Deployment/hub"]), ports=ports(theirs["Deployment/hub"])),
        # KubeSpawner makes these pods, and autohttps is not rendered by default; their labels are those in the policies.
        "singleuser": Party(
            common
            | {
                "component": "singleuser-server",
                "hub.jupyter.org/network-access-hub": "true",
            },
            ports={"notebook-port": 8888},
        ),
        "autohttps": Party(common | {"component": "autohttps", "hub.jupyter.org/network-access-proxy-http": "true"}),
        "proxy": Party(labels(replica), ports=ports(replica)),
        "etcd": Party(labels(member), ports=ports(member)),
    }


def policies(mode: str) -> list[Object]:
    """Return all policies: the chart's, and those of Zero to JupyterHub with what the example's values add to them."""
    given = example_values()["jupyterhub"]
    made = render({"mode": mode, "tls": {"secretName": "tls"}})
    for policy in z2jh():
        if policy["kind"] == "NetworkPolicy":
            name = policy["metadata"]["name"]
            if mode == "replace" and name == "proxy":
                continue  # examples/zero-to-jupyterhub/replace removes it
            policy["spec"]["egress"] += given.get(name, {}).get("networkPolicy", {}).get("egress", [])
            made.append(policy)
    return copy.deepcopy([each for each in made if each["kind"] == "NetworkPolicy"])


def certain(found: list[Object], everybody: dict[str, Party], connection: tuple[str, str, int]) -> bool | None:
    """Return whether a connection is certain or impossible; None if it depends on the network."""
    source, target, port = connection
    answers = {
        may_connect(found, everybody[source], everybody[target], port, blocks_are_pods=each) for each in (True, False)
    }
    return answers.pop() if len(answers) == 1 else None


@pytest.mark.parametrize("mode", MODES)
def test_who_may_reach_whom(mode: str) -> None:
    """Whatever the network takes addresses in policies for."""
    found, everybody = policies(mode), parties(mode)
    answers = {each: certain(found, everybody, each) for each in ALLOWED | DENIED}

    assert answers == dict.fromkeys(ALLOWED, True) | dict.fromkeys(DENIED, False)


def _without_one_rule(found: list[Object]) -> Iterator[list[Object]]:
    for number, policy in enumerate(found):
        for direction in ("ingress", "egress"):
            for rule in range(len(policy["spec"].get(direction, []))):
                changed = copy.deepcopy(found)
                del changed[number]["spec"][direction][rule]
                yield changed


def _with_one_more(found: list[Object]) -> Iterator[list[Object]]:
    """Each policy lets somebody else in or out, or is not there."""
    for number, policy in enumerate(found):
        yield [*found[:number], *found[number + 1 :]]
        for direction in ("ingress", "egress"):
            if direction in policy["spec"]:
                changed = copy.deepcopy(found)
                changed[number]["spec"][direction].append({})
                yield changed


@pytest.mark.parametrize("mode", MODES)
def test_each_way_can_be_closed(mode: str) -> None:
    """By leaving out one rule: none is open for a reason that nobody has written down."""
    found, everybody = policies(mode), parties(mode)
    closed = {
        each
        for changed in _without_one_rule(found)
        for each in ALLOWED
        if certain(changed, everybody, each) is not True
    }

    assert closed == ALLOWED


@pytest.mark.parametrize("mode", MODES)
def test_each_closed_way_can_be_opened(mode: str) -> None:
    """By two rules at most, one on each side: none is closed because the test does not understand the policies."""
    found, everybody = policies(mode), parties(mode)
    opened = {
        each
        for changed in _with_one_more(found)
        for again in [changed, *_with_one_more(changed)]
        for each in DENIED
        if certain(again, everybody, each) is not False
    }

    assert opened == DENIED


@pytest.mark.parametrize("mode", MODES)
def test_every_rule_of_the_chart_is_needed(mode: str) -> None:
    """Each but that for names closes a way when it is left out."""
    found, everybody = policies(mode), parties(mode)
    own = [number for number, each in enumerate(found) if each["metadata"]["name"].startswith("traefik-proxy")]
    idle: list[Any] = []
    for number in own:
        for direction in ("ingress", "egress"):
            for rule in range(len(found[number]["spec"][direction])):
                changed = copy.deepcopy(found)
                left_out = changed[number]["spec"][direction].pop(rule)
                names = {each.get("port") for each in left_out.get("ports", [])} == {53}
                if not names and all(certain(changed, everybody, each) for each in ALLOWED):
                    idle.append(left_out)

    assert idle == []
