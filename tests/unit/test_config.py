"""The environment: what is refused, with which words, and what is accepted."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import config
from tests.environments import DELETE, changed, complete, dev, existing, hosts, two_sites
from tests.unit.graph import RULES

CASES = yaml.safe_load((Path(__file__).parent.parent / "invalid_environments.yaml").read_text())


def problems(tree: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in sorted(set(config.validate(tree, RULES)[1]))]


def test_the_shipped_environment_wants_nothing_but_the_digests_that_are_not_pinned() -> None:
    """A first-time user starts from it; a rehearsal, like a mirror's owner, brings the digests."""
    assert {line.split(" = ")[0] for line in problems(dev())} == {"artifacts.digests"}
    environment, found = config.validate(complete(dev()), RULES)
    assert found == []
    assert environment is not None


@pytest.mark.parametrize("path", ["k3s/", "tailscale/"])
def test_what_every_cluster_downloads_is_pinned(path: str) -> None:
    """A user gives digests only where none was published in reach."""
    tree = changed(dev(), {"cluster.vpn": {"tag": "tag:x"}, "infra.nodes.gpu1.gpu": False})
    assert not [line for line in problems(tree) if path in line]


def test_a_cluster_that_exists_needs_no_machines() -> None:
    """A kubeconfig is enough."""
    assert problems(existing()) == []


def test_machines_need_no_cluster() -> None:
    """What runs on them is then somebody else's matter."""
    assert problems({"infra": dev()["infra"]}) == []


def test_an_environment_of_existing_machines_is_accepted() -> None:
    """A homelab has no OpenStack."""
    assert problems(hosts()) == []


def test_an_environment_with_two_sites_is_accepted() -> None:
    """Seed 000 spreads over KVM@TACC and CHI@UC."""
    assert problems(complete(two_sites())) == []


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: str({**case.get("set", {}), **{"-": case.get("delete", [])}})[:80]
)
def test_an_invalid_environment_gives_exactly_the_expected_lines(case: dict[str, Any]) -> None:
    """At least 60 mistakes, each answered by key, value, rule and remedy."""
    base = {"dev": lambda: complete(dev()), "hosts": hosts, "existing": existing}[case["base"]]()
    changes = {**case.get("set", {}), **dict.fromkeys(case.get("delete", []), DELETE)}
    assert problems(changed(base, changes)) == case["lines"]


def test_there_are_at_least_sixty_invalid_environments() -> None:
    """The table is the promise."""
    assert len(CASES) >= 60


def test_every_mistake_of_a_file_is_reported_at_once() -> None:
    """One run, one list: nobody should have to correct a file mistake by mistake."""
    lines = problems(
        changed(
            complete(dev()),
            {
                "infra.nodes.node2.adress": "192.168.1.12",
                "infra.nodes.node2.address": DELETE,
                "infra.nodes.node3.volumes": ["nope"],
                "infra.sites.kvm.private_cidr": "192.168.1.5/24",
                "infra.leases.gpu.hours": 500,
                "infra.access.admin_cidrs": [],
                "infra.nodes.node1.role": "agent",
            },
        )
    )
    keys = [line.split(" = ")[0] for line in lines]
    assert keys == [
        "infra.access.admin_cidrs",
        "infra.leases.gpu.hours",
        "infra.nodes",
        "infra.nodes.node2.address",
        "infra.nodes.node2.adress",
        "infra.nodes.node3.volumes",
        "infra.sites.kvm.private_cidr",
    ]


def test_a_refusal_never_shows_key_material() -> None:
    """A private key pasted into the wrong field must not reach a CI log."""
    lines = problems(changed(dev(), {"infra.access.authorized_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----\ncanary"]}))
    assert "canary" not in " ".join(lines)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
paths = st.sampled_from(
    sorted(
        {
            *(f"infra.{key}" for key in ("kind", "sites", "leases", "nodes", "volumes", "access")),
            *(f"infra.nodes.node1.{key}" for key in config.Node.model_fields),
            *(f"infra.leases.gpu.{key}" for key in config.Lease.model_fields),
            *(f"infra.sites.kvm.{key}" for key in config.Site.model_fields),
            *(f"infra.access.{key}" for key in config.Access.model_fields),
            *(f"cluster.{key}" for key in config.K3sCluster.model_fields),
            *(f"cluster.snapshots.{key}" for key in config.Snapshots.model_fields),
            *(f"artifacts.{key}" for key in config.Artifacts.model_fields),
            *(f"platform.{key}" for key in config.Platform.model_fields),
            *(f"platform.backups.{key}" for key in config.Backups.model_fields),
            *(f"platform.ingress.{key}" for key in config.Ingress.model_fields),
            *(f"platform.object_store.{key}" for key in config.Minio.model_fields),
            "infra",
            "cluster",
            "platform",
            "restore",
        }
    )
)


# Hypothesis takes the time that a loaded computer needs for that of its strategies, which are quick.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(paths, junk, max_size=2))
def test_any_junk_gives_lines_and_never_a_traceback(changes: dict[str, Any]) -> None:
    """Errors are part of the product."""
    try:
        tree = changed(complete(dev()), changes)
    except (AttributeError, KeyError, TypeError, ValueError):  # two paths of which one lies below the other
        return
    for line in problems(tree):
        assert re.match(r"^(infra|cluster|platform|artifacts|restore)\S* ?", line)
        assert "\n" not in line


@pytest.mark.parametrize(
    ("key", "value"),
    [("hours", 69890639), ("hours", 10**18), ("start", "9999-12-31 23:00"), ("end", "9999-12-31 23:00")],
)
def test_a_lease_beyond_the_calendar_is_refused(key: str, value: int | str) -> None:
    """Its end could not be computed."""
    lines = problems(changed(complete(dev()), {f"infra.leases.gpu.{key}": value}))
    assert [line for line in lines if line.startswith(f"infra.leases.gpu.{key} = {value}")]


def test_every_field_says_what_it_is() -> None:
    """The reference page and the remedies are made from the descriptions."""
    models = [model for model in vars(config).values() if isinstance(model, type) and issubclass(model, config.Model)]
    bare = [f"{m.__name__}.{n}" for m in models for n, f in m.model_fields.items() if not f.description]
    assert [name for name in bare if not name.endswith((".kind", "Infra.access"))] == []
