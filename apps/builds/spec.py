"""The builder's settings and pod, and the command of a build. Pure functions."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from apps.inventory import BUILDS as SPACE
from apps.ports import BUILDS as PORT
from mlops.pods import mount

NAME = "buildkitd"
HOST = f"{NAME}.{SPACE}.svc"
CLIENT, SERVER = "builds-client-tls", "builds-server-tls"
"""Secrets, each with a key, its certificate, and as ca.crt the other side's. Whoever has the first may build."""
USER = 1000
SOCKET = f"unix:///run/user/{USER}/buildkit/{NAME}.sock"
STATE = "/home/user/.local/share/buildkit"
ETC, TLS, AUTHORITY = "/etc/buildkit", "/run/tls", "/run/authority"
WRITABLE = {"runtime": f"/run/user/{USER}", "tmp": "/tmp"}  # noqa: S108  a volume of the pod's own
CLIENT_TLS, LOGIN = "/run/builds", "/run/login"
"""Where a step has its certificate and, as config.json, the registry's login."""
REGISTRY = "registry.registry.svc"
"""The platform's registry, as pods reach it. What is pushed there has the same digest under its public name."""
SOURCE, OUT = "/src", "/out"
METADATA = f"{OUT}/metadata.json"
CACHE_TAG = "buildcache"

REPOSITORY_IS_WRONG = "failed to solve: .*(failed to read dockerfile|dockerfile parse error|: not found$)"
"""What BuildKit says where there is no Dockerfile, or none that is one, or no such image to begin with."""
Tree = dict[str, Any]


def settings(cache_gb: int, upstream: Sequence[str], mirror: str | None) -> str:
    """buildkitd.toml: what is kept, whom the registry must be, and who is asked before upstream registries."""
    sections: list[tuple[str, Tree]] = [
        ("", {"root": STATE}),
        ("grpc.tls", {"cert": f"{TLS}/tls.crt", "key": f"{TLS}/tls.key", "ca": f"{TLS}/ca.crt"}),
        (
            "worker.oci",
            {
                "enabled": True,
                "rootless": True,
                # A process namespace of its own needs a /proc that pods do not get: what a build runs sees the pod's.
                "noProcessSandbox": True,
                "gc": True,
                "reservedSpace": f"{cache_gb * 500}MB",
                "maxUsedSpace": f"{cache_gb * 1000}MB",
            },
        ),
        ("worker.containerd", {"enabled": False}),
        (f'registry."{REGISTRY}"', {"ca": [f"{AUTHORITY}/ca.crt"]}),
    ]
    if mirror:
        url = urlsplit(mirror)
        where = f"{url.netloc}{url.path.rstrip('/')}"
        sections += [(f'registry."{name}"', {"mirrors": [where]}) for name in sorted(set(upstream))]
        if url.scheme == "http":
            sections.append((f'registry."{url.netloc}"', {"http": True}))
    return "\n".join(_section(name, values) for name, values in sections)


def _section(name: str, values: Tree) -> str:
    # Texts, truths and lists of them are written in JSON as in TOML.
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([*([f"[{name}]"] if name else []), *lines, ""])


def build_command(target: str, tag: str, base_image: str, scanner: str) -> list[str]:
    """Words of a build: from the checkout to the registry. What is pushed is named in the metadata file by digest.

    `target` is HOST/NAME; the cache of earlier builds is beside the images, under a tag of its own. `scanner` is the
    image that lists what is in the one that was built. With what is attested, the digest is that of an index.
    """
    cache = f"type=registry,ref={target}:{CACHE_TAG}"
    return [
        *("buildctl", f"--addr=tcp://{HOST}:{PORT}"),
        *(f"--tlscacert={CLIENT_TLS}/ca.crt", f"--tlscert={CLIENT_TLS}/tls.crt", f"--tlskey={CLIENT_TLS}/tls.key"),
        *("build", "--progress=plain", "--frontend=dockerfile.v0", "--opt=filename=Dockerfile"),
        *(f"--local=context={SOURCE}", f"--local=dockerfile={SOURCE}", f"--opt=build-arg:BASE_IMAGE={base_image}"),
        *("--opt=attest:provenance=mode=max", f"--opt=attest:sbom=generator={scanner}"),
        *(f"--import-cache={cache}", f"--export-cache={cache},mode=max"),
        f"--output=type=image,name={target}:{tag},push=true",
        f"--metadata-file={METADATA}",
    ]


def build_lines(words: Sequence[str], work: str) -> tuple[str, ...]:
    """Lines of shell that build and end with 2 where the repository is wrong: trying again does not help.

    What BuildKit says is shown while it says it, and kept in the folder `work`.
    """
    return (
        f"{{ code=0; {shlex.join(words)} || code=$?; echo $code > {work}/code; }} 2>&1 | tee {work}/said",
        f"code=$(cat {work}/code)",
        f'[ "$code" = 0 ] || ! grep -Eq {shlex.quote(REPOSITORY_IS_WRONG)} {work}/said || code=2',
        'exit "$code"',
    )


def client_mounts(login: str) -> list[Tree]:
    """Where a step has its certificate and the registry's login; the volumes have the Secrets' names.

    The file of the login is not the Secret's key, so it is mounted by name.
    """
    return [
        {"name": CLIENT, "mountPath": CLIENT_TLS, "readOnly": True},
        {"name": login, "mountPath": f"{LOGIN}/config.json", "subPath": ".dockerconfigjson", "readOnly": True},
    ]


def labels() -> dict[str, str]:
    """Of the pod."""
    return {"app.kubernetes.io/name": NAME}


def service() -> Tree:
    """The spec of its Service."""
    return {"selector": labels(), "ports": [{"name": NAME, "port": PORT, "targetPort": NAME}]}


@dataclass(frozen=True)
class Daemon:
    """What the pod has of others."""

    image: str
    settings: Any
    """ConfigMap with buildkitd.toml."""
    authority: Any
    """ConfigMap with the certificate of the authority that certifies the registry."""
    secret: Any
    """Secret with the server's certificate."""
    certificates: Any
    """Changes with them: they are read once."""
    cache_gb: int


def _container(image: str) -> Tree:
    # Who asks by TCP needs a certificate; the pod itself asks by the socket.
    asked = {"exec": {"command": ["buildctl", f"--addr={SOCKET}", "debug", "workers"]}, "timeoutSeconds": 10}
    return {
        "name": NAME,
        "image": image,
        "args": [f"--config={ETC}/buildkitd.toml", f"--addr={SOCKET}", f"--addr=tcp://0.0.0.0:{PORT}"],
        "env": [{"name": "TMPDIR", "value": WRITABLE["tmp"]}],
        "ports": [{"name": NAME, "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": {**asked, "periodSeconds": 2, "failureThreshold": 60},
        "readinessProbe": {"tcpSocket": {"port": NAME}, "periodSeconds": 10},
        "livenessProbe": {**asked, "periodSeconds": 30, "failureThreshold": 4},
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
        # Without root, but with two programs that give it the numbers of other users: they need these two rights. It
        # makes namespaces and mounts in them, which the default profiles of calls forbid.
        "securityContext": {
            "runAsNonRoot": True,
            **{"runAsUser": USER, "runAsGroup": USER},
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": True,
            "capabilities": {"drop": ["ALL"], "add": ["SETGID", "SETUID"]},
            "seccompProfile": {"type": "Unconfined"},
            "appArmorProfile": {"type": "Unconfined"},
        },
        "volumeMounts": [
            mount("settings", ETC),
            mount("tls", TLS),
            mount("authority", AUTHORITY),
            mount("state", STATE, writable=True),
            *(mount(name, path, writable=True) for name, path in WRITABLE.items()),
        ],
    }


def daemon(wanted: Daemon) -> Tree:
    """The spec of the Deployment: one pod, since a cache has one owner."""
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": {"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [_container(wanted.image)],
        "volumes": [
            {"name": "settings", "configMap": {"name": wanted.settings}},
            {"name": "tls", "secret": {"secretName": wanted.secret, "defaultMode": 0o440}},
            {"name": "authority", "configMap": {"name": wanted.authority}},
            # A cache may go. A build may take as much again before the collection comes.
            {"name": "state", "emptyDir": {"sizeLimit": f"{2 * wanted.cache_gb}Gi"}},
            *({"name": name, "emptyDir": {"sizeLimit": "1Gi"}} for name in WRITABLE),
        ],
    }
    marked = {"leasehold/certificates": wanted.certificates}
    return {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels()},
        "template": {"metadata": {"labels": labels(), "annotations": marked}, "spec": pod},
    }
