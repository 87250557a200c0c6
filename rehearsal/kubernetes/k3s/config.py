"""Configuration: files, their drop-ins, environment and flags, merged as k3s does."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from . import log, options
from .files import CommandError, run
from .log import Fatal
from .paths import ETC, Paths

ENVIRONMENT = {
    "K3S_TOKEN": "token",
    "K3S_TOKEN_FILE": "token-file",
    "K3S_URL": "server",
    "K3S_NODE_NAME": "node-name",
    "K3S_KUBECONFIG_MODE": "write-kubeconfig-mode",
    "K3S_AGENT_TOKEN": "agent-token",
    "K3S_AGENT_TOKEN_FILE": "agent-token-file",
    "K3S_DATA_DIR": "data-dir",
}
DEFAULTS = {
    "cluster-cidr": "10.42.0.0/16",
    "service-cidr": "10.43.0.0/16",
    "cluster-domain": "cluster.local",
    "flannel-backend": "vxlan",
    "etcd-snapshot-schedule-cron": "0 */12 * * *",
    "etcd-snapshot-retention": "5",
    "write-kubeconfig-mode": "0600",
}


@dataclass
class Config:
    """Merged settings, by k3s's key."""

    values: dict[str, Any] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """A value as text, "" where there is none."""
        value = self.values.get(key)
        return "" if value is None else str(value)

    def flag(self, key: str) -> bool:
        """A switch; off by default."""
        return bool(self.values.get(key))

    def items(self, key: str) -> list[str]:
        """A list; empty by default."""
        return list(self.values.get(key) or [])

    @property
    def paths(self) -> Paths:
        """Files below data-dir."""
        return Paths(Path(self.text("data-dir"))) if self.text("data-dir") else Paths()

    @property
    def node(self) -> str:
        """The Node's name."""
        return self.text("node-name")

    @property
    def ip(self) -> str:
        """The node's own address in the cluster."""
        return self.items("node-ip")[0]


def _items(key: str, value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return str(value).split(",") if key in options.SPLIT else [str(value)]


def _switch(key: str, value: Any) -> bool:
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise Fatal(f'invalid boolean value "{value}" for -{key}: give true or false')


def merge_file(values: dict[str, Any], text: str, name: str) -> None:
    """Add a configuration file's keys: the later value holds, except that `key+` appends to a list.

    Raises Fatal at a key that k3s does not have.
    """
    try:
        loaded = yaml.safe_load(text) or {}
    except (yaml.YAMLError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # PyYAML raises anything at a value that is not what its form or tag says.
        raise Fatal(f"{name}: is not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(loaded, dict):
        raise Fatal(f"{name}: a mapping of k3s's keys is expected")
    for given, value in loaded.items():
        key = str(given).removesuffix("+")
        if not options.known(key):
            raise Fatal(f"{name}: unknown key {key}: k3s has no flag --{key}")
        if key in options.LISTS:
            items = _items(key, value)
            values[key] = [*values.get(key, []), *items] if str(given).endswith("+") else items
        else:
            values[key] = _switch(key, value) if key in options.BOOLS else value


def parse_flags(argv: Sequence[str]) -> dict[str, Any]:
    """Flags of a command line; a list's flag may be repeated.

    Raises Fatal at a flag that k3s does not have, or one without its value.
    """
    values: dict[str, Any] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, given, value = word.lstrip("-").partition("=")
        key = options.SHORT.get(name, name)
        if not word.startswith("-") or not options.known(key):
            raise Fatal(f"flag provided but not defined: {word.partition('=')[0]}")
        if key in options.BOOLS:
            values[key] = _switch(key, value) if given else True
            continue
        if not given:
            if not rest:
                raise Fatal(f"flag needs an argument: --{key}")
            value = rest.pop(0)
        values[key] = [*values.get(key, []), *_items(key, value)] if key in options.LISTS else value
    return values


def merge(
    files: Sequence[tuple[str, str]], environment: Mapping[str, str], argv: Sequence[str], role: str
) -> dict[str, Any]:
    """Settings from (name, text) of files, then the environment where they say nothing, then flags over both."""
    values: dict[str, Any] = {}
    for name, text in files:
        merge_file(values, text, name)
    for variable, key in ENVIRONMENT.items():
        if environment.get(variable):
            values.setdefault(key, environment[variable])
    values |= parse_flags(argv)
    if role == "agent":
        for key in [key for key in values if key not in options.NODE_KEYS]:
            log.warning(f"Unknown flag --{key} found in config.yaml, skipping")
            del values[key]
    options.refuse(values)
    if role == "server":
        values = {**DEFAULTS, **values}
        values.setdefault("cluster-dns", str(values["service-cidr"]).rpartition(".")[0] + ".10")
    return values


def _read_token(values: dict[str, Any], key: str) -> None:
    if values.get(f"{key}-file") and not values.get(key):
        path = Path(str(values[f"{key}-file"]))
        try:
            values[key] = path.read_text().strip()
        except OSError as failure:
            raise Fatal(f"{key}-file {path}: {failure.strerror}") from None
        if not values[key]:
            raise Fatal(f"{key}-file {path} is empty")


def address(interface: str = "") -> str:
    """This machine's IPv4 address: on `interface`, else towards the default route, else of its host name.

    Raises Fatal if there is none.
    """
    if interface:
        try:
            shown = yaml.safe_load(run(["ip", "-j", "-4", "address", "show", "dev", interface]))
            return str(shown[0]["addr_info"][0]["local"])
        except (CommandError, IndexError, KeyError, TypeError):
            raise Fatal(f"flannel-iface {interface}: no such interface with an IPv4 address") from None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            pass
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        raise Fatal("this machine's address is unknown: set node-ip") from None


def load(role: str, argv: Sequence[str], folder: Path = ETC) -> Config:
    """The configuration of `k3s server` or `k3s agent` with its tokens read and its node's name and address known.

    Raises Fatal at anything that k3s, or this stand-in, does not take.
    """
    main = Path(str(parse_flags(argv).get("config") or folder / "config.yaml"))
    found = [main, *sorted(Path(f"{main}.d").glob("*.yaml"))]
    files = [(str(path), path.read_text()) for path in found if path.is_file()]
    values = merge(files, os.environ, argv, role)
    _read_token(values, "token")
    _read_token(values, "agent-token")
    values["node-name"] = str(values.get("node-name") or socket.gethostname()).lower()
    values.setdefault("node-ip", [address(str(values.get("flannel-iface") or ""))])
    return Config(values)
