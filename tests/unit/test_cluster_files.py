"""The files of a k3s node, and the script that carries them."""

import json
import subprocess
from typing import Any

import pytest
import yaml

from cluster import files, node
from config import Download, K3sCluster

FIRST = "192.168.1.11"


def k3s(**changes: Any) -> node.K3sNode:
    """A first server, with changes."""
    config = K3sCluster.model_validate({"kind": "k3s", **changes.pop("config", {})})
    binary, images, install = (Download(f"k3s/{n}", f"http://m/{n}", "0" * 64) for n in ("k3s", "images", "install.sh"))
    known: dict[str, Any] = {"name": "node1", "role": "server", "first": True, "address": FIRST, "servers": (FIRST,)}
    return node.K3sNode(**{**known, "downloads": (binary, images, install), "config": config, **changes})


def test_a_server_holds_secrets_by_file_only() -> None:
    """config.yaml is in the script, and so in the state."""
    config = files.k3s_config(k3s())
    assert config["token-file"] == files.TOKEN
    assert config["agent-token-file"] == files.AGENT_TOKEN
    assert not {"token", "agent-token", "etcd-s3-access-key", "etcd-s3-secret-key"} & set(config)


def test_an_agent_has_no_setting_of_a_server() -> None:
    """k3s stops at flags that an agent does not know."""
    config = files.k3s_config(k3s(role="agent", first=False))
    assert set(config) == {"token-file", "node-name", "node-ip", "protect-kernel-defaults", "kubelet-arg"}


def test_a_gpu_node_takes_only_pods_that_want_a_gpu() -> None:
    """A GPU that is blocked by a web server is the dearest web server there is."""
    config = files.k3s_config(k3s(gpu=True, labels={"disk": "fast"}))
    assert config["node-label"] == ["disk=fast", "nvidia.com/gpu.present=true"]
    assert config["node-taint"] == ["nvidia.com/gpu=present:NoSchedule"]


@pytest.mark.parametrize(("scheme", "insecure"), [("http", True), ("https", None)])
def test_the_bucket_of_snapshots_is_given_as_host_and_port(scheme: str, insecure: bool | None) -> None:
    """k3s takes no URL there."""
    store = {"endpoint": f"{scheme}://s3.example.org:7480", "bucket": "snapshots"}
    config = files.k3s_config(k3s(config={"snapshots": {"s3": store}}))
    assert config["etcd-s3-endpoint"] == "s3.example.org:7480"
    assert config.get("etcd-s3-insecure") is insecure


def test_the_dns_address_is_in_the_service_network() -> None:
    """k3s's default is in its own default network."""
    config = files.k3s_config(k3s(config={"service_cidr": "10.99.0.0/16"}))
    assert config["cluster-dns"] == "10.99.0.10"


def test_the_audit_log_holds_no_bodies() -> None:
    """A body of a Secret in the log would be readable by whoever reads logs."""
    policy = yaml.safe_load(files.audit_policy())
    assert {rule["level"] for rule in policy["rules"]} == {"None", "Metadata"}
    assert policy["rules"][-1] == {"level": "Metadata"}


def test_pods_are_held_to_baseline_except_those_of_k3s() -> None:
    """A namespace that needs more says so by its own labels."""
    plugins = {p["name"]: p["configuration"] for p in yaml.safe_load(files.pod_security())["plugins"]}
    assert plugins["PodSecurity"]["defaults"]["enforce"] == "baseline"
    assert plugins["PodSecurity"]["exemptions"]["namespaces"] == ["kube-system"]


def test_mirrors_keep_their_order() -> None:
    """The first that has the image serves it."""
    text = files.registries({"docker.io": ("http://b", "http://a")})
    assert yaml.safe_load(text) == {"mirrors": {"docker.io": {"endpoint": ["http://b", "http://a"]}}}


@pytest.mark.parametrize("role", ["server", "agent"])
def test_the_script_is_valid_bash_and_fits_into_one_argument(role: Any) -> None:
    """With every optional part in it."""
    text = node.script(k3s(role=role, gpu=True, restore="latest", config={"mirrors": {"docker.io": ["http://a"]}}))
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_secrets_are_what_there_is() -> None:
    """An agent gets no server token."""
    assert json.loads(node.secrets(token="", agent_token="a")) == {"agent_token": "a"}


def test_a_server_s_result_is_read_from_its_last_line() -> None:
    """Bash may print a warning of the locale first."""
    told = {"kubeconfig": "k", "token": "t", "agent_token": "a"}
    assert node.parse(f"warning\n{json.dumps(told)}\n") == node.NodeResult("k", "t", "a")


@pytest.mark.parametrize("text", ["", "canary", '{"token": "canary"}', '["canary"]'])
def test_an_unreadable_result_is_refused_without_being_shown(text: str) -> None:
    """It may be half of a secret."""
    with pytest.raises(ValueError, match="no kubeconfig") as caught:
        node.parse(text)
    assert "canary" not in str(caught.value)
