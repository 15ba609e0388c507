"""Runs pods as a kubelet does: their containers, probes and restarts, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from support.charts import Object, ports
from support.charts import pods as pods_of
from support.processes import MARK, children
from support.traefik import TRAEFIK_COMMAND
from support.waiting import eventually

from .network import VERSIONS, Namespace, Network
from .volumes import contents, lay_out, write

INSIDE = Path(__file__).with_name("inside.py")
# What the images have: this Python with the package, Traefik and etcd.
PATH = ":".join(
    [str(Path(sys.executable).parent), *(str(Path(each).parent) for each in TRAEFIK_COMMAND[:1]), os.environ["PATH"]]
)
_PROGRAMS = [str(Path(sys.executable).resolve()), sys.executable]


class Pod:
    """One pod with one container.

    Attributes:
        name: Its name.
        number: Its number in the network of the cluster.
        address: Its address.
        is_ready: What its readiness probe has found.
        is_leaving: Whether it was told to end.
        restarts: How often its container was started again.
    """

    def __init__(self, cluster: Cluster, name: str, template: Object) -> None:
        self.name = name
        self.template = template
        self.number = cluster.number_of(name)
        self.address = cluster.addresses_of(name)[0]
        self.folder = cluster.folder / name
        self.is_ready = False
        self.is_leaving = False
        self.restarts = -1
        self._cluster = cluster
        self._namespace: Namespace | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def container(self) -> Object:
        """Its container."""
        (container,) = self.template["spec"]["containers"]
        found: Object = container
        return found

    @property
    def pid(self) -> int:
        """The process id of its first process."""
        assert self._process is not None
        (found,) = children(self._process.pid)
        return found

    @property
    def log(self) -> str:
        """What its container has printed so far."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def volume(self, name: str) -> Path:
        """Return the folder of a volume."""
        return self.folder / "volumes" / name

    async def prepare(self) -> None:
        """Make its volumes and its network."""
        self.folder.mkdir(parents=True, exist_ok=True)
        spec = self.template["spec"]
        for volume in spec.get("volumes", []):
            lay_out(volume, self.volume(volume["name"]), self._cluster.files, spec["securityContext"]["fsGroup"])
        for claim in self._cluster.claims.get(self.name, []):
            lay_out({}, self.volume(claim), {}, spec["securityContext"]["fsGroup"])
        self._namespace = await asyncio.to_thread(Namespace)
        await asyncio.to_thread(self._cluster.network.plug_in, self._namespace, self.number)

    async def start(self) -> None:
        """Start the container, and look after it."""
        await self.prepare()
        self._tasks = [asyncio.create_task(self._keep_running()), asyncio.create_task(self._probe_readiness())]

    def command(self, *, folder: str = "/", inherits: bool = False, lives_on: bool = False) -> list[str]:
        """Return what starts the container.

        Args:
            folder: Its working directory.
            inherits: Whether it has the variables of this program as well.
            lives_on: Whether what it has started goes on when it ends, unlike in a container.
        """
        spec, container = self.template["spec"], self.container
        known = {"metadata.name": self.name, "status.podIP": self.address}
        environment: dict[str, str] = {"PATH": PATH, "LANG": "C.UTF-8", **MARK}
        for each in container.get("env", []):
            value = each.get("value", "")
            if "valueFrom" in each:
                value = known[each["valueFrom"]["fieldRef"]["fieldPath"]]
            environment[each["name"]] = _expanded(value, environment)
        work = self.folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        user = spec["securityContext"] | container.get("securityContext", {})
        given = {
            "work": str(work),
            "folder": folder,
            "inherits": inherits,
            "programs": [*_PROGRAMS, *_places(container["command"][0])],
            "hosts": self._cluster.hosts(self),
            "volumes": [
                {
                    "source": str(self.volume(mount["name"]) / mount.get("subPath", "")),
                    "path": mount["mountPath"],
                    "file": "subPath" in mount,
                    "read_only": mount.get("readOnly", False),
                }
                for mount in container.get("volumeMounts", [])
            ],
            "read_only": user.get("readOnlyRootFilesystem", False),
            "user": user["runAsUser"],
            "group": user["runAsGroup"],
            "command": [_expanded(word, environment) for word in container["command"]],
            "environment": environment,
        }
        assert self._namespace is not None
        apart = ["--mount"] if lives_on else ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        enter = ["nsenter", f"--net={self._namespace.path}", "unshare", *apart]
        return [*enter, sys.executable, str(INSIDE), json.dumps(given)]

    async def _keep_running(self) -> None:
        while not self.is_leaving:
            self.restarts += 1
            with self.folder.joinpath("log").open("ab") as output:
                self._process = await asyncio.create_subprocess_exec(
                    *self.command(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=os.environ | MARK,
                )
            await self._process.wait()
            self.is_ready = False
            await asyncio.sleep(0.5)

    async def _probe_readiness(self) -> None:
        probe = self.container.get("readinessProbe")
        failures = 0
        while probe is not None:
            if await self.probe("readinessProbe"):
                failures, self.is_ready = 0, True
            else:
                failures += 1
                if failures >= probe.get("failureThreshold", 3):
                    self.is_ready = False
            await asyncio.sleep(probe.get("periodSeconds", 10))

    async def probe(self, name: str) -> bool:
        """Ask as the probe of that name does; return whether the container is well."""
        probe = self.container[name]
        get = probe["httpGet"]
        try:
            return 200 <= await asyncio.wait_for(self._status(get), probe.get("timeoutSeconds", 1)) < 400
        except (OSError, ValueError, IndexError, asyncio.TimeoutError):
            return False

    async def _status(self, get: Mapping[str, Any]) -> int:
        port = ports(self.template)[get["port"]]
        reader, writer = await self._cluster.network.connect(self.address, port)
        try:
            writer.write(
                f"GET {get['path']} HTTP/1.1\r\nHost: {_host(self.address)}\r\nConnection: close\r\n\r\n".encode()
            )
            return int((await reader.readline()).split()[1])
        finally:
            writer.close()

    async def ready(self, within: float = 60) -> None:
        """Return when it is ready."""

        def is_ready() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()  # raises what has ended it
            return self.is_ready

        await eventually(is_ready, within=within, what=f"{self.name} is ready")

    async def reached_at_localhost(self, port: int) -> bool:
        """Whether a port is reached as with ``kubectl port-forward``, which connects to localhost in the pod's network."""
        assert self._namespace is not None
        try:
            _, writer = await self._namespace.connect("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its first process."""
        os.kill(self.pid, number)

    async def end(self) -> float:
        """Tell it to end, as for a new version; return how many seconds it took.

        Raises:
            AssertionError: If it has not ended within its grace period.
        """
        self.is_leaving = True
        began, process = asyncio.get_running_loop().time(), self._process
        assert process is not None
        self.send(signal.SIGTERM)
        grace = self.template["spec"].get("terminationGracePeriodSeconds", 30)
        done, _ = await asyncio.wait([asyncio.create_task(process.wait())], timeout=grace)
        took = asyncio.get_running_loop().time() - began
        await self.kill()
        assert done, f"{self.name} has not ended within {grace} s"
        return took

    async def kill(self) -> None:
        """End it at once, as when its machine dies, and forget it."""
        self.is_leaving, self.is_ready = True, False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._process is not None:
            # Its first process, not what waits for that: all others in its namespace end with it.
            with contextlib.suppress(ProcessLookupError, ValueError):
                self.send(signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._namespace is not None:
            await asyncio.to_thread(self._namespace.close)
            await asyncio.to_thread(self._cluster.network.unplug, self.number)
            self._namespace = None
        self._cluster.pods.pop(self.name, None)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _places(program: str) -> list[str]:
    """Return where a program is; nothing if that depends on PATH."""
    return [program, str(Path(program).resolve())] if program.startswith("/") else []


def _expanded(text: str, environment: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` as Kubernetes does: by variables that are known, and come before."""
    return re.sub(r"\$\((\w+)\)", lambda found: environment.get(found[1], found[0]), text)


class Cluster:
    """The pods of some objects.

    Attributes:
        pods: Those that run, by name.
        files: The files of each Secret and ConfigMap.
    """

    def __init__(
        self,
        folder: Path,
        objects: Iterable[Object],
        *,
        namespace: str,
        versions: Sequence[int] = VERSIONS,
    ) -> None:
        """Start nothing yet.

        Args:
            folder: Where the pods have their volumes.
            objects: What a chart has rendered.
            namespace: Where the chart is installed.
            versions: The versions of IP that the network knows; the first one is that of a pod's own address.
        """
        self.folder = folder
        self.objects = list(objects)
        self.namespace = namespace
        self.network = Network(versions)
        self.pods: dict[str, Pod] = {}
        self.files = {
            each["metadata"]["name"]: contents(each) for each in self.objects if each["kind"] in {"Secret", "ConfigMap"}
        }
        self.claims: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._made = 0
        self._members: dict[str, Object] = {}
        for each in self.objects:
            if each["kind"] == "StatefulSet":
                self._name_members(each["metadata"]["name"], each["spec"])

    def _name_members(self, name: str, spec: Object) -> None:
        for number in range(spec["replicas"]):
            member = f"{name}-{number}"
            self.names[f"{member}.{spec['serviceName']}.{self.namespace}.svc"] = self.addresses_of(member)[0]
            self.claims[member] = [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]]
            self._members[member] = spec["template"]

    def number_of(self, name: str) -> int:
        """Return the number of the pod of that name, which may not run yet."""
        if name not in self._numbers:
            self._numbers[name] = self.network.number()
        return self._numbers[name]

    def addresses_of(self, name: str) -> list[str]:
        """Return the addresses of the pod of that name, its own one first."""
        return self.network.addresses(self.number_of(name))

    def hosts(self, pod: Pod) -> str:
        """Return what /etc/hosts of a pod says, in place of the name server of a cluster."""
        names = {name: address for name, address in self.names.items() if name != pod.name}
        lines = ["127.0.0.1 localhost", "::1 localhost", f"{pod.address} {pod.name}"]
        return "\n".join([*lines, *(f"{address} {name}" for name, address in names.items()), ""])

    def pod(self, name: str, template: Object) -> Pod:
        """Return a new pod, not started."""
        self.pods[name] = Pod(self, name, template)
        return self.pods[name]

    async def start_members(self) -> list[Pod]:
        """Start the pods of all StatefulSets, all at once."""
        found = [self.pod(member, template) for member, template in self._members.items()]
        for pod in found:
            await pod.start()
        return found

    async def start_replica(self, deployment: str, template: Object | None = None) -> Pod:
        """Start one pod of a Deployment."""
        self._made += 1
        pod = self.pod(f"{deployment}-{self._made}", template or pods_of(self.objects)[f"Deployment/{deployment}"])
        await pod.start()
        return pod

    def replace_files(self, name: str, files: Mapping[str, bytes]) -> None:
        """Replace the files of a Secret in all pods that have it."""
        self.files[name] = dict(files)
        for pod in self.pods.values():
            for volume in pod.template["spec"].get("volumes", []):
                if volume.get("secret", {}).get("secretName") == name:
                    group = pod.template["spec"]["securityContext"]["fsGroup"]
                    write(pod.volume(volume["name"]), files, volume["secret"]["defaultMode"], group)

    async def close(self) -> None:
        """End all pods."""
        for pod in list(self.pods.values()):
            await pod.kill()
        await asyncio.to_thread(self.network.close)


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    objects: Iterable[Object],
    *,
    namespace: str,
    versions: Sequence[int] = VERSIONS,
) -> AsyncIterator[Cluster]:
    """Run a cluster during the block; it has no pods at first. If the block fails, the logs are printed."""
    cluster = Cluster(folder, objects, namespace=namespace, versions=versions)
    try:
        yield cluster
    except BaseException:
        for pod in cluster.pods.values():
            print(f"--- {pod.name}\n{pod.log[-4000:]}")
        raise
    finally:
        await cluster.close()
