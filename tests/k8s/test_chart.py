"""charts/traefik-proxy, as the Helm engine renders it: what each value does, and what Kubernetes would think of it."""

from __future__ import annotations

import ast
import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from support.charts import (
    CHART,
    PUBLIC,
    Object,
    fits,
    labels,
    merged,
    needs_helm,
    needs_z2jh,
    pods,
    ports,
    render,
    selected,
    texts,
    the,
    z2jh,
)

from traefik_toml_proxy import __version__
from traefik_toml_proxy.traefik.static import GRACE_SECONDS

needs_helm()

# The oldest Kubernetes that the chart is for, one in between, and the newest.
KUBERNETES = ["1.25", "1.31", "1.37"]

OUTSIDE: dict[str, Any] = {"etcd": {"enabled": False, "endpoints": ["https://etcd-1.example.org:2379"]}}

# Each way of using it that is documented.
WAYS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "replace": {"mode": "replace"},
    "https": {"tls": {"secretName": "hub-tls"}, "trustedIPs": ["10.0.0.0/8", "fd00::1"]},
    "https replaced": {"mode": "replace", "tls": {"secretName": "hub-tls"}},
    "another release": {"jupyterhub": {"release": "jh", "app": "jupyter", "prefix": "my-"}, "mode": "replace"},
    "cert-manager": {"etcd": {"tls": {"certManager": True}}},
    "own certificates": {"etcd": {"tls": {"existingSecret": "etcd-pair"}}},
    "outside etcd": merged(OUTSIDE, {"etcd": {"tls": {"existingSecret": "etcd-pair"}}}),
    "outside etcd with passwords": merged(
        OUTSIDE,
        {"etcd": {"passwordsSecret": "etcd-users", "tls": {"existingSecret": "etcd-ca", "clientCertificate": False}}},
    ),
    "outside etcd that anybody trusts": OUTSIDE,
    "no policies": {"networkPolicy": {"enabled": False}},
    "everything else": {
        "fullnameOverride": "front",
        "replicas": 2,
        "image": {"name": "example.org/proxy", "tag": "1", "pullPolicy": "Always", "pullSecrets": ["registry"]},
        "nodeSelector": {"disk": "fast"},
        "priorityClassName": "front",
        "service": {"annotations": {"a": "b"}, "loadBalancerSourceRanges": ["192.0.2.0/24"]},
        "termination": {"leaveSeconds": 60, "leaseSeconds": 20},
        "etcd": {"storage": {"className": "fast", "size": "2Gi"}},
        "networkPolicy": {"egress": []},
    },
}

DEFAULTS: dict[str, Any] = yaml.safe_load(CHART.joinpath("values.yaml").read_text("utf-8"))

# Kinds that are not of Kubernetes itself.
FOREIGN = {"Issuer", "Certificate"}


@pytest.fixture(params=WAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """What the chart renders, for each way of using it."""
    return render(WAYS[request.param])


def environment(pod: Object) -> dict[str, str]:
    """Return the plain variables of the first container."""
    return {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"] if "value" in each}


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_every_object(version: str) -> None:
    """With its strict schemas: no misspelt key, and no value of another type. Each object once, as that takes a while."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    made = [each for values in WAYS.values() for each in render(values) if each["kind"] not in FOREIGN | {"Secret"}]
    made += [each for each in render() if each["kind"] == "Secret"]
    different = {json.dumps(each, sort_keys=True): each for each in made}

    assert len(different) > 20
    for each in different.values():
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replica": 2}, "replica"),
        ({"mode": "replaced"}, "/mode"),
        ({"replicas": 0}, "/replicas"),
        ({"jupyterhub": {"Release": "x"}}, "Release"),
        ({"jupyterhub": {"prefix": "my"}}, "/jupyterhub/prefix"),
        ({"etcd": {"endpoints": ["https://etcd:2379"]}}, "/etcd/endpoints"),
        ({"etcd": {"enabled": False}}, "/etcd/endpoints"),
        ({"etcd": {"enabled": False, "endpoints": ["etcd:2379"]}}, "/etcd/endpoints/0"),
        # Anybody who may look at the pods would read it.
        ({"etcd": {"enabled": False, "endpoints": ["https://hub:word@etcd:2379"]}}, "/etcd/endpoints/0"),
        ({"etcd": {"enabled": False, "endpoints": ["https://etcd:port"]}}, "/etcd/endpoints/0"),
        # The name of a Service cannot begin with a digit.
        ({"fullnameOverride": "2nd"}, "/fullnameOverride"),
        # Not a text in YAML.
        ({"fullnameOverride": "on"}, "/fullnameOverride"),
        # In values, null deletes the default.
        ({"mode": None}, "mode"),
        ({"image": None}, "image"),
        ({"etcd": {"root": None}}, "root"),
        # Kubernetes would refuse it: who may use the Service cannot be limited so.
        (
            {"service": {"type": "NodePort", "loadBalancerSourceRanges": ["192.0.2.0/24"]}},
            "/service/loadBalancerSourceRanges",
        ),
        ({"priorityClassName": "Front"}, "/priorityClassName"),
        ({"etcd": {"tls": {"existingSecret": "a", "certManager": True}}}, "/etcd/tls/certManager"),
        ({"etcd": {"tls": {"clientCertificate": False}}}, "/etcd/tls/clientCertificate"),
        ({"etcd": {"passwordsSecret": "a"}}, "/etcd/passwordsSecret"),
        ({"etcd": {"storage": {"size": "big"}}}, "/etcd/storage/size"),
        ({"etcd": {"root": "/"}}, "/etcd/root"),
        ({"trustedIPs": ["balancer"]}, "/trustedIPs/0"),
        ({"tls": {"secretName": "No Name"}}, "/tls/secretName"),
        ({"termination": {"leaveSeconds": "10s"}}, "/termination/leaveSeconds"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], named: str) -> None:
    from helm_python import HelmValuesError

    with pytest.raises(HelmValuesError, match=re.escape(named)):
        render(values)


@pytest.mark.parametrize("name", ["123", "true", "null"])
def test_a_release_and_a_namespace_may_have_any_name(name: str) -> None:
    """Also one that is not a text in YAML; each is as long as it may be otherwise."""
    release, namespace = "r" * 53, "n" * 63
    values = {"mode": "replace", "etcd": {"tls": {"certManager": True}}}
    usual = json.dumps(render(values, release=release, namespace=namespace))

    made = render(values, release=name, namespace=name)

    assert made == json.loads(usual.replace(release, name).replace(namespace, name))


def test_a_version_with_a_build_is_a_label(tmp_path: Path) -> None:
    chart = tmp_path / "traefik-proxy"
    shutil.copytree(CHART, chart)
    chart.joinpath("Chart.yaml").write_text("apiVersion: v2\nname: traefik-proxy\nversion: 1.0.0+7\nappVersion: '1'\n")

    versions = {made["metadata"]["labels"]["helm.sh/chart"] for made in render(chart=chart)}
    assert versions == {"traefik-proxy-1.0.0_7"}


def test_all_pods_have_the_priority() -> None:
    made = pods(render({"priorityClassName": "front"}))
    assert {name: pod["spec"]["priorityClassName"] for name, pod in made.items()} == dict.fromkeys(
        ["Deployment/traefik-proxy", "StatefulSet/traefik-proxy-etcd"], "front"
    )
    assert not any("priorityClassName" in pod["spec"] for pod in pods(render()).values())


def test_every_value_has_a_default() -> None:
    """The schema knows what values.yaml has, and nothing else."""
    schema = json.loads(CHART.joinpath("values.schema.json").read_text("utf-8"))

    def names(known: Any, given: Any) -> Any:
        if "properties" not in known:
            return None
        assert known["additionalProperties"] is False
        return {name: names(known["properties"].get(name, {}), below) for name, below in given.items()}

    def expected(known: Any) -> Any:
        return {name: expected(below) for name, below in known["properties"].items()} if "properties" in known else None

    assert names(schema, DEFAULTS) == expected(schema)


def test_every_value_has_a_line_of_help() -> None:
    """Right above it, or above the table that it is in."""
    lines = CHART.joinpath("values.yaml").read_text("utf-8").splitlines()
    above: list[tuple[int, bool]] = []
    helped: dict[str, bool] = {}
    for number, line in enumerate(lines):
        if key := re.match(r"( *)(\w+):(.*)", line):
            indent = len(key[1])
            above = [each for each in above if each[0] < indent]
            has_help = lines[number - 1].lstrip().startswith("#") or any(each[1] for each in above)
            above.append((indent, has_help))
            if key[3]:
                helped[f"{number + 1}: {key[2]}"] = has_help

    assert len(helped) > 30
    assert [name for name, has_help in helped.items() if not has_help] == []


def test_the_image_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load(CHART.joinpath("Chart.yaml").read_text("utf-8"))
    container = pods(render())["Deployment/traefik-proxy"]["spec"]["containers"][0]

    assert chart["version"] == chart["appVersion"] == __version__
    assert container["image"] == f"traefik-toml-proxy:{__version__}"


def test_an_image_may_be_pinned() -> None:
    """By a digest after its tag."""
    digest = "sha256:" + "0" * 64
    values = {"image": {"tag": f"1@{digest}"}, "etcd": {"image": {"tag": f"v3.5.33@{digest}"}}}
    images = {name: pod["spec"]["containers"][0]["image"] for name, pod in pods(render(values)).items()}

    assert images == {
        "Deployment/traefik-proxy": f"traefik-toml-proxy:1@{digest}",
        "StatefulSet/traefik-proxy-etcd": f"quay.io/coreos/etcd:v3.5.33@{digest}",
    }


def test_each_selector_finds_its_own_pods_and_no_others(objects: list[Object]) -> None:
    """Of what makes pods, of the budgets and of the policies."""
    made = pods(objects)
    selectors = {
        f"{each['kind']}/{each['metadata']['name']}": each["spec"]["selector"]["matchLabels"]
        for each in objects
        if each["kind"] in {"Deployment", "StatefulSet", "PodDisruptionBudget"}
    }
    selectors |= {
        f"NetworkPolicy/{each['metadata']['name']}": each["spec"]["podSelector"]["matchLabels"]
        for each in objects
        if each["kind"] == "NetworkPolicy"
    }
    found = {name: [pod for pod in made if fits(selector, made[pod])] for name, selector in selectors.items()}

    assert found
    assert {name: [pod.split("/")[1] for pod in pods] for name, pods in found.items()} == {
        name: [name.split("/")[1]] for name in selectors
    }


@needs_z2jh
def test_beside_nothing_of_zero_to_jupyterhub_changes_hands() -> None:
    """Its Services select its own pods as before, and ours the replicas."""
    ours, theirs = render(), z2jh()
    both = [*ours, *theirs]

    for service in (each for each in theirs if each["kind"] == "Service"):
        assert selected(service, both) == selected(service, theirs) != set()
    assert selected(the(ours, "Service", "traefik-proxy"), both) == {"Deployment/traefik-proxy"}
    assert selected(the(ours, "Service", "traefik-proxy-etcd"), both) == {"StatefulSet/traefik-proxy-etcd"}


@needs_z2jh
@pytest.mark.parametrize("way", ["replace", "https replaced"])
def test_replace_the_services_of_zero_to_jupyterhub_lead_to_the_replicas(way: str) -> None:
    """Once its own Deployment has gone: those of the proxy to all replicas and nobody else, and the others as before."""
    ours = render(WAYS[way])
    theirs = [each for each in z2jh() if (each["kind"], each["metadata"]["name"]) != ("Deployment", "proxy")]
    both = [*ours, *theirs]

    assert the(theirs, "Service", "proxy-public")["spec"]["selector"] == PUBLIC
    for name in ("proxy-public", "proxy-api"):
        assert selected(the(theirs, "Service", name), both) == {"Deployment/traefik-proxy"}
    assert selected(the(theirs, "Service", "hub"), both) == {"Deployment/hub"}
    replica = pods(ours)["Deployment/traefik-proxy"]
    assert {port["targetPort"] for port in the(theirs, "Service", "proxy-public")["spec"]["ports"]} <= set(
        ports(replica)
    )
    assert [each for each in ours if each["kind"] == "Service" and each["metadata"]["name"] == "traefik-proxy"] == []


@needs_z2jh
@pytest.mark.parametrize("mode", ["beside", "replace"])
def test_who_makes_pods_of_the_other_chart_does_not_take_ours(mode: str) -> None:
    """A Deployment of theirs would count replicas of ours as its own if they had its whole selector and its owner."""
    ours, theirs = render({"mode": mode}), z2jh()
    own = {"Deployment/proxy": {"Deployment/proxy"} | ({"Deployment/traefik-proxy"} if mode == "replace" else set())}
    for made in theirs:
        if made["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}:
            name = f"{made['kind']}/{made['metadata']['name']}"
            selector = made["spec"]["selector"]["matchLabels"]
            found = {pod for pod, template in pods([*ours, *theirs]).items() if fits(selector, template)}
            assert found == own.get(name, {name})
    selectors = [
        each["spec"]["selector"]["matchLabels"] for each in ours if each["kind"] in {"Deployment", "StatefulSet"}
    ]
    assert [name for name, pod in pods(theirs).items() if any(fits(selector, pod) for selector in selectors)] == []


def test_no_pod_has_more_rights_than_it_needs(objects: list[Object]) -> None:
    """Not root, nothing to write but its own volumes, no way to Kubernetes, and a limit for its memory."""
    for pod in pods(objects).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"memory"}
        for volume in spec.get("volumes", []):
            assert volume.keys() & {"secret", "emptyDir"}
            assert volume.get("secret", {"defaultMode": 0o440})["defaultMode"] == 0o440


def test_the_pods_are_spread_over_machines_and_zones(objects: list[Object]) -> None:
    for pod in pods(objects).values():
        spread = pod["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        for each in spread:
            assert each["labelSelector"]["matchLabels"].items() <= labels(pod).items()


def test_one_pod_ends_at_a_time(objects: list[Object]) -> None:
    """For a new version and for a machine that is emptied; a new replica serves before the old one ends."""
    for each in objects:
        if each["kind"] == "Deployment":
            assert each["spec"]["strategy"] == {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            }
    budgets = [each for each in objects if each["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == len(pods(objects))
    assert [each["spec"]["maxUnavailable"] for each in budgets] == [1] * len(budgets)


def test_the_times_add_up(objects: list[Object]) -> None:
    """Kubernetes kills no replica that is still ending, and lets no user reach one that the Hub has given up."""
    (pod,) = [pod for name, pod in pods(objects).items() if name.startswith("Deployment/")]
    variables, container = environment(pod), pod["spec"]["containers"][0]
    leave, lease = (int(variables[f"TRAEFIK_AGENT_{name}_SECONDS"]) for name in ("LEAVE", "LEASE"))
    probe = container["readinessProbe"]
    noticed = probe["failureThreshold"] * probe["periodSeconds"] + probe["timeoutSeconds"]

    # Traefik lets open requests end for a moment, and is killed if it does not end.
    assert pod["spec"]["terminationGracePeriodSeconds"] >= leave + GRACE_SECONDS + 10
    # A replica says that it is not ready after 0.4 of its lease. The cluster has the rest of it to spread that.
    assert noticed + 2 <= 0.6 * lease
    assert leave >= noticed + 2


def test_the_probes_ask_where_the_agent_answers() -> None:
    pod = pods(render())["Deployment/traefik-proxy"]
    container = pod["spec"]["containers"][0]

    assert container["livenessProbe"]["httpGet"] == container["startupProbe"]["httpGet"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    assert environment(pod)["TRAEFIK_AGENT_HEALTH_ADDRESS"] == f":{ports(pod)['health']}"
    assert environment(pod)["TRAEFIK_AGENT_HEALTH_URL"] == f"http://$(POD_IP):{ports(pod)['health']}"
    assert environment(pod)["TRAEFIK_AGENT_PUBLIC_URL"] == f"http://:{ports(pod)['http']}"


def test_everything_listens_with_both_versions_of_ip(objects: list[Object]) -> None:
    """Traefik and etcd take 0.0.0.0 and no host for all addresses of both, as Go does; the agent no host."""
    for pod in pods(objects).values():
        variables, command = environment(pod), pod["spec"]["containers"][0]["command"]
        listening = [
            *(word.partition("=")[2] for word in command if word.startswith("--listen-")),
            *(variables[name] for name in variables if name.endswith(("_PUBLIC_URL", "_HEALTH_ADDRESS"))),
            *(
                point["address"]
                for point in json.loads(variables.get("TRAEFIK_AGENT_EXTRA_STATIC_CONFIG", "{}"))
                .get("entryPoints", {})
                .values()
                if "address" in point
            ),
        ]
        assert len(listening) >= 2
        for each in listening:
            assert re.fullmatch(r"(https?://)?(0\.0\.0\.0)?:\d+", each)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "everything else"])
def test_the_hub_and_the_replicas_use_the_same_etcd(way: str) -> None:
    """With the same root, and files that are mounted into the replica."""
    objects = render(WAYS[way])
    pod = pods(objects)["Deployment/traefik-proxy"]
    hub = hub_settings(objects)
    agent = {
        name.removeprefix("TRAEFIK_AGENT_").lower(): value
        for name, value in environment(pod).items()
        if name.startswith("TRAEFIK_AGENT_ETCD_")
    }
    agent["etcd_endpoints"] = json.loads(agent["etcd_endpoints"])
    if "etcd_username" in agent:
        assert (agent.pop("etcd_username"), hub.pop("etcd_username")) == ("agent", "hub")
        assert agent["etcd_password_file"].replace("/agent", "/hub") == hub["etcd_password_file"]
        hub["etcd_password_file"] = agent["etcd_password_file"]

    assert agent == {name: value for name, value in hub.items() if name.startswith("etcd_")}
    mounts = {mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    assert {path.rpartition("/")[0] for path in agent.values() if str(path).startswith("/etc/")} <= mounts


def hub_settings(objects: list[Object]) -> dict[str, Any]:
    """Return what the ConfigMap for the Hub sets of the proxy, by the names of the traits."""
    (config,) = [each for each in objects if each["kind"] == "ConfigMap"]
    (text,) = config["data"].values()
    found: dict[str, Any] = {}
    for line in ast.parse(text).body:
        assert isinstance(line, ast.Assign)
        assert isinstance(line.targets[0], ast.Attribute)
        found[line.targets[0].attr] = ast.literal_eval(line.value)
    assert found.pop("proxy_class") == "traefik-etcd-ha"
    return found


def test_the_certificates_of_etcd_are_for_its_members() -> None:
    """All are from one authority; that of the Hub and the replicas is good for no server."""
    secrets = {each["metadata"]["name"]: each for each in render() if each["kind"] == "Secret"}
    certificates = {
        name: {
            file: x509.load_pem_x509_certificate(base64.b64decode(secret["data"][file]))
            for file in ("ca.crt", "tls.crt")
        }
        for name, secret in secrets.items()
    }
    urls = list(hub_settings(render())["etcd_endpoints"])

    assert certificates.keys() == {"traefik-proxy-etcd", "traefik-proxy-etcd-client"}
    assert len({pair["ca.crt"] for pair in certificates.values()}) == 1
    for pair in certificates.values():
        pair["tls.crt"].verify_directly_issued_by(pair["ca.crt"])
    names = certificates["traefik-proxy-etcd"]["tls.crt"].extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    members = names.value.get_values_for_type(x509.DNSName)
    assert members == [*(url.split("/")[2].split(":")[0] for url in urls), "localhost"]
    with pytest.raises(x509.ExtensionNotFound):
        certificates["traefik-proxy-etcd-client"]["tls.crt"].extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )


def test_cert_manager_makes_the_same_secrets() -> None:
    """For the same names, as clients and servers; its own authority signs nothing else."""
    plain, managed = render(), render(WAYS["cert-manager"])
    certificates = [each["spec"] for each in managed if each["kind"] == "Certificate"]
    made = {each["secretName"]: each for each in certificates}
    secrets = {each["metadata"]["name"] for each in plain if each["kind"] == "Secret"}

    assert [each for each in managed if each["kind"] == "Secret"] == []
    assert made.keys() == secrets | {"traefik-proxy-etcd-ca"}
    hosts = [url.split("/")[2].split(":")[0] for url in hub_settings(plain)["etcd_endpoints"]]
    assert made["traefik-proxy-etcd"]["dnsNames"] == [*hosts, "localhost"]
    assert {"server auth", "client auth"} <= set(made["traefik-proxy-etcd"]["usages"])
    assert made["traefik-proxy-etcd-client"]["usages"] == ["digital signature", "client auth"]
    issuers = {each["metadata"]["name"]: each["spec"] for each in managed if each["kind"] == "Issuer"}
    assert {made[name]["issuerRef"]["name"] for name in secrets} == {"traefik-proxy-etcd"}
    assert issuers["traefik-proxy-etcd"] == {"ca": {"secretName": "traefik-proxy-etcd-ca"}}


def test_a_replica_does_not_get_the_password_of_the_hub() -> None:
    pod = pods(render(WAYS["outside etcd with passwords"]))["Deployment/traefik-proxy"]
    (volume,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "passwords"]

    assert volume["secret"]["items"] == [{"key": "agent", "path": "agent"}]


def test_the_notes_say_what_to_check() -> None:
    """With the names that the objects have."""
    for way, values in WAYS.items():
        (notes,) = [text for name, text in texts(values) if name.endswith("NOTES.txt")]
        name = values.get("fullnameOverride", "traefik-proxy")
        assert f"rollout status deployment/{name}\n" in notes
        assert ("Argo CD" in notes) == any(each["kind"] == "Secret" for each in render(values)), way
        assert f"pod/NAME {ports(pods(render(values))[f'Deployment/{name}'])['health']}\n" in notes
        assert ("the Secret etcd-users" in notes) == ("passwords" in way)
    (notes,) = [text for name, text in texts(WAYS["another release"]) if name.endswith("NOTES.txt")]
    assert "rollout restart deployment/my-hub\n" in notes
    assert "--selector app=jupyter,release=jh,component=proxy\n" in notes
    assert "my-proxy-public\n" in notes
