"""Where a rule does not hold, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .model import Finding, Rule


@dataclass(frozen=True)
class Waiver:
    """Resources that need not do what a rule demands."""

    rule: str
    resources: tuple[str, ...]
    """Logical names; * stands for any characters, where a user chooses them."""
    reason: str

    def covers(self, rule: str, resource: str, pattern: str) -> bool:
        """Whether one of its patterns excuses a resource from a rule."""
        return self.rule == rule and fnmatchcase(resource, pattern)


WAIVERS: tuple[Waiver, ...] = (
    Waiver(
        "node-port",
        ("registry-service-registry-pull",),
        "kubelets pull at their own node, before there is an ingress; it serves TLS and asks for a password",
    ),
    Waiver(
        "host-port",
        ("traefik",),
        "the ingress is what is reached: no site has a balancer, so it takes 443, and 80 for ACME, on every node",
    ),
    Waiver(
        "policy-names-its-sources",
        ("cert-manager-flows", "cnpg-system-flows"),
        "the API server calls their webhooks from the nodes' addresses, which no selector names; the port is named",
    ),
    Waiver(
        "policy-names-its-sources",
        ("ingress-flows",),
        "the ingress is for everybody; who gets further is decided by its routes",
    ),
    Waiver(
        "policy-names-its-sources",
        ("registry-flows",),
        "kubelets pull from the nodes' addresses, which no selector names; the registry asks for a password",
    ),
    Waiver(
        "route-is-guarded",
        ("object-store-minio-route", "object-store-s3-route"),
        "the store has accounts of its own, and S3 clients sign their requests instead of sending a password",
    ),
    Waiver(
        "route-is-guarded",
        ("registry-registry-route", "registry-registry-changes-route"),
        "the registry asks for its own accounts, in the way that docker and kubelets know",
    ),
    Waiver(
        "route-is-guarded",
        ("argocd-argocd-route", "monitoring-grafana-route", "argo-workflows-workflows-route", "delivery-git-route"),
        "it has accounts of its own, with generated passwords or tokens, and lets in nobody without",
    ),
    Waiver("route-is-guarded", ("ingress-login-route",), "it is the page where people log in"),
    Waiver("listener-has-tls", ("leasehold-http-gateway",), "ACME's challenge comes over HTTP; no route hangs on it"),
    Waiver(
        "self-signed-is-short",
        ("builds-server-certificate", "builds-client-certificate"),
        "builder and workflows trust nothing but each other's one certificate; `platform.rotation` renews both",
    ),
    Waiver(
        "account-hands-out-no-token",
        ("log-analysis-account", "argo-events-trigger"),
        "the charts' own pods have no setting for it, and these two accounts are there to ask the API",
    ),
    Waiver(
        "pod-has-no-token",
        ("registry-restart", "log-analysis", "test-staging"),
        "it asks the API: to restart two pods by name, to read logs, to read the memory of one pod",
    ),
    Waiver(
        "token-ends",
        ("workflows-executor-token-1", "workflows-operator-token-1"),
        "Argo finds an account's token by the name of a Secret; `platform.rotation` replaces it",
    ),
    Waiver(
        "token-ends",
        ("*-token",),
        "a reader's kubeconfig is handed to other teams; taking the reader out of the file revokes it",
    ),
    Waiver(
        "privileged-namespace",
        ("gpu-namespace",),
        "both charts mount folders of the kubelet, and the exporter needs SYS_ADMIN for profiling metrics",
    ),
    Waiver("privileged-namespace", ("ingress-space",), "Traefik takes ports of its nodes"),
    Waiver("privileged-namespace", ("node-exporter-space",), "the exporter reads /proc and /sys of its node"),
    Waiver("privileged-namespace", ("builds-space",), "BuildKit without root makes user namespaces of its own"),
    Waiver(
        "privilege-escalation",
        ("buildkitd",),
        "newuidmap is setuid: BuildKit without root needs it for user namespaces",
    ),
    Waiver("capabilities", ("buildkitd",), "SETUID and SETGID, for newuidmap and newgidmap, as privilege-escalation"),
    Waiver("seccomp", ("buildkitd",), "the runtime's profile forbids the mounts of a build; the pod has no root"),
    *(
        Waiver(rule, ("gpu-smoke",), "it prints one table and ends; its only scarce resource, the GPU, is requested")
        for rule in ("read-only-root", "memory-is-limited", "amounts-are-requested")
    ),
    Waiver(
        "job-is-bounded", ("gpu-smoke",), "it waits for a GPU that comes late; `up` itself gives up after 10 minutes"
    ),
    Waiver(
        "image-has-a-digest",
        (
            *(
                "argo-events",
                "argo-events-bus",
                "argo-workflows",
                "argocd",
                "buildkitd",
                "cert-manager",
                "cloudnative-pg",
            ),
            *("git", "gpu-smoke", "mlflow", "mlflow-prepare", "monitoring", "oauth2-proxy", "plugin-barman-cloud"),
            *("object-store", "object-store-backup", "object-store-buckets", "postgres-cluster-postgres", "traefik"),
            *("git-backup", "object-store-restore", "check-drift"),
            *("registry-pull", "registry-push", "registry-restart", "log-analysis", "train-model", "test-staging"),
            *("build-container-image", "deploy-container-image", "promote-model", "revert", "finish"),
            *("load-test", "ray-head", "ray-worker"),
        ),
        "versions.py names tags; `leasehold:images.digests` pins them where digests are at hand, as a rehearsal does",
    ),
)


def waived(rule: Rule, name: str) -> bool:
    """Whether a resource is excused from a rule."""
    return any(waiver.covers(rule.id, name, pattern) for waiver in WAIVERS for pattern in waiver.resources)


def judged(rule: Rule, findings: Sequence[Finding]) -> list[Finding]:
    """What is left of a rule's findings."""
    return [finding for finding in findings if not waived(rule, finding.resource.name)]
