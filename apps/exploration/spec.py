"""The page's pod. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from apps import extras, pages, ports
from mlops.pods import hardened, mount

NAME = SPACE = extras.EXPLORATION
PROGRAM = "/srv/page"
FOLDER = f"{PROGRAM}/apps/exploration/scripts"
USER = (65534, 65534)
HEALTH = "/_stcore/health"


def files() -> dict[str, str]:
    """What is mounted."""
    folder = resources.files("apps.exploration") / "scripts"
    return {name: (folder / name).read_text() for name in ("page.py", "tracking.py")}


def environment(model: str, host: str) -> dict[str, str]:
    """Variables of the server. It shows nobody its errors, asks nobody's name, and tells its makers nothing."""
    return {
        "MODEL_NAME": model,
        "PYTHONPATH": PROGRAM,
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": pages.HOME,
        "STREAMLIT_SERVER_ADDRESS": "0.0.0.0",  # noqa: S104  in a pod; who reaches it is the network policy's
        "STREAMLIT_SERVER_PORT": str(ports.EXPLORATION),
        "STREAMLIT_SERVER_HEADLESS": "true",
        "STREAMLIT_SERVER_FILE_WATCHER_TYPE": "none",
        # Pages of other sites may not talk to it in a browser that has passed the guard.
        "STREAMLIT_BROWSER_SERVER_ADDRESS": host,
        "STREAMLIT_BROWSER_SERVER_PORT": "443",
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
        "STREAMLIT_CLIENT_SHOW_ERROR_DETAILS": "none",
        "STREAMLIT_CLIENT_TOOLBAR_MODE": "viewer",
    }


@dataclass(frozen=True)
class Wanted:
    """What the pod has of others."""

    image: str
    program: Any
    """ConfigMap of the page."""
    login: Any
    """Secret with MLflow's address and a user who may read."""
    pull: Any
    """Secret by which the stack's own registry is asked for the image."""
    variables: Mapping[str, str]
    memory: str
    generation: str


def server(wanted: Wanted) -> dict[str, Any]:
    """The spec of the Deployment."""
    container = {
        "name": NAME,
        "image": wanted.image,
        "command": ["streamlit", "run", f"{FOLDER}/page.py"],
        "env": [{"name": name, "value": value} for name, value in wanted.variables.items()],
        "envFrom": [{"secretRef": {"name": wanted.login}}],
        "ports": [{"name": "http", "containerPort": ports.EXPLORATION, "protocol": "TCP"}],
        **pages.probes(HEALTH, "http"),
        "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"memory": wanted.memory}},
        "securityContext": hardened(),
        "volumeMounts": [mount("program", FOLDER), mount("tmp", pages.HOME, writable=True)],
    }
    volumes = [
        {"name": "program", "configMap": {"name": wanted.program}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
    ]
    secrets = [{"name": wanted.pull}]
    pod = pages.template(NAME, [container], volumes, USER, wanted.generation, imagePullSecrets=secrets)
    return pages.one(NAME, pod)
