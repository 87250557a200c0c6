"""Traefik: what its chart is given. Pure."""

from typing import Any

from config import Acme, Images, Platform
from mlops import acme
from versions import TRAEFIK

NAME = "traefik"
SECURE_PORT = 8443
METRICS_PORT = 9100
READ_SECONDS = 3600
"""For one request with its body: a layer of an image over a slow line takes its time."""
DIAL_SECONDS = 1
"""To reach a pod. A lost node's pods are behind their Services for some 40 s more."""


def _resources(config: Platform) -> dict[str, Any]:
    small = config.profile == "small"
    return {
        "requests": {"cpu": "20m" if small else "50m", "memory": "48Mi" if small else "64Mi"},
        "limits": {"memory": "192Mi" if small else "256Mi"},
    }


def _ports(config: Platform) -> dict[str, Any]:
    hidden = {"default": False}
    web: dict[str, Any] = {"port": acme.PORT, "expose": hidden}
    if isinstance(config.ingress.tls, Acme):
        web["hostPort"] = 80
    timeouts = {"readTimeout": f"{READ_SECONDS}s", "writeTimeout": "0s", "idleTimeout": "180s"}
    return {
        "web": web,
        "websecure": {
            "port": SECURE_PORT,
            "hostPort": 443,
            "http": {"tls": {"enabled": True}},
            "transport": {"respondingTimeouts": timeouts},
        },
        "metrics": {"port": METRICS_PORT, "expose": hidden},
    }


def _arguments() -> list[str]:
    """For which the chart has no keys."""
    return [
        f"--serverstransport.forwardingtimeouts.dialtimeout={DIAL_SECONDS}s",
        # None is kept: on a connection to a lost node a request waits for ever, and cannot be asked again.
        "--serverstransport.maxidleconnsperhost=-1",
    ]


def values(config: Platform, images: Images) -> dict[str, Any]:
    """The chart's values: on every node, at its port 443, for the Gateway API only."""
    return {
        "image": {"registry": TRAEFIK.registry, "repository": TRAEFIK.repository, "tag": images.tag(TRAEFIK)},
        "deployment": {"kind": "DaemonSet"},
        # A port of the node is taken by one pod at a time.
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        # Whichever node has the public address, what it is kept for does not keep the way in away.
        "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
        "resources": _resources(config),
        "ports": _ports(config),
        "additionalArguments": _arguments(),
        # Nobody asks a cloud for a load balancer: the nodes' own port is the way in.
        "service": {"spec": {"type": "ClusterIP"}},
        "providers": {
            "kubernetesGateway": {"enabled": True, "statusAddress": {"service": {"enabled": False}}},
            # For the filters that routes name, which are in the route's namespace.
            "kubernetesCRD": {"enabled": True, "allowCrossNamespace": False, "defaultTLSResourcesNamespace": "ingress"},
            "kubernetesIngress": {"enabled": False},
        },
        # Our own objects, which are there before it is and do not change with its chart.
        "gateway": {"enabled": False},
        "gatewayClass": {"enabled": False},
        "ingressClass": {"enabled": False},
        # A client that names no host of ours gets no certificate, and so no answer.
        "tlsOptions": {"default": {"minVersion": "VersionTLS12", "sniStrict": True}},
        "api": {"dashboard": False, "insecure": False},
        "ingressRoute": {"dashboard": {"enabled": False}},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "INFO", "format": "json"},
        # Signatures and codes of logins are in queries and headers.
        "accessLog": {
            "enabled": True,
            "format": "json",
            "fields": {"headers": {"defaultMode": "drop"}, "queryParameters": {"defaultMode": "drop"}},
        },
        "metrics": {"prometheus": {"entryPoint": "metrics", "addRoutersLabels": True}},
    }
