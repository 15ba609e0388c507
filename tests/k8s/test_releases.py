"""Releases of charts/traefik-proxy: two in one namespace, and one that gets other values or another version."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from k8s.test_chart import WAYS
from support.charts import CHART, PUBLIC, Object, fits, labels, merged, needs_helm, pods, ports, render, the
from support.reachability import Party, may_connect

needs_helm()

# What Kubernetes lets an upgrade change of the spec of a StatefulSet.
CHANGEABLE = {
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "persistentVolumeClaimRetentionPolicy",
}


def other(values: dict[str, Any], number: int) -> dict[str, Any]:
    """Return values for a release with a name of its own, for another Hub."""
    return merged(values, {"fullnameOverride": f"front-{number}"})


def key(made: Object) -> tuple[str, str]:
    """Return what no two objects of a namespace have in common."""
    return made["kind"], made["metadata"]["name"]


@pytest.mark.parametrize("way", WAYS)
def test_two_releases_have_no_object_in_common(way: str) -> None:
    """With the same values, but for what the names begin with."""
    one, two = (render(other(WAYS[way], number), release=f"hub-{number}") for number in (1, 2))

    assert {key(made) for made in one} & {key(made) for made in two} == set()


@pytest.mark.parametrize("mode", ["beside", "replace"])
def test_nothing_of_a_release_selects_pods_of_the_other(mode: str) -> None:
    """Not even of one for the same Hub, as when a chart is installed a second time to try it."""
    releases = [render(other({"mode": mode}, number), release=f"hub-{number}") for number in (1, 2)]
    for ours, theirs in (releases, releases[::-1]):
        selectors = [
            *(
                each["spec"]["selector"]["matchLabels"]
                for each in ours
                if each["kind"] in {"Deployment", "StatefulSet"}
            ),
            *(each["spec"]["selector"]["matchLabels"] for each in ours if each["kind"] == "PodDisruptionBudget"),
            *(each["spec"]["podSelector"]["matchLabels"] for each in ours if each["kind"] == "NetworkPolicy"),
            *(each["spec"]["selector"] for each in ours if each["kind"] == "Service"),
        ]
        if mode == "replace":
            selectors.append(PUBLIC | {"release": labels(pods(ours)[f"Deployment/{_name(ours)}"])["release"]})
        assert len(selectors) >= 7
        assert [name for name, pod in pods(theirs).items() if any(fits(selector, pod) for selector in selectors)] == []


def _name(objects: list[Object]) -> str:
    (found,) = [each["metadata"]["name"] for each in objects if each["kind"] == "Deployment"]
    return str(found)


def test_a_release_does_not_reach_etcd_and_the_agents_of_the_other() -> None:
    """As its network policies say, and those of Zero to JupyterHub let its Hub connect to everything."""
    releases = [render(other({"networkPolicy": {"egress": []}}, number), release=f"hub-{number}") for number in (1, 2)]
    policies = [each for objects in releases for each in objects if each["kind"] == "NetworkPolicy"]
    hubs = [Party({"app": "jupyterhub", "component": "hub", "release": f"hub-{number}"}) for number in (1, 2)]
    found = [
        {name.split("/")[0]: Party(labels(pod), ports=ports(pod)) for name, pod in pods(objects).items()}
        for objects in releases
    ]

    def answers(one: int, two: int) -> list[bool]:
        proxy, member = found[one]["Deployment"], found[one]["StatefulSet"]
        connections = [
            (proxy, found[two]["StatefulSet"], 2379),
            (hubs[one], found[two]["StatefulSet"], 2379),
            (member, found[two]["StatefulSet"], 2380),
            (proxy, found[two]["Deployment"], 8002),
        ]
        return [may_connect(policies, *connection, blocks_are_pods=True) for connection in connections]

    assert (answers(0, 0), answers(1, 1)) == ([True] * 4, [True] * 4)
    assert (answers(0, 1), answers(1, 0)) == ([False] * 4, [False] * 4)


def unchangeable(objects: list[Object]) -> dict[tuple[str, str], Any]:
    """Return what no upgrade can change of objects that are there."""
    found: dict[tuple[str, str], Any] = {}
    for made in objects:
        spec = made.get("spec", {})
        if made["kind"] == "Deployment":
            found[key(made)] = spec["selector"]
        elif made["kind"] == "StatefulSet":
            found[key(made)] = {name: value for name, value in spec.items() if name not in CHANGEABLE}
        elif made["kind"] == "Service":
            found[key(made)] = spec.get("clusterIP")
        elif made["kind"] == "Secret":
            found[key(made)] = made["type"]
    return copy.deepcopy(found)


def newer_chart(folder: Path) -> Path:
    """Return the chart as a later version, which names later images."""
    made = folder / "traefik-proxy"
    shutil.copytree(CHART, made)
    about = yaml.safe_load(made.joinpath("Chart.yaml").read_text("utf-8"))
    made.joinpath("Chart.yaml").write_text(json.dumps(about | {"version": "9.8.7", "appVersion": "9.8.7"}))
    return made


# What an admin may set anew at any time.
CHANGES: dict[str, dict[str, Any]] = {
    **{way: values for way, values in WAYS.items() if way != "everything else"},
    "everything else": {
        name: value for name, value in WAYS["everything else"].items() if name not in {"fullnameOverride", "etcd"}
    },
    "images": {"image": {"tag": "2"}, "etcd": {"image": {"name": "example.org/etcd", "tag": "v3.6.0"}}},
    "resources": {
        "resources": {"limits": {"memory": "2Gi"}},
        "etcd": {"resources": {"limits": {"memory": "2Gi"}}},
        "tolerations": [],
    },
    "root": {"etcd": {"root": "/another"}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_upgrade_with_other_values_is_possible(change: str) -> None:
    """What cannot be changed of an object stays as it is."""
    before, after = unchangeable(render()), unchangeable(render(CHANGES[change]))

    assert {name: after[name] for name in before.keys() & after.keys()} == {
        name: before[name] for name in before.keys() & after.keys()
    }
    assert ("Deployment", "traefik-proxy") in after
    assert (("StatefulSet", "traefik-proxy-etcd") in after) == (not change.startswith("outside"))


def test_an_upgrade_with_other_disks_is_not_possible() -> None:
    """As docs/how-to/zero-to-jupyterhub.rst says: this is all that cannot be changed."""
    for values in ({"size": "2Gi"}, {"className": "fast"}):
        before, after = (
            the(render({"etcd": {"storage": each}}), "StatefulSet", "traefik-proxy-etcd")["spec"]
            for each in ({}, values)
        )
        assert {name for name in before if before[name] != after[name]} == {"volumeClaimTemplates"}


def test_a_new_version_of_the_chart_changes_what_it_must(tmp_path: Path) -> None:
    """The replicas get their new image. etcd goes on as it is: no member is started again."""
    before, after = render(), render(chart=newer_chart(tmp_path))
    kept, now = pods(before), pods(after)

    assert unchangeable(before) == unchangeable(after)
    assert kept["StatefulSet/traefik-proxy-etcd"] == now["StatefulSet/traefik-proxy-etcd"]
    old, new = (each["Deployment/traefik-proxy"] for each in (kept, now))
    assert old != new
    new["spec"]["containers"][0]["image"] = old["spec"]["containers"][0]["image"]
    assert old == new
