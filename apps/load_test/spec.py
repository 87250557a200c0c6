"""Locust's pod. Pure functions."""

import json
from importlib import resources
from typing import Any

import config
from apps import extras, pages, ports
from apps.environments.spec import APPLICATION
from mlops.pods import hardened, mount

NAME = SPACE = extras.LOAD_TEST
PROGRAM = "/srv/load-test"
USER = (65534, 65534)
HEALTH = "/"


def files(wanted: config.LoadTest) -> dict[str, str]:
    """What is mounted: the program, and what its clients send."""
    program = (resources.files("apps.load_test") / "scripts" / "locustfile.py").read_text()
    return {"locustfile.py": program, "bodies.json": json.dumps(list(wanted.bodies))}


def target(environment: str) -> str:
    """URL of an environment inside the cluster: its pods, without what keeps strangers out."""
    return f"http://{APPLICATION}.{environment}.svc:{ports.SERVICE}"


def server(image: str, mounted: Any, environment: str, memory: str, generation: str) -> dict[str, Any]:
    """The spec of the Deployment. What a test has measured is in the pod's memory: its page offers it as files."""
    container = {
        "name": NAME,
        "image": image,
        "command": [
            *("locust", "--locustfile", f"{PROGRAM}/locustfile.py"),
            *("--host", target(environment), "--web-port", str(ports.LOAD_TEST)),
        ],
        "env": [{"name": "HOME", "value": pages.HOME}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "ports": [{"name": "http", "containerPort": ports.LOAD_TEST, "protocol": "TCP"}],
        **pages.probes(HEALTH, "http"),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": memory}},
        "securityContext": hardened(),
        "volumeMounts": [mount("program", PROGRAM), mount("tmp", pages.HOME, writable=True)],
    }
    volumes = [
        {"name": "program", "configMap": {"name": mounted}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
    ]
    return pages.one(NAME, pages.template(NAME, [container], volumes, USER, generation))
