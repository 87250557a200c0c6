"""Invariants of the graph that the cluster layer registers."""

import json
from typing import Any

import pytest

from tests.environments import DELETE, changed, dev, existing, hosts, two_sites
from tests.unit import graph as recorded
from tests.unit.graph import Graph, Resource, is_secret, unwrapped

COMMAND = "command:remote:Command"
ANCHOR = "random:index/randomId:RandomId"
TOKEN = "random:index/randomPassword:RandomPassword"
AUTOSCALER = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"
PROVIDER = "pulumi:providers:kubernetes"
NODE4 = {"role": "agent", "address": "192.168.1.20", "lease": "platform", "image": "CC-Ubuntu24.04"}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return recorded.record(dev())


def step(graph: Graph, node: str, what: str) -> Resource:
    return graph.one(COMMAND, f"{node}-{what}")


def steps(graph: Graph, *kinds: str) -> dict[str, Resource]:
    return {name: c for name, c in graph.of(COMMAND).items() if name.rpartition("-")[2] in kinds}


def waits_for(graph: Graph, resource: Resource) -> set[str]:
    """Names of the commands that a resource waits for, through others too."""
    seen: set[str] = set()
    todo = [resource]
    while todo:
        for urn in todo.pop().request.dependencies:
            if urn in graph.resources and urn not in seen:
                seen.add(urn)
                todo.append(graph.resources[urn])
    return {graph.resources[urn].name for urn in seen if graph.resources[urn].type == COMMAND}


def different(one: Graph, other: Graph) -> set[str]:
    """Names of resources that are in both graphs, and not the same."""
    found = set()
    for urn, resource in one.resources.items():
        ignored = set(resource.request.ignoreChanges)
        after = other.resources[urn].inputs
        if any(after.get(key) != value for key, value in resource.inputs.items() if key not in ignored):
            found.add(resource.name)
    return found


def test_one_more_agent_is_seven_creates_and_no_command_on_any_other_node(graph: Graph) -> None:
    """Adding one agent to two hundred must not touch the two hundred."""
    larger = recorded.record(changed(dev(), {"infra.nodes.node4": NODE4}))
    new = {larger.resources[urn].name for urn in larger.resources if urn not in graph.resources}
    assert new == {f"node4{end}" for end in ("", "-inner", "-outer", "-ready", "-prepare", "-k3s", "-member")}
    assert different(graph, larger) == set()


def test_the_same_environment_gives_the_same_graph(graph: Graph) -> None:
    """A second `up` changes nothing."""
    again = recorded.record(dev())
    assert set(again.resources) == set(graph.resources)
    assert different(graph, again) == set()


def test_no_agent_waits_for_another_agent() -> None:
    """They join in one wave, as soon as the first server is there."""
    tree = changed(dev(), {"infra.nodes.node4": NODE4})
    graph = recorded.record(tree)
    for agent, other in (("node4", "gpu1"), ("gpu1", "node4")):
        found = waits_for(graph, step(graph, agent, "k3s"))
        assert f"{other}-k3s" not in found
        assert {name for name in found if name.endswith("-k3s")} == {"node1-k3s"}


def test_servers_join_one_after_another(graph: Graph) -> None:
    """etcd takes one learner at a time, and an upgrade must leave a majority."""
    for before, after in (("node1", "node2"), ("node2", "node3")):
        assert f"{before}-k3s" in waits_for(graph, step(graph, after, "k3s"))
        assert f"{after}-k3s" not in waits_for(graph, step(graph, before, "k3s"))


def test_every_command_is_pinned_bounded_and_silent(graph: Graph) -> None:
    """Unpinned keys are accepted, waits hang, and what is logged is in a CI log for ever."""
    found = steps(graph, "prepare", "k3s", "member", "leave")
    assert len(found) == 13
    for name, command in found.items():
        connection = unwrapped(command.inputs["connection"])
        assert connection["hostKey"], name
        assert connection.get("proxy") is None or connection["proxy"]["hostKey"], name
        assert 0 < connection["dialErrorLimit"] < 1000
        assert command.request.customTimeouts.create
        assert command.request.customTimeouts.update
        assert command.inputs["logging"] == "none"
        assert command.inputs["addPreviousOutputInEnv"] is False
        assert command.request.deleteBeforeReplace
        if not name.endswith("-member"):
            assert "stdout" in command.request.additionalSecretOutputs


def test_only_an_agent_whose_lease_ends_alone_leaves_before(graph: Graph) -> None:
    """With the servers' lease the cluster ends; and who has no lease is deleted by nobody."""
    assert set(steps(graph, "leave")) == {"gpu1-leave"}
    assert "gpu1-k3s" in waits_for(graph, step(graph, "gpu1", "leave"))
    unleased = {"infra.nodes.gpu1.lease": "platform", "infra.leases.gpu": DELETE, "infra.nodes.gpu1.gpu": False}
    assert not steps(recorded.record(changed(dev(), unleased)), "leave")


def test_secrets_are_marked_and_are_on_stdin_only(graph: Graph) -> None:
    """A failing command's error text holds its command line, and the state shows what is not marked."""
    for name, command in steps(graph, "k3s").items():
        assert is_secret(command.inputs["stdin"]), name
        text = json.dumps(unwrapped({**command.inputs, "stdin": None, "connection": None}))
        assert not [word for word in ("password-", "K10ca", "canary-key", "private-") if word in text], name
    assert {"kubeconfig", "ssh_private_key"} <= graph.secret_outputs
    for name, value in graph.outputs.items():
        assert name in graph.secret_outputs or "canary-key" not in str(value), name
    assert is_secret(graph.one(PROVIDER, "cluster").inputs["kubeconfig"])


def test_an_agent_never_gets_the_servers_token(graph: Graph) -> None:
    """Who has it can add a server, and read everything."""
    given = {name: json.loads(unwrapped(c.inputs["stdin"])) for name, c in steps(graph, "k3s").items()}
    assert given["gpu1-k3s"] == {"agent_token": "K10ca::node:y"}
    assert given["node1-k3s"] == {"token": "password-server-token", "agent_token": "password-agent-token"}
    assert given["node2-k3s"] == {"token": "K10ca::server:x", "agent_token": "K10ca::node:y"}


def test_a_node_is_ended_from_a_server_that_is_not_itself(graph: Graph) -> None:
    """A machine that is gone cannot drain itself."""
    for node in ("node1", "node2", "node3", "gpu1"):
        member = step(graph, node, "member")
        peer = unwrapped(member.inputs["connection"])["host"]
        own = unwrapped(step(graph, node, "k3s").inputs["connection"])["host"]
        assert peer != own
        assert "create" not in member.inputs
        assert node in member.inputs["delete"]
        assert member.request.customTimeouts.delete


def test_a_replaced_machine_is_drained_before_it_joins_again(graph: Graph) -> None:
    """Its Node must be gone, or the name is taken: deleted before what it depends on, because that replaces it."""
    for node in ("node1", "node2", "node3", "gpu1"):
        member = step(graph, node, "member")
        assert f"{node}-k3s" in waits_for(graph, member)
        assert member.inputs["triggers"][1] == f"{node}-k3s-id"
        assert step(graph, node, "k3s").inputs["triggers"] == [f"{node}-id"]


def test_the_only_server_has_nobody_to_end_it() -> None:
    """With it goes the cluster."""
    graph = recorded.record(changed(dev(), {"infra.nodes.node2.role": "agent", "infra.nodes.node3.role": "agent"}))
    assert set(steps(graph, "member")) == {"node2-member", "node3-member", "gpu1-member"}


def test_destroying_the_cluster_needs_no_control_plane(graph: Graph) -> None:
    """It may be what is broken: everything in it goes with an object that is always there."""
    (anchor,) = [urn for urn, r in graph.resources.items() if r.type == ANCHOR and r.name == "cluster-id"]
    inside = [r for r in graph.resources.values() if r.type.startswith("kubernetes:")]
    assert inside
    for resource in [*steps(graph, "member").values(), *inside]:
        assert resource.request.deletedWith == anchor, resource.name


def test_the_anchor_never_changes(graph: Graph) -> None:
    """A token that is rotated must not take every object along."""
    rotated = recorded.record(changed(dev(), {"cluster.rotation.token": 2}))
    changed_names = different(graph, rotated)
    assert "cluster-id" not in changed_names
    assert {"server-token", "agent-token"} <= changed_names
    assert "cluster" not in changed_names


def test_the_provider_forgets_nothing_in_an_outage(graph: Graph) -> None:
    """With deleteUnreachable a refresh drops every object while the API is away, and the next `up` makes them twice."""
    inputs = unwrapped(graph.one(PROVIDER, "cluster").inputs)
    assert "deleteUnreachable" not in inputs
    assert str(inputs["skipUpdateUnreachable"]).lower() == "true"
    assert inputs["clusterIdentifier"] == "0123456789abcdef"


def kubeconfig(graph: Graph) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(graph.outputs["kubeconfig"])
    return found


def test_a_public_api_is_at_the_bastions_address_and_open_to_administrators(graph: Graph) -> None:
    """Everybody else gets no answer."""
    assert kubeconfig(graph)["clusters"][0]["cluster"]["server"] == "https://129.114.0.1:6443"
    assert graph.outputs["api_endpoint"] == "https://129.114.0.1:6443"
    rules = graph.of("openstack:networking/secGroupRule:SecGroupRule").values()
    open_to = {r.inputs["remoteIpPrefix"] for r in rules if r.inputs.get("portRangeMin") == 6443}
    assert open_to == {"203.0.113.0/24"}
    assert "129.114.0.1" in step(graph, "node1", "k3s").inputs["create"]


def test_an_api_behind_the_bastion_is_reached_through_a_tunnel_and_opens_nothing() -> None:
    """Then SSH is the only door."""
    graph = recorded.record(changed(dev(), {"cluster.api": "bastion"}))
    cluster = kubeconfig(graph)["clusters"][0]["cluster"]
    assert cluster["server"] == "https://192.168.1.11:6443"
    assert cluster["proxy-url"].startswith("socks5://127.0.0.1:")
    rules = graph.of("openstack:networking/secGroupRule:SecGroupRule").values()
    assert 6443 not in {r.inputs.get("portRangeMin") for r in rules}


def test_a_bare_metal_bastion_opens_the_api_in_its_own_firewall() -> None:
    """Those sites have no security groups."""
    graph = recorded.record(two_sites(), tailscale_auth_key="tskey-canary")
    data = unwrapped(graph.one("openstack:compute/instance:Instance", "gpu1").inputs["userData"])
    assert "203.0.113.0/24 tcp dport { 22, 6443 } accept" in data


def test_nodes_of_a_vpn_know_each_other_by_their_vpn_addresses() -> None:
    """Machines at two sites have no other network in common; the key travels on stdin."""
    graph = recorded.record(two_sites(), tailscale_auth_key="tskey-canary")
    assert recorded.stdout("gpu1-prepare").strip() in step(graph, "gpu1", "k3s").inputs["create"]
    for command in steps(graph, "prepare").values():
        assert is_secret(command.inputs["stdin"])
        assert "tskey-canary" not in str(command.inputs["create"])


def test_restoring_concerns_the_first_server_only(graph: Graph) -> None:
    """The others join it."""
    restored = recorded.record(changed(dev(), {"restore": "latest"}))
    assert different(graph, restored) == {"node1-k3s"}


def test_machines_that_exist_already_become_a_cluster_too() -> None:
    """Without a bastion the API is at the first server."""
    graph = recorded.record(hosts(), private_key="PRIVATE")
    assert set(steps(graph, "prepare", "k3s", "member")) == {
        *("one-prepare", "one-k3s", "two-prepare", "two-k3s", "two-member")
    }
    assert graph.outputs["api_endpoint"] == "https://10.0.0.1:6443"


def test_dns_outlives_a_node_where_there_are_several(graph: Graph) -> None:
    """k3s starts one CoreDNS: with its node, every name in the cluster would be lost for a minute."""
    autoscaler = graph.one(AUTOSCALER, "coredns").inputs
    assert autoscaler["spec"]["minReplicas"] == 2
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == "coredns"
    # A node that cannot join is told of by its own step.
    assert {"node1-k3s", "gpu1-k3s"} <= waits_for(graph, graph.one(AUTOSCALER, "coredns"))
    alone = changed(hosts(), {"infra.machines.two": DELETE})
    assert not recorded.record(alone, private_key="PRIVATE").of(AUTOSCALER)
    assert not recorded.record(existing(), kubeconfig=recorded.KUBECONFIG).of(AUTOSCALER)


def test_an_existing_cluster_is_taken_by_its_kubeconfig_without_ssh() -> None:
    """A kubeconfig is enough."""
    tree = changed(existing(), {"cluster.readers": DELETE})
    graph = recorded.record(tree, kubeconfig=recorded.KUBECONFIG)
    assert not graph.of(COMMAND)
    assert graph.outputs["api_endpoint"] == "https://127.0.0.1:6443"
    assert graph.outputs["hosts"] is None
    assert "kubeconfig" in graph.secret_outputs


def test_what_is_made_in_a_cluster_that_stays_is_deleted_with_the_stack() -> None:
    """Its end is not the cluster's: an account that was left there would keep its rights."""
    graph = recorded.record(existing(), kubeconfig=recorded.KUBECONFIG)
    inside = [r for r in graph.resources.values() if r.type.startswith("kubernetes:")]
    assert inside
    assert not [r.name for r in inside if r.request.deletedWith]


def test_machines_without_a_cluster_get_none() -> None:
    """They are prepared for nothing."""
    graph = recorded.record({"infra": dev()["infra"]})
    assert not steps(graph, "prepare", "k3s", "member")
    assert graph.outputs["kubeconfig"] is None


def test_the_graph_is_complete_in_a_first_preview(graph: Graph) -> None:
    """Nothing is known then: no resource may be made inside a callback."""
    preview = recorded.record(dev(), preview=True)
    assert set(preview.resources) == set(graph.resources)


def test_kubespray_gives_the_same_outputs() -> None:
    """What is built on a cluster must not know how it was made."""
    tree = changed(dev(), {"cluster": {"kind": "kubespray"}})
    graph = recorded.record(tree)
    assert graph.outputs["cluster_kind"] == "kubespray"
    assert "kubeconfig" in graph.secret_outputs
    assert graph.outputs["kubernetes_version"] == "1.35.4"
