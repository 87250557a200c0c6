"""What MLflow's chart is given, and the texts that its server reads. Pure functions.

Only keys that chart 0.1.0 and 0.1.1 both have. Neither knows how the other's server writes below a read-only root, so
all that is written goes to a folder of our own.
"""

from typing import Any

import config
import versions
from config import Images
from mlops.pods import hardened
from mlops.services import S3

NAME = "mlflow"
"""Of the release, of all that the chart makes, and of the namespace."""
PORT = 5000
METRICS_PORT = 9000
ADMIN = "admin"
CLIENT = "workflows"
"""The user of pipelines: it sees what it made, and what it was granted."""
READER = "reader"
"""The user of pages that show: it sees all experiments and models, and changes none. There only where a page is."""
WORK = "/work"
METRICS_FOLDER = f"{WORK}/metrics"
SETTINGS = "/etc/mlflow"
SETTINGS_FILE = "basic_auth.ini"
SCRIPTS = "/srv/scripts"
DATABASE, SERVER, USERS, ACCOUNTS = "mlflow-database", "mlflow-server", "mlflow-users", "mlflow-accounts"
"""Secrets: the runs' database; what only the server knows; the users' database; every user's password."""
USER = 1000
PROCESS_MB = 256
"""What a process that has imported MLflow holds when nobody asks it anything: 265 MB were measured."""
# Workers that answer nobody for so long are killed. Python is not interrupted by large requests, so 5 s is too little.
STUCK_SECONDS = 60
SERVERS = 2
"""On different nodes: a new one takes half a minute to start, and a lost node's pods are not missed for as long."""
LOST_SECONDS = 30
UPLOADS = "10Gi"
"""Artifacts pass through a folder of the server: larger uploads at one time end the pod, not the node."""


def servers(config: config.Platform) -> int:
    """Pods that serve."""
    return 1 if config.profile == "small" else SERVERS


def hosts(config: config.Platform) -> list[str]:
    """Host headers that are answered: what they are for is that no web page elsewhere names another."""
    inside = [f"{NAME}.{NAME}", f"{NAME}.{NAME}.svc", f"{NAME}.{NAME}.svc.cluster.local"]
    return [config.host(NAME), *(f"{name}:{PORT}" for name in inside)]


CAPABILITIES = {"path": {"type": "Exact", "value": "/api/3.0/mlflow/server-info"}}
"""Requests by which a client learns what the server can."""
NOWHERE = "/api/3.0/mlflow/server-info-is-not-offered"


PATIENCE = "connect_timeout=3&keepalives_idle=5&keepalives_interval=5&keepalives_count=2&tcp_user_timeout=10000"
"""Of a connection to the databases: one whose server is gone with its node ends after 10 s, else after minutes."""


def with_driver(uri: str) -> str:
    """A database's address for MLflow: its image has psycopg2, and SQLAlchemy 2.1 takes another driver by default."""
    return f"{uri.replace('postgresql://', 'postgresql+psycopg2://', 1)}&{PATIENCE}"


def accounts(uri: str) -> str:
    """The file about users. Nobody sees what others made until it is shared: the safe side of a choice."""
    lines = {
        "default_permission": "NO_PERMISSIONS",
        "database_uri": with_driver(uri),
        "admin_username": ADMIN,
        "grant_default_workspace_access": "false",
        # Each request is checked twice, each time by a slow hash. A revoked password works for so long at most.
        "auth_cache_ttl_seconds": "30",
    }
    # Python takes % for its own in such files.
    return "\n".join(["[mlflow]", *(f"{key} = {value.replace('%', '%%')}" for key, value in lines.items()), ""])


def _secret(name: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def environment(s3: S3) -> list[dict[str, Any]]:
    """Of the server; secrets by reference."""
    texts = {
        "MLFLOW_AUTH_CONFIG_PATH": f"{SETTINGS}/{SETTINGS_FILE}",
        "MLFLOW_S3_ENDPOINT_URL": s3.endpoint,
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path" if s3.path_style else "virtual",
        "AWS_DEFAULT_REGION": s3.region,
        # Stores other than Amazon's may not know the checksums that newer clients send.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        # Jobs of the server run code that users sent.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "HOME": WORK,
        "TMPDIR": WORK,
    }
    plain = [{"name": name, "value": value} for name, value in texts.items()]
    return [*plain, _secret("MLFLOW_AUTH_ADMIN_PASSWORD", ACCOUNTS, ADMIN)]


def user() -> dict[str, Any]:
    """The security context of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _metrics(image: str) -> dict[str, Any]:
    """The container that Prometheus asks."""
    return {
        "name": "metrics",
        "image": image,
        "command": ["python3", f"{SCRIPTS}/metrics.py"],
        "env": [
            {"name": "METRICS_FOLDER", "value": METRICS_FOLDER},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": hardened(),
        "volumeMounts": [
            {"name": "work", "mountPath": WORK, "readOnly": True},
            {"name": "scripts", "mountPath": SCRIPTS, "readOnly": True},
        ],
    }


def _apart() -> dict[str, Any]:
    """Servers on different nodes, where there are several."""
    others = {"matchLabels": {"app.kubernetes.io/name": NAME}}
    term = {"labelSelector": others, "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def _lost(state: str) -> dict[str, Any]:
    """How long a pod stays with a node in a state, before another one takes its place."""
    key = f"node.kubernetes.io/{state}"
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": LOST_SECONDS}


def values(config: config.Platform, images: Images, s3: S3, scripts: Any) -> dict[str, Any]:
    """The chart's values; `scripts` is the name of the ConfigMap with them."""
    small, count = config.profile == "small", config.mlflow.workers
    return {
        "fullnameOverride": NAME,
        "image": {"repository": versions.MLFLOW.name, "tag": images.tag(versions.MLFLOW)},
        "replicaCount": servers(config),
        "affinity": _apart(),
        "tolerations": [_lost(state) for state in ("not-ready", "unreachable")],
        # Another server beside the old one while it starts, where there is memory for both.
        **({"deploymentStrategy": {"type": "Recreate"}} if small else {}),
        "server": {
            "value_options": {
                "host": "0.0.0.0",  # noqa: S104  in a pod; who reaches it is the network policy's
                "port": PORT,
                "workers": count,
                "app_name": "basic-auth",
                "allowed_hosts": ",".join(hosts(config)),
                "cors_allowed_origins": f"https://{config.host(NAME)}",
                "expose_prometheus": METRICS_FOLDER,
                "uvicorn_opts": f"--timeout-worker-healthcheck {STUCK_SECONDS}",
            }
        },
        "mlflow": {
            "backendStoreUriFrom": {"secretKeyRef": {"name": DATABASE, "key": "uri"}},
            "artifactsDestination": f"s3://{s3.buckets[NAME]}",
        },
        "env": environment(s3),
        "envFrom": [{"secretRef": {"name": SERVER}}],
        "extraVolumes": [
            {"name": "work", "emptyDir": {"sizeLimit": UPLOADS}},
            {"name": "settings", "secret": {"secretName": USERS, "defaultMode": 0o440}},
            {"name": "scripts", "configMap": {"name": scripts}},
        ],
        "extraVolumeMounts": [
            {"name": "work", "mountPath": WORK},
            {"name": "settings", "mountPath": SETTINGS, "readOnly": True},
        ],
        "extraContainers": [_metrics(images.reference(versions.MLFLOW))],
        # A new generation of passwords is read when a process starts.
        "podAnnotations": {"leasehold/generation": str(config.rotation)},
        "podSecurityContext": user(),
        "securityContext": hardened(),
        "resources": {
            # The command that started the workers stays, with as much memory as one of them.
            "requests": {"cpu": "100m", "memory": f"{PROCESS_MB * (count + 1)}Mi"},
            "limits": {"memory": f"{2 * PROCESS_MB * (count + 1)}Mi"},
        },
    }


def prepare(image: str, scripts: Any) -> dict[str, Any]:
    """The Job that prepares both databases."""
    return {
        "backoffLimit": 3,
        "activeDeadlineSeconds": 900,
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": "mlflow-prepare"}},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "securityContext": user(),
                "containers": [
                    {
                        "name": "prepare",
                        "image": image,
                        "command": ["python3", f"{SCRIPTS}/prepare.py"],
                        "env": [
                            {"name": "MLFLOW_AUTH_CONFIG_PATH", "value": f"{SETTINGS}/{SETTINGS_FILE}"},
                            _secret("MLFLOW_BACKEND_STORE_URI", DATABASE, "uri"),
                            {"name": "MLFLOW_DISABLE_TELEMETRY", "value": "true"},
                            {"name": "GIT_PYTHON_REFRESH", "value": "quiet"},
                            {"name": "HOME", "value": WORK},
                            {"name": "TMPDIR", "value": WORK},
                        ],
                        "resources": {
                            "requests": {"cpu": "100m", "memory": f"{PROCESS_MB}Mi"},
                            "limits": {"memory": f"{3 * PROCESS_MB}Mi"},
                        },
                        "securityContext": hardened(),
                        "volumeMounts": [
                            {"name": "work", "mountPath": WORK},
                            {"name": "settings", "mountPath": SETTINGS, "readOnly": True},
                            {"name": "accounts", "mountPath": "/run/accounts", "readOnly": True},
                            {"name": "scripts", "mountPath": SCRIPTS, "readOnly": True},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "work", "emptyDir": {}},
                    {"name": "settings", "secret": {"secretName": USERS, "defaultMode": 0o440}},
                    {"name": "accounts", "secret": {"secretName": ACCOUNTS, "defaultMode": 0o440}},
                    {"name": "scripts", "configMap": {"name": scripts}},
                ],
            },
        },
    }
