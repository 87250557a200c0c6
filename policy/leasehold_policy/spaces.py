"""Namespaces: what may run there, and how much of it."""

from collections.abc import Iterator, Sequence

from .model import Finding, Resource, each, uncovered, whole
from .values import UNKNOWN, absent, at
from .workloads import PATHS, WORKFLOWS

LEVEL = "pod-security.kubernetes.io/enforce"
SHARED = ("default", "kube-system", "kube-public", "kube-node-lease")
TABLE = "make the namespace by mlops.spaces"


@each(TABLE)
def pod_security_level(resource: Resource) -> Iterator[str]:
    """A namespace says which pods it accepts."""
    if resource.named("Namespace") and absent(resource.at("metadata", "labels", LEVEL)):
        yield f"no label {LEVEL}"


@each("use restricted or baseline, or waive it with the reason")
def privileged_namespace(resource: Resource) -> Iterator[str]:
    """A namespace refuses pods that could take over their node."""
    if resource.named("Namespace") and resource.at("metadata", "labels", LEVEL) == "privileged":
        yield "it accepts privileged pods"


@whole(TABLE)
def namespace_has_a_quota(resources: Sequence[Resource]) -> Iterator[Finding]:
    """A namespace takes no more than its share: pods, CPU and memory have a limit."""
    bounded = [r.namespace for r in resources if r.named("ResourceQuota") and not absent(r.at("spec", "hard"))]
    yield from _without(resources, bounded, "no ResourceQuota")


@whole(TABLE)
def namespace_has_defaults(resources: Sequence[Resource]) -> Iterator[Finding]:
    """A container that says nothing has the namespace's requests and limits."""
    yield from _without(resources, [r.namespace for r in resources if r.named("LimitRange")], "no LimitRange")


@whole(TABLE)
def default_account_has_no_token(resources: Sequence[Resource]) -> Iterator[Finding]:
    """The account that a pod has by default gets no token of the Kubernetes API."""
    accounts = [r for r in resources if r.named("ServiceAccountPatch", "ServiceAccount")]
    tokenless = [
        r.namespace
        for r in accounts
        if r.at("metadata", "name") in ("default", UNKNOWN) and r.at("automountServiceAccountToken") in (False, UNKNOWN)
    ]
    yield from _without(resources, tokenless, "its account `default` has a token")


def _without(resources: Sequence[Resource], covered: list[object], detail: str) -> Iterator[Finding]:
    yield from (Finding(space, detail) for space in uncovered(resources, covered))


@each("give it a namespace of its own")
def shared_namespace(resource: Resource) -> Iterator[str]:
    """Nothing that runs, serves or stores is in a namespace that others share."""
    if resource.named("Release", *PATHS, *WORKFLOWS, "Service", "ConfigMap", "Secret", "PersistentVolumeClaim"):
        where = resource.at("namespace") if resource.named("Release") else resource.namespace
        if where in SHARED:
            yield f"it is in {where}"


@each("set services.loadbalancers to 0")
def quota_forbids_balancers(resource: Resource) -> Iterator[str]:
    """A quota lets nobody in a namespace ask the cloud for a balancer."""
    if resource.named("ResourceQuota"):
        balancers = at(resource.at("spec", "hard"), "services.loadbalancers")
        if balancers not in ("0", 0, UNKNOWN) and resource.at("spec", "hard") is not UNKNOWN:
            yield "services.loadbalancers is not 0"
