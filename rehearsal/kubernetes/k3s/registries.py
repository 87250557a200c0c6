"""registries.yaml: mirrors and credentials, as files that containerd reads."""

import json
import re
from collections.abc import Mapping
from typing import Any

from .log import Fatal

DOCKER = "registry-1.docker.io"


def _tls(settings: Mapping[str, Any]) -> list[str]:
    tls, lines = settings.get("tls") or {}, []
    if tls.get("ca_file"):
        lines.append(f"ca = [{json.dumps(tls['ca_file'])}]")
    if tls.get("cert_file") or tls.get("key_file"):
        lines.append(f"client = [[{json.dumps(tls.get('cert_file', ''))}, {json.dumps(tls.get('key_file', ''))}]]")
    if tls.get("insecure_skip_verify"):
        lines.append("skip_verify = true")
    return lines


def _endpoint(url: str, settings: Mapping[str, Any]) -> str:
    lines = ['capabilities = ["pull", "resolve"]']
    if re.search(r"://[^/]+/.", url):
        lines.append("override_path = true")
    return "\n  ".join([f"[host.{json.dumps(url)}]", *lines, *_tls(settings)]) + "\n"


def _upstream(host: str, settings: Mapping[str, Any]) -> str:
    """The registry itself, asked after all of its mirrors."""
    return "\n".join([f'server = "https://{host}"', *_tls(settings)]) + "\n\n"


def hosts(registries: Mapping[str, Any]) -> dict[str, str]:
    """hosts.toml by folder name, from registries.yaml's content.

    Raises Fatal at a rewrite, which k3s's own containerd has and upstream's has not.
    """
    mirrors, configs = registries.get("mirrors") or {}, registries.get("configs") or {}
    files = {}
    for name in dict.fromkeys([*mirrors, *configs]):
        mirror = mirrors.get(name) or {}
        if mirror.get("rewrite"):
            raise Fatal(f"registries.yaml: rewrite of {name}: the stand-in for k3s cannot do this")
        own = DOCKER if name == "docker.io" else name
        urls = mirror.get("endpoint") or ([] if name == "*" else [f"https://{own}"])
        text = "" if name == "*" else _upstream(own, configs.get(own) or {})
        for url in urls:
            host = re.sub(r"^https?://|/.*$", "", url)
            text += _endpoint(url, configs.get(host) or {})
        files["_default" if name == "*" else name] = text
    return files


def credentials(registries: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Credentials by registry host."""
    found = {}
    for name, settings in (registries.get("configs") or {}).items():
        if (settings or {}).get("auth"):
            found[str(name)] = {str(key): str(value) for key, value in settings["auth"].items()}
    return found
