"""Kubeconfigs as text: whose certificate, and over which address. Pure."""

import json
from typing import Any

from config import yaml_text

TUNNEL = "socks5://127.0.0.1:6480"
"""Where a kubeconfig expects `ssh -D` when the API is reached through the bastion only."""


class NotAKubeconfig(ValueError):  # noqa: N818  a state of a text
    """The text cannot be used; it is not shown, since it may hold keys."""


def render(admin: str, *, name: str, server: str, proxy: str | None = None) -> str:
    """Rewrite k3s's own kubeconfig, made for the server itself, for people elsewhere.

    `name` becomes that of its cluster, user and context, so that several can be merged; `server` is a URL.
    """
    given = current(admin)
    cluster = {**given["cluster"], "server": server, **({"proxy-url": proxy} if proxy else {})}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": given["user"]}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        },
        indent=2,
    )


def endpoint(kubeconfig: str) -> str:
    """URL of the API server that a kubeconfig talks to."""
    return str(current(kubeconfig)["cluster"]["server"])


def check(kubeconfig: str) -> str | None:
    """Say what is wrong with a kubeconfig that somebody gave; None if nothing is."""
    try:
        found = current(kubeconfig)
    except NotAKubeconfig as error:
        return str(error)
    if not str(found["cluster"].get("server", "")).startswith("https://"):
        return "its cluster has no server with an https URL"
    files = [key for part in (found["cluster"], found["user"]) for key in part if key in FILES]
    if files:
        return f"it names files ({', '.join(files)}); write one with `kubectl config view --flatten --minify --raw`"
    return None


FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
"""Keys whose values are paths on the computer where the kubeconfig was written."""


def _load(text: str) -> Any:
    try:
        return yaml_text.load(text)
    except yaml_text.NotYaml:
        raise NotAKubeconfig("it is not YAML") from None


def current(text: str) -> dict[str, Any]:
    """The cluster and the user of the current context. Raises NotAKubeconfig."""
    config = _load(text)
    try:
        contexts = {entry["name"]: entry["context"] for entry in config["contexts"]}
        context = contexts[config["current-context"]]
        clusters = {entry["name"]: entry["cluster"] for entry in config["clusters"]}
        users = {entry["name"]: entry["user"] for entry in config["users"]}
        return {"cluster": dict(clusters[context["cluster"]]), "user": dict(users[context["user"]])}
    except (KeyError, TypeError, ValueError):
        raise NotAKubeconfig("it has no current context with a cluster and a user") from None
