"""GPUs that pods can ask for: NVIDIA's device plugin and metrics exporter, and a Job that proves it.

Owns what runs in the cluster; drivers and the container runtime are the machines' (see prepare.py). The values of
the charts are pure functions. Import this where it is needed: Kubernetes' part of the SDK takes half a second to load.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import yaml
from pulumi_kubernetes.batch.v1 import Job
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.helm.v3 import Release
from pulumi_kubernetes.node.v1 import RuntimeClass

import versions
from cluster import peers
from cluster.closed import Guards, guarded
from cluster.held import HeldReleases
from config import Charts
from versions import Chart

NAMESPACE = "leasehold-gpu"
RESOURCE = "nvidia.com/gpu"
RUNTIME = "nvidia"
"""Name of the RuntimeClass, and of containerd's runtime behind it."""
PRESENT = f"{RESOURCE}.present"
"""Label of nodes with a GPU; their taint has RESOURCE as its key."""
NODES = {PRESENT: "true"}
TOLERATIONS = [{"key": RESOURCE, "operator": "Exists", "effect": "NoSchedule"}]
RELEASE_SECONDS = 600
"""Both images are some hundred megabytes, pulled on every GPU node at once."""
NOBODY = 65534
METRICS = 9400
"""The exporter's port."""
EXPORTER_MEMORY = "1Gi"
"""Limit of a container here: the exporter holds the counters of every GPU of its node."""


@dataclass(frozen=True)
class GpuArgs:
    """What a cluster with GPU nodes needs."""

    charts: Charts
    anchor: pulumi.Resource | None
    """Lives as long as the cluster: its end needs no working API."""
    kubeconfig: pulumi.Input[str]
    """Administrator's."""
    time_slicing: int | None = None
    """Pods that share one GPU; None: one pod a GPU."""
    make_runtime_class: bool = False
    """Whether nobody else makes the RuntimeClass: k3s does, when it finds the toolkit."""
    image: str = versions.SMOKE.tagged
    """What the proving Job runs in."""
    nodes: Sequence[pulumi.Resource] = ()
    """What made the GPU nodes members: a release waits until their pods run."""


class Gpu(pulumi.ComponentResource):
    """GPUs as a resource of the scheduler, with metrics. Made when a pod has seen its GPU."""

    def __init__(self, name: str, args: GpuArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install the charts; `opts` gives the provider."""
        super().__init__("leasehold:cluster:Gpu", name, None, opts)
        self._args = args
        # A cluster that is gone takes its objects along: nothing asks an API that does not answer.
        self._under = pulumi.ResourceOptions(parent=self, deleted_with=args.anchor)
        space = Namespace(
            f"{name}-namespace",
            metadata={
                "name": NAMESPACE,
                # Both charts mount folders of the kubelet, and the exporter needs SYS_ADMIN for profiling metrics.
                "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
            },
            opts=self._under,
        )
        first: list[pulumi.Resource] = list(args.nodes)
        if args.make_runtime_class:
            first.append(RuntimeClass(RUNTIME, metadata={"name": RUNTIME}, handler=RUNTIME, opts=self._under))
        known = space.metadata.apply(lambda metadata: metadata.name or NAMESPACE)
        namespace = guarded(name, known, guards(), self._under)
        self._held = HeldReleases(f"{name}-held-releases", args.kubeconfig, [NAMESPACE], self._under)
        plugin = self._release(versions.DEVICE_PLUGIN, device_plugin(args.time_slicing), namespace, first)
        self._release(versions.DCGM_EXPORTER, dcgm_exporter(), namespace, first)
        Job(
            f"{name}-smoke",
            metadata={
                "name": "nvidia-smi",
                "namespace": namespace,
                # A failed Job stays failed: without this, every later run would wait for it in vain.
                "annotations": {"pulumi.com/replaceUnready": "true"},
            },
            spec=smoke(args.image),
            opts=pulumi.ResourceOptions.merge(
                self._under,
                pulumi.ResourceOptions(
                    # The plugin hands no value on; without it, no node has the resource that the Job asks for.
                    depends_on=[plugin],
                    custom_timeouts=pulumi.CustomTimeouts(create="10m", update="10m"),
                ),
            ),
        )
        self.register_outputs({})

    def _release(
        self, chart: Chart, values: dict[str, Any], namespace: pulumi.Input[str], after: Sequence[pulumi.Resource]
    ) -> Release:
        source, repository = self._args.charts.source(chart)
        return Release(
            chart.name,
            name=chart.name,
            chart=source,
            version=chart.version,
            repository_opts=repository,
            namespace=namespace,
            values=values,
            timeout=RELEASE_SECONDS,
            skip_await=False,
            description=self._held.description(NAMESPACE, chart.name),
            # Of a failed install that the state does not know; helm takes no other name again.
            replace=True,
            max_history=5,
            opts=pulumi.ResourceOptions.merge(
                # Nodes and runtime classes hand no value on; the charts' pods need both.
                self._under,
                pulumi.ResourceOptions(depends_on=list(after)),
            ),
        )


def guards() -> Guards:
    """What guards the namespace: as many pods as a large cluster has, metrics for the platform's monitoring alone."""
    # The plugin asks the API which shares a node is to have.
    asked = {"to": [peers.address()], "ports": peers.ports(peers.API_PORTS)}
    policy: dict[str, Any] = {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [peers.space("monitoring")], "ports": peers.ports([METRICS])}],
        "egress": [peers.dns(), asked],
    }
    return Guards({"pods": "500"}, policy, EXPORTER_MEMORY)


def device_plugin(time_slicing: int | None) -> dict[str, Any]:
    """Values of nvidia-device-plugin. Feature discovery stays off: our own label says where GPUs are."""
    values: dict[str, Any] = {"runtimeClassName": RUNTIME, "nodeSelector": NODES, "tolerations": TOLERATIONS}
    if time_slicing is None:
        return values
    # A pod that asks for two shares would believe that it has two GPUs.
    sharing = {"failRequestsGreaterThanOne": True, "resources": [{"name": RESOURCE, "replicas": time_slicing}]}
    config = yaml.safe_dump({"version": "v1", "sharing": {"timeSlicing": sharing}}, sort_keys=False)
    return {**values, "config": {"map": {"shared": config}, "default": "shared"}}


def dcgm_exporter() -> dict[str, Any]:
    """Values of dcgm-exporter."""
    return {
        "runtimeClassName": RUNTIME,
        "nodeSelector": NODES,
        "tolerations": TOLERATIONS,
        # Its kind belongs to the monitoring stack, which a cluster does not have yet.
        "serviceMonitor": {"enabled": False},
        # The chart's 45 s are for hosts with many GPUs; a probe that is early only tries again.
        "readinessProbe": {"initialDelaySeconds": 10},
    }


def smoke(image: str) -> dict[str, Any]:
    """The Job's spec: one pod that gets a GPU and prints it."""
    return {
        # It stays: whoever wonders finds the proof in its log.
        "backoffLimit": 2,
        "template": {
            "metadata": {
                # A newer plugin proves itself anew: a Job's template cannot change in place.
                "annotations": {"leasehold/device-plugin": versions.DEVICE_PLUGIN.version}
            },
            "spec": {
                "restartPolicy": "Never",
                "runtimeClassName": RUNTIME,
                "nodeSelector": NODES,
                "tolerations": TOLERATIONS,
                "automountServiceAccountToken": False,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": NOBODY,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "nvidia-smi",
                        "image": image,
                        "command": ["nvidia-smi"],
                        # The image asks for a driver as new as its CUDA, of which nothing is used here.
                        "env": [{"name": "NVIDIA_DISABLE_REQUIRE", "value": "true"}],
                        "resources": {"limits": {RESOURCE: "1"}},
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    }
                ],
            },
        },
    }
