"""The chart as Helm renders it, without a cluster, and what Kubernetes would make of the objects."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/traefik-proxy"
EXAMPLES = ROOT / "examples"

RELEASE, NAMESPACE = "hub", "jhub"

# The manifests that Zero to JupyterHub 4.4.0 renders with its defaults: rendered.yaml, from
# `helm template hub jupyterhub/jupyterhub --version 4.4.0 --namespace jhub`. And its values.schema.json.
Z2JH = Path(os.environ.get("TEST_Z2JH") or ROOT.parent / "shared/data/z2jh-4.4.0")

# Whom its Service for users selects.
PUBLIC = {"app": "jupyterhub", "component": "proxy", "release": RELEASE}

needs_z2jh = pytest.mark.skipif(
    not Z2JH.joinpath("rendered.yaml").exists(),
    reason=f"the manifests of Zero to JupyterHub 4.4.0 are not in {Z2JH}; TEST_Z2JH names their folder",
)

Object = dict[str, Any]


def needs_helm() -> None:
    """Skip the tests of a module where the Helm engine is not installed."""
    pytest.importorskip("helm_python", reason="there is no Helm; pip install '.[test-k8s]'")


def render(
    values: Mapping[str, Any] | None = None, *, chart: Path = CHART, release: str = RELEASE, namespace: str = NAMESPACE
) -> list[Object]:
    """Return the objects of a chart.

    Raises:
        helm_python.HelmError: If it does not accept the values.
    """
    return [
        made
        for name, text in texts(values, chart, release, namespace)
        if not name.endswith(".txt")
        for made in read(text)
    ]


def texts(
    values: Mapping[str, Any] | None = None, chart: Path = CHART, release: str = RELEASE, namespace: str = NAMESPACE
) -> list[tuple[str, str]]:
    """Return the rendered templates, with their paths. None is rendered twice, as keys of certificates take a while."""
    return _texts(json.dumps(values or {}), chart, release, namespace)


@cache
def _texts(values: str, chart: Path, release: str, namespace: str) -> list[tuple[str, str]]:
    from helm_python import Chart

    with Chart.load(chart) as loaded:
        return sorted(loaded.render(json.loads(values), name=release, namespace=namespace).items())


def read(text: str) -> list[Object]:
    """Return the objects in a manifest."""
    return [made for made in yaml.safe_load_all(text) if made]


@cache
def _z2jh() -> str:
    return Z2JH.joinpath("rendered.yaml").read_text("utf-8")


def z2jh() -> list[Object]:
    """Return the objects of Zero to JupyterHub, for the same release and namespace."""
    return read(_z2jh())


def the(objects: Iterable[Object], kind: str, name: str) -> Object:
    """Return the object of that kind and name."""
    (found,) = [made for made in objects if made["kind"] == kind and made["metadata"]["name"] == name]
    return found


def pods(objects: Iterable[Object]) -> dict[str, Object]:
    """Return the templates of the pods, by the kind and name of what makes them."""
    return {
        f"{made['kind']}/{made['metadata']['name']}": made["spec"]["template"]
        for made in objects
        if made["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}
    }


def labels(template: Object) -> dict[str, str]:
    """Return the labels of a pod."""
    found: dict[str, str] = template["metadata"]["labels"]
    return found


def fits(selector: Mapping[str, str], pod: Object) -> bool:
    """Whether a selector that is a plain dict, as that of a Service, selects a pod."""
    return bool(selector) and selector.items() <= labels(pod).items()


def ports(pod: Object) -> dict[str, int]:
    """Return the ports of a pod, by name."""
    return {
        port["name"]: port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    }


def selected(service: Object, objects: Iterable[Object]) -> set[str]:
    """Return the pods that a Service selects."""
    return {name for name, pod in pods(objects).items() if fits(service["spec"]["selector"], pod)}


def merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as Helm merges them: the later ones win."""
    made: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            deep = isinstance(value, Mapping) and isinstance(made.get(key), Mapping)
            made[key] = merged(made[key], value) if deep else value
    return made
