"""From configurable-http-proxy to the chart in mode "replace", as docs/how-to/zero-to-jupyterhub.rst says it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from k8s.use import Use
from support.charts import NAMESPACE, PUBLIC, Object, needs_helm, render
from support.chp import CHP_COMMAND
from support.other_user import open_folder
from support.pods.cluster import running
from support.pods.hub import HubPod, check_version
from support.pods.network import missing
from support.pods.service import Service
from support.waiting import eventually, meanwhile

needs_helm()

_MISSING = missing() or ("" if CHP_COMMAND else "there is no configurable-http-proxy")
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(_MISSING), reason=f"pods cannot be run here: {_MISSING}"),
]

_TOKEN = "token"
# What Zero to JupyterHub tells the Hub of its own proxy.
_BEFORE = f"""
c.JupyterHub.proxy_class = "configurable-http-proxy"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://proxy-api:8001"
c.ConfigurableHTTPProxy.auth_token = "{_TOKEN}"
"""


def chp() -> Object:
    """Return the pod of configurable-http-proxy, as Zero to JupyterHub has it."""
    hub = "http://hub:8081"
    options = ["--ip=", "--api-ip=", "--api-port=8001", "--port=8000"]
    return {
        "metadata": {"labels": PUBLIC},
        "spec": {
            "securityContext": {"fsGroup": 65534, "runAsUser": 65534, "runAsGroup": 65534},
            "containers": [
                {
                    "name": "chp",
                    "command": [CHP_COMMAND, *options, f"--default-target={hub}", f"--error-target={hub}/hub/error"],
                    "env": [{"name": "CONFIGPROXY_AUTH_TOKEN", "value": _TOKEN}],
                    "ports": [{"name": "http", "containerPort": 8000}],
                    "readinessProbe": {"httpGet": {"path": "/_chp_healthz", "port": "http"}, "periodSeconds": 2},
                }
            ],
        },
    }


async def test_users_go_on_while_the_proxy_is_exchanged() -> None:
    """There and back. Requests fail only where the guide says it: when configurable-http-proxy ends, and when it is new."""
    with open_folder() as folder:
        async with contextlib.AsyncExitStack() as stack:
            objects = render({"mode": "replace", "termination": {"leaveSeconds": 8}})
            cluster = await stack.enter_async_context(running(folder, objects, namespace=NAMESPACE))
            before = cluster.pod("proxy-1", chp())
            cluster.names["proxy-api"] = before.address
            public = Service(cluster, PUBLIC, "http")
            await stack.enter_async_context(public.open())
            hub_pod = HubPod(cluster, public.url)
            await before.start()
            await before.ready()
            hub = await stack.enter_async_context(hub_pod.running(_BEFORE, lives_on=True))
            await eventually(lambda: public.known)
            pid = await hub.start_server("ada")

            uses = [Use() for _ in range(3)]
            async with meanwhile(*(use.go_on(hub, "ada", pid) for use in uses)):
                await hub.stop()
                hub_pod.configure()
                members = await cluster.start_members()
                replicas = [await cluster.start_replica("traefik-proxy") for _ in range(3)]
                for member in members:
                    await member.ready()
                await hub.start()
                for replica in replicas:
                    await replica.ready()
                await eventually(lambda: len(public.known) == 4)
                assert [use.failed for use in uses] == [[], [], []]

                await before.end()
                await eventually(lambda: before not in public.known)
                refused = await _failed_so_far(uses)
                await hub.start_server("eve")
                await check_version(hub)
                assert await _failed_so_far(uses) == refused

                await hub.stop()
                hub_pod.configure(_BEFORE)
                again = cluster.pod("proxy-1", chp())
                await again.start()
                await again.ready()
                await hub.start()
                await eventually(lambda: len(public.known) == 4)
                refused = await _failed_so_far(uses)
                await asyncio.gather(*(replica.end() for replica in replicas))
                for member in members:
                    await member.kill()
                assert public.known == [again]
                assert await _failed_so_far(uses) == refused
                await hub.start_server("bob")
                assert await hub.server_of("eve") > 0
            assert all(use.requests > 30 for use in uses)


async def _failed_so_far(uses: list[Use]) -> list[int]:
    """Return how many requests have failed, once all that have begun before have ended."""
    begun = [use.requests for use in uses]
    await eventually(lambda: all(use.requests > number for use, number in zip(uses, begun, strict=True)), within=30)
    return [len(use.failed) for use in uses]
