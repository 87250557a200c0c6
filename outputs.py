"""The stack outputs: one typed place that other teams build on (docs/outputs.md shows a StackReference)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import pulumi

from apps import Apps
from cluster import Cluster
from infra import Infra
from infra.hosts import known_hosts, ssh_config
from mlops import Platform


def _output(description: str, *, secret: bool = False) -> Any:
    return field(default=None, metadata={"description": description, "secret": secret})


@dataclass(frozen=True)
class StackOutputs:
    """Every output, in the order in which it is shown; None for those that this environment does not have."""

    hosts: pulumi.Output[list[dict[str, Any]]] | None = _output(
        "machines: name, role, site, address, ssh_host, ssh_port, user, host_key, bastion, gpu, labels, volumes"
    )
    leases: pulumi.Output[dict[str, dict[str, str]]] | None = _output(
        "leases: id, reservation_id, flavor_id, status, start, end, extendable_from, extendable_until (UTC)"
    )
    floating_ips: Mapping[str, pulumi.Output[str]] | None = _output("site name to the public address of its bastion")
    ssh_config: pulumi.Output[str] | None = _output("OpenSSH client configuration for every machine")
    known_hosts: pulumi.Output[str] | None = _output("pinned SSH host keys, one line a machine")
    ssh_private_key: pulumi.Output[str] | None = _output("login key of the stack, OpenSSH text", secret=True)
    cluster_kind: str | None = _output("k3s, kubespray or existing")
    kubernetes_version: str | None = _output("release of Kubernetes; not there for an existing cluster")
    api_endpoint: pulumi.Output[str] | None = _output("URL of the Kubernetes API, as kubeconfig has it")
    kubeconfig: pulumi.Output[str] | None = _output("administrator's kubeconfig", secret=True)
    reader_kubeconfigs: Mapping[str, pulumi.Output[str]] | None = _output(
        "reader name to a kubeconfig that sees its namespaces and changes nothing", secret=True
    )

    endpoints: Mapping[str, str] | None = _output("service name to its URL, through the ingress")
    logins: Mapping[str, dict[str, str]] | None = _output(
        "service name to how one logs in: url, user, and where the password is (never the password)"
    )
    health: Mapping[str, str] | None = _output("service name to a URL that answers when it works, with its login")
    ca_certificate: pulumi.Output[str] | None = _output("certificate of the authority that certifies them, PEM")
    mlflow_tracking_uri: str | None = _output("MLFLOW_TRACKING_URI for clients outside")
    s3: Mapping[str, Any] | None = _output("object store: endpoint, public_endpoint, region, path_style, buckets")
    registry: str | None = _output("host name of the image registry; images are REGISTRY/NAME@DIGEST")

    environments: Mapping[str, dict[str, str]] | None = _output(
        "environment of the model to its url, where it says its version, its model in MLflow (by alias), and the file "
        "in Git with digest, version and what it may go back to"
    )
    delivery: pulumi.Output[str] | None = _output("settings of the delivery's steps in pods, JSON: what runs how")

    promotion: Mapping[str, str] | None = _output("how to see what runs, to promote and to revert: commands")

    @classmethod
    def of(
        cls,
        infra: Infra | None,
        cluster: Cluster | None = None,
        platform: Platform | None = None,
        apps: Apps | None = None,
    ) -> "StackOutputs":
        """Gather the layers' results."""
        found: dict[str, Any] = {}
        if infra is not None:
            hosts, stack = infra.describe_hosts(), pulumi.get_stack()
            found |= {
                "hosts": hosts,
                "leases": infra.describe_leases(),
                "floating_ips": dict(infra.floating_ips),
                "ssh_config": hosts.apply(lambda known: ssh_config(stack, known)),
                "known_hosts": hosts.apply(known_hosts),
                "ssh_private_key": infra.private_key,
            }
        if cluster is not None:
            found |= {
                "cluster_kind": cluster.access.kind,
                "kubernetes_version": cluster.access.version,
                "api_endpoint": cluster.access.endpoint,
                "kubeconfig": cluster.access.kubeconfig,
                "reader_kubeconfigs": dict(cluster.readers),
            }
        if platform is not None:
            services = [*platform.services, *(apps.services if apps else [])]
            urls = {service.name: service.url for service in services}
            found |= {
                "endpoints": urls,
                "logins": {s.name: s.login.describe() for s in services if s.login},
                "health": {s.name: f"{s.url}{s.health}" for s in services},
                "ca_certificate": platform.certificate,
                "mlflow_tracking_uri": urls.get("mlflow"),
                "s3": platform.s3.describe() if platform.s3 else None,
                "registry": urls["registry"].removeprefix("https://") if "registry" in urls else None,
            }
        if apps is not None:
            found |= {
                "environments": apps.environments.describe(),
                "delivery": apps.settings,
                "promotion": apps.how(),
            }
        return cls(**found)

    def export(self) -> None:
        """Hand every output to Pulumi; those marked secret as secrets."""
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                pulumi.export(item.name, pulumi.Output.secret(value) if item.metadata["secret"] else value)
