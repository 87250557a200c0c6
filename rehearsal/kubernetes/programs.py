"""The platform's programs, as their modules pin them: what runs in its pods, and kube-router on its machines.

Upstream sets most versions by the linker, and so does this table: without that the programs do not know theirs.
"""

from dataclasses import replace

from rehearsal.kubernetes.build import Binary


def _program(name: str, package: str, version: tuple[str, str], module: str | None = None) -> Binary:
    # In a module of its own name, with one variable for the version.
    return Binary(name, module or name, package, dict([version]))


_ARGO_CD = "github.com/argoproj/argo-cd/v3"
_ARGO_WORKFLOWS = "github.com/argoproj/argo-workflows/v4"
_BUILDKIT = "github.com/moby/buildkit"
_COMMON = "github.com/prometheus/common/version.Version"
_DISTRIBUTION = "github.com/distribution/distribution/v3"
_KUBE_ROUTER = "github.com/cloudnativelabs/kube-router/v2"
_MINIO = "github.com/minio/minio"
_NATS = "github.com/nats-io/nats-server/v2"
_OAUTH2_PROXY = "github.com/oauth2-proxy/oauth2-proxy/v7"
_OPERATOR = "github.com/prometheus-operator/prometheus-operator/cmd"
_PROMETHEUS = "github.com/prometheus/prometheus/cmd"
_NO_PAGES = """<!doctype html>
<title>Argo Workflows</title>
<p>This server was built from Go modules, which have not the pages of its releases. Its API is whole: /api/v1/info.</p>
"""
_NO_DNS_CLIENTS = """package dns

import (
	"fmt"

	"github.com/go-acme/lego/v4/challenge"
)

// NewDNSChallengeProviderByName knows none of upstream's 170: their clients are a third of what there is to compile.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("this build has no client of the DNS provider %s", name)
}
"""
_TRAEFIK = "github.com/traefik/traefik/v3"

KUBE_ROUTER = _program(
    "kube-router", f"{_KUBE_ROUTER}/cmd/kube-router", (f"{_KUBE_ROUTER}/pkg/version.Version", "v2.1.0")
)
REGISTRY = _program("registry", f"{_DISTRIBUTION}/cmd/registry", (f"{_DISTRIBUTION}/version.version", "v3.1.2"))
MINIO = Binary(
    "minio",
    "minio",
    _MINIO,
    {
        f"{_MINIO}/cmd.Version": "2026-02-12T20:18:48Z",
        f"{_MINIO}/cmd.ReleaseTag": "DEVELOPMENT.2026-02-12T20-18-48Z",
        f"{_MINIO}/cmd.CommitID": "7aac2a2c5b7c",
        f"{_MINIO}/cmd.ShortCommitID": "7aac2a2c5b7c",
        f"{_MINIO}/cmd.CopyrightYear": "2026",
    },
)
# Without the discovery of targets in clouds, whose SDKs take most of the compiling.
_SLIM = ("remove_all_sd", "enable_kubernetes_sd")
PROMETHEUS = replace(_program("prometheus", f"{_PROMETHEUS}/prometheus", (_COMMON, "3.16.0")), tags=_SLIM)
PROMTOOL = replace(_program("promtool", f"{_PROMETHEUS}/promtool", (_COMMON, "3.16.0"), "prometheus"), tags=_SLIM)
ALERTMANAGER = _program("alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager", (_COMMON, "0.31.1"))
"""The newest release with its pages in the module: later ones embed files that only a release has."""
PROMETHEUS_OPERATOR = _program("prometheus-operator", f"{_OPERATOR}/operator", (_COMMON, "0.85.0"))
CONFIG_RELOADER = _program(
    "prometheus-config-reloader", f"{_OPERATOR}/prometheus-config-reloader", (_COMMON, "0.85.0"), "prometheus-operator"
)
TRAEFIK = replace(
    _program("traefik", f"{_TRAEFIK}/cmd/traefik", (f"{_TRAEFIK}/pkg/version.Version", "v3.6.12")),
    added={"github.com/go-acme/lego/v4/providers/dns/zz_gen_dns_providers.go": _NO_DNS_CLIENTS},
)
"""The newest minor whose whole graph proxies have; without the dashboard's pages, which only a release has, and without
clients of DNS providers: cert-manager makes the certificates."""
NODE_EXPORTER = _program("node-exporter", "github.com/prometheus/node_exporter", (_COMMON, "1.12.1"))
OAUTH2_PROXY = _program("oauth2-proxy", _OAUTH2_PROXY, (f"{_OAUTH2_PROXY}/pkg/version.VERSION", "v7.15.6"))
ARGO_CD = _program("argocd", f"{_ARGO_CD}/cmd", (f"{_ARGO_CD}/common.version", "3.2.12"), "argo-cd")
"""Every part of it, by the name under which it is started. The newest minor whose engine is a module of its own: later
ones have it in a folder that no proxy has, or want a newer compiler."""
ARGO_WORKFLOWS = (
    *(
        _program(name, f"{_ARGO_WORKFLOWS}/cmd/{name}", (f"{_ARGO_WORKFLOWS}.version", "v4.0.5"), "argo-workflows")
        for name in ("workflow-controller", "argoexec")
    ),
    Binary(
        "argo",
        "argo-workflows",
        f"{_ARGO_WORKFLOWS}/cmd/argo",
        {f"{_ARGO_WORKFLOWS}.version": "v4.0.5"},
        {f"{_ARGO_WORKFLOWS}/ui/dist/app/index.html": _NO_PAGES},
    ),
)
"""The last is the server and the command line."""
CERT_MANAGER = Binary(
    "cert-manager", "cert-manager", "github.com/cert-manager/cert-manager/cmd/rehearsal", {"main.version": "v1.21.2"}
)
"""Controller, webhook, cainjector and startupapicheck, by the name under which it is started."""
NATS = Binary("nats-server", "nats", _NATS)
"""Its version is in its source."""
BUILDKIT = tuple(
    _program(name, f"{_BUILDKIT}/cmd/{name}", (f"{_BUILDKIT}/version.Version", "v0.34.2"), "buildkit")
    for name in ("buildkitd", "buildctl")
)
