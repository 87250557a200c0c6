"""What is rendered for k3s, held against the CIS benchmark: tests/data/k3s-cis.yaml has the checks and the waivers."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import pytest
import yaml

from cluster import files, node
from config import Download, K3sCluster
from tests.environments import PROJECT

DATA = yaml.safe_load((PROJECT / "tests" / "data" / "k3s-cis.yaml").read_text())
CHECKS: list[dict[str, Any]] = DATA["checks"]
COMPONENTS = {
    "apiserver": "kube-apiserver-arg",
    "controller-manager": "kube-controller-manager-arg",
    "scheduler": "kube-scheduler-arg",
    "kubelet": "kubelet-arg",
    "proxy": "kube-proxy-arg",
}
LEVELS = ("privileged", "baseline", "restricted")
WAYS = ("arg", "admission", "audit", "machine", "waived")


def rendered(role: Literal["server", "agent"] = "server") -> dict[str, Any]:
    """The configuration of a node."""
    download = Download("k3s/x", "https://example.org/x", "0" * 64)
    made = node.K3sNode(
        name="node1",
        role=role,
        first=True,
        address="192.168.1.11",
        servers=("192.168.1.11",),
        downloads=(download, download, download),
        config=K3sCluster(kind="k3s"),
    )
    return files.k3s_config(made)


def arguments(config: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Flags of each component: k3s's defaults, and what is rendered over them, as k3s does it."""
    found = {component: dict(flags) for component, flags in DATA["defaults"].items()}
    if config.get("secrets-encryption") is True:
        found["apiserver"] |= DATA["secrets-encryption"]["apiserver"]
    for component, key in COMPONENTS.items():
        found[component] |= dict(argument.split("=", 1) for argument in config.get(key, []))
    return found


def holds(check: dict[str, Any], value: str | None) -> bool:
    """Whether a flag's value is what a check expects."""
    words = (value or "").split(",")
    tests: dict[str, Callable[[Any], bool]] = {
        "equals": lambda wanted: value == wanted,
        "not_equal": lambda wanted: value is not None and value != wanted,
        "unless_set": lambda wanted: value is None or value == wanted,
        "set": lambda _: bool(value),
        "unset": lambda _: value is None,
        "has": lambda wanted: wanted in words,
        "lacks": lambda wanted: wanted not in words,
        "within": lambda wanted: value is not None and set(words) <= set(wanted),
        "at_least": lambda wanted: value is not None and int(value) >= wanted,
    }
    (operator,) = set(check) & set(tests)
    return tests[operator](check[operator])


def failing(check: dict[str, Any], flags: dict[str, dict[str, str]]) -> list[str]:
    """Flags that do not hold what a check expects."""
    found = []
    for place in [check["arg"], *check.get("also", [])]:
        component, flag = place.split()
        if not holds(check, flags[component].get(flag)):
            found.append(f"{check['id']} {check['title']}: {place} is {flags[component].get(flag)}")
    return found


def audited(rules: list[dict[str, Any]], request: dict[str, str]) -> str:
    """The level at which a policy records a request: that of the first rule which matches."""
    for rule in rules:
        named = [r for r in rule.get("resources", []) if r.get("group", "") == request["group"]]
        of_kind = not rule.get("resources") or any(request["resource"] in r["resources"] for r in named)
        by = not rule.get("userGroups") or request.get("as") in rule["userGroups"]
        doing = not rule.get("verbs") or request["verb"] in rule["verbs"]
        if of_kind and by and doing and not rule.get("nonResourceURLs"):
            return str(rule["level"])
    return "None"


def test_every_check_of_the_benchmark_is_here_once() -> None:
    """130 checks; one that is left out would be a failure that nobody sees."""
    ids = [str(check["id"]) for check in CHECKS]
    assert len(ids) == len(set(ids)) == 130
    groups = Counter(id_.rpartition(".")[0] for id_ in ids)
    assert groups == {str(group): count for group, count in DATA["counts"].items()}


def test_every_check_is_met_in_some_way_or_waived_with_a_reason() -> None:
    """No unexplained warning."""
    for check in CHECKS:
        assert any(way in check for way in WAYS), check
        if "waived" in check:
            assert len(DATA["reasons"].get(check["waived"], check["waived"])) > 40, check
        if "machine" in check:
            assert check["where"] in ("server", "agent", "any"), check
            assert check["expected"] == "", check


def test_no_flag_fails_without_a_written_reason() -> None:
    """Rendered over k3s's own defaults, as k3s itself joins them."""
    flags = arguments(rendered())
    judged = [check for check in CHECKS if "arg" in check]
    assert [line for check in judged if "waived" not in check for line in failing(check, flags)] == []


def test_agents_pass_the_kubelet_s_checks_too() -> None:
    """Their configuration is a shorter one."""
    flags = arguments(rendered("agent"))
    judged = [c for c in CHECKS if c.get("arg", "").startswith(("kubelet", "proxy")) and "waived" not in c]
    assert [line for check in judged for line in failing(check, flags)] == []


def test_no_waiver_is_kept_for_what_holds() -> None:
    """A waiver that is not needed hides the next failure."""
    flags = arguments(rendered())
    waived = [check for check in CHECKS if "waived" in check]
    assert [check["id"] for check in waived if "arg" in check and not failing(check, flags)] == []
    assert [
        check["id"] for check in waived if "admission" in check and enforced() >= LEVELS.index(check["admission"])
    ] == []


def enforced() -> int:
    """What Pod Security enforces where a namespace says nothing."""
    plugins = {plugin["name"]: plugin for plugin in yaml.safe_load(files.pod_security())["plugins"]}
    return LEVELS.index(plugins["PodSecurity"]["configuration"]["defaults"]["enforce"])


def test_pods_are_admitted_at_the_level_that_the_benchmark_asks_for() -> None:
    """The configuration has to be in use, too: the flag names the file that is written."""
    judged = [check for check in CHECKS if "admission" in check and "waived" not in check]
    assert [check["id"] for check in judged if enforced() < LEVELS.index(check["admission"])] == []
    assert arguments(rendered())["apiserver"]["admission-control-config-file"] == files.ADMISSION


def test_the_audit_policy_records_what_matters_and_no_secret() -> None:
    """Metadata: who did what; a body could hold the secret itself."""
    rules = yaml.safe_load(files.audit_policy())["rules"]
    (check,) = [check for check in CHECKS if "audit" in check]
    assert {str(request): audited(rules, request) for request in check["audit"]} == {
        str(request): "Metadata" for request in check["audit"]
    }
    assert arguments(rendered())["apiserver"]["audit-policy-file"] == files.AUDIT_POLICY


def test_network_policies_are_not_switched_off() -> None:
    """The reason of a waiver (5.3.1) rests on it."""
    config = rendered()
    assert "disable-network-policy" not in config
    assert "network-policy" not in config.get("disable", [])


@pytest.mark.parametrize("flag", ["anonymous-auth=true", "profiling=true", "enable-admission-plugins=EventRateLimit"])
def test_a_weaker_setting_would_be_seen(flag: str) -> None:
    """The judge is judged: each of these fails one check at least."""
    config = rendered()
    config["kube-apiserver-arg"] = [*config["kube-apiserver-arg"], flag]
    flags = arguments(config)
    assert any(failing(check, flags) for check in CHECKS if "arg" in check and "waived" not in check)
