"""Invariants of the graph that the infra layer registers."""

from collections.abc import Iterator
from functools import partial

import pytest

from infra.host_keys import host_key
from tests import environments
from tests.environments import DELETE, changed
from tests.unit import graph as recorded
from tests.unit.graph import Graph, Resource, is_secret, unwrapped

INSTANCE = "openstack:compute/instance:Instance"
PORT = "openstack:networking/port:Port"
COMMAND = "command:remote:Command"
LEASE = "pulumi-python:dynamic/infra:Lease"
VOLUME = "openstack:blockstorage/volume:Volume"
ATTACH = "openstack:compute/volumeAttach:VolumeAttach"
FLOATING_IP = "openstack:networking/floatingIp:FloatingIp"
GROUP = "openstack:networking/secGroup:SecGroup"
RULE = "openstack:networking/secGroupRule:SecGroupRule"
dev = partial(environments.machines_only, environments.dev())
hosts = partial(environments.machines_only, environments.hosts())
two_sites = partial(environments.machines_only, environments.two_sites())
NODE4 = {"role": "agent", "address": "192.168.1.20", "lease": "platform", "image": "CC-Ubuntu24.04"}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return recorded.record(dev())


def pinned(node: str) -> str:
    """The public key that user data gives a node."""
    return host_key("private-host-keys", "kvm", dev()["infra"]["nodes"][node]["address"]).public


def depends_on(graph: Graph, resource: Resource) -> set[str]:
    """URNs that a resource waits for, by value or by option, through others too."""
    seen: set[str] = set()
    todo = [resource]
    while todo:
        for urn in todo.pop().request.dependencies:
            if urn not in seen:
                seen.add(urn)
                if urn in graph.resources:
                    todo.append(graph.resources[urn])
    return seen


def cloud_objects(graph: Graph) -> Iterator[Resource]:
    yield from (r for r in graph.resources.values() if r.type.startswith("openstack:"))


def test_every_connection_pins_its_host_keys_the_bastions_too(graph: Graph) -> None:
    """pulumi-command accepts any key where none is given (pulumi-command#755)."""
    commands = graph.of(COMMAND)
    assert set(commands) == {"node1-ready", "node2-ready", "node3-ready", "gpu1-ready"}
    for name, command in commands.items():
        connection = unwrapped(command.inputs["connection"])
        node = name.removesuffix("-ready")
        assert connection["hostKey"] == pinned(node)
        if node != "node1":
            assert connection["proxy"]["hostKey"] == pinned("node1")


def test_only_the_bastion_is_reached_directly(graph: Graph) -> None:
    """One floating IP; everything else through it."""
    direct = [n for n, c in graph.of(COMMAND).items() if not unwrapped(c.inputs["connection"]).get("proxy")]
    assert direct == ["node1-ready"]


def test_private_keys_travel_as_secrets_only(graph: Graph) -> None:
    """The state, the preview and the outputs show what is not marked."""
    for server in graph.of(INSTANCE).values():
        assert is_secret(server.inputs["userData"])
    for command in graph.of(COMMAND).values():
        connection = command.inputs["connection"]
        assert is_secret(connection) or is_secret(connection["privateKey"])
    assert "ssh_private_key" in graph.secret_outputs
    for name, value in graph.outputs.items():
        if name != "ssh_private_key":
            assert "private-" not in str(value), name


def test_no_secret_is_in_a_command_line(graph: Graph) -> None:
    """A failing command's error text contains its whole command line."""
    for command in graph.of(COMMAND).values():
        assert "private-" not in str(command.inputs["create"])


def test_no_node_waits_for_another_node_of_its_role(graph: Graph) -> None:
    """Two hundred agents must join in one wave (the bastion's address is all they share)."""
    servers = graph.of(INSTANCE)
    urns = {urn: r.name for urn, r in graph.resources.items() if r.type == INSTANCE}
    for server in servers.values():
        assert not depends_on(graph, server) & set(urns)
    for command in graph.of(COMMAND).values():
        waits = {urns[urn] for urn in depends_on(graph, command) & set(urns)}
        assert waits == {command.name.removesuffix("-ready")}


def test_every_wait_has_a_bound(graph: Graph) -> None:
    """Boots and deletions hang; the run must not."""
    for resource in [*cloud_objects(graph), *graph.of(COMMAND).values()]:
        timeouts = resource.request.customTimeouts
        assert timeouts.create, resource.name
    for command in graph.of(COMMAND).values():
        assert 0 < unwrapped(command.inputs["connection"])["dialErrorLimit"] < 1000


def test_data_and_addresses_are_protected(graph: Graph) -> None:
    """A typing mistake in a file must not cost data, or an address that others know."""
    protected = {r.name for r in graph.resources.values() if r.request.protect}
    assert protected == {"node1-data", "node2-data", "node3-data", "kvm-floating-ip"}


def test_a_new_flavor_or_image_replaces_a_server_and_the_old_one_goes_first(graph: Graph) -> None:
    """Its ports are fixed: two servers cannot hold them at once (terraform-provider-openstack#439)."""
    for server in graph.of(INSTANCE).values():
        assert server.request.deleteBeforeReplace
        assert set(server.request.replaceOnChanges) == {"flavorId", "flavorName", "imageId", "imageName"}


def test_a_server_sits_on_the_flavor_of_its_lease(graph: Graph) -> None:
    """The GPU's lease ends within days; nothing else may sit on it."""
    flavors = {name: server.inputs["flavorId"] for name, server in graph.of(INSTANCE).items()}
    assert flavors == {
        "node1": "flavor-platform",
        "node2": "flavor-platform",
        "node3": "flavor-platform",
        "gpu1": "flavor-gpu",
    }


def test_nothing_is_open_but_ssh_for_administrators_and_web_for_users(graph: Graph) -> None:
    """The seeds opened ten ports to everyone."""
    found = {
        (r.inputs["securityGroupId"], r.inputs.get("portRangeMin"), r.inputs["remoteIpPrefix"])
        for r in graph.of(RULE).values()
    }
    assert found == {
        ("kvm-admin-id", 22, "203.0.113.0/24"),
        ("kvm-web-id", 80, "0.0.0.0/0"),
        ("kvm-web-id", 443, "0.0.0.0/0"),
        ("kvm-internal-id", None, "192.168.1.0/24"),
    }
    groups = {name: port.inputs["securityGroupIds"] for name, port in graph.of(PORT).items()}
    assert groups.pop("node1-outer") == ["kvm-admin-id", "kvm-web-id"]
    for name, given in groups.items():
        assert given == (["kvm-closed-id"] if name.endswith("-outer") else ["kvm-internal-id"])


def test_every_cloud_object_is_marked_with_its_stack_and_urn(graph: Graph) -> None:
    """Audits and recovery find objects by the mark, also when the state is lost."""
    unmarked = {"pulumi:providers:openstack", ATTACH, "openstack:networking/floatingIpAssociate:FloatingIpAssociate"}
    for resource in cloud_objects(graph):
        if resource.type in unmarked:
            continue
        parent = graph.resources[resource.request.parent]
        types = f"leasehold:infra:Infra${parent.type}${resource.type}"
        urn = f"urn:pulumi:test::leasehold::{types}::{resource.name}"
        metadata = resource.inputs.get("metadata") or {}
        assert urn in (resource.inputs.get("description"), metadata.get("leasehold-urn")), resource.name
        if resource.type == RULE:  # has no tags; it lives and dies with its group
            continue
        assert "leasehold-stack=test" in resource.inputs.get("tags", []) or metadata["leasehold-stack"] == "test"
    for lease in graph.of(LEASE).values():
        assert lease.inputs["name"] == f"leasehold-test-{lease.name}"


def test_adding_a_node_changes_nothing_of_the_others(graph: Graph) -> None:
    """Adding one agent to 200 must not touch the 200."""
    larger = recorded.record(changed(dev(), {"infra.nodes.node4": NODE4}))
    new = {urn for urn in larger.resources if urn not in graph.resources}
    assert {larger.resources[urn].name for urn in new} == {
        "node4",
        "node4-inner",
        "node4-outer",
        "node4-ready",
    }
    for urn, resource in graph.resources.items():
        ignored = set(resource.request.ignoreChanges)
        for key, value in resource.inputs.items():
            if key not in ignored:
                assert larger.resources[urn].inputs[key] == value, (resource.name, key)


def test_a_renamed_node_keeps_everything_through_aliases() -> None:
    """`formerly` says that it is one machine; without it preflight refuses the address."""
    node = dev()["infra"]["nodes"]["node2"]
    tree = changed(dev(), {"infra.nodes.node2": DELETE, "infra.nodes.worker": {**node, "formerly": ["node2"]}})
    graph = recorded.record(tree)
    before = recorded.record(dev()).one(INSTANCE, "node2").inputs
    after = graph.one(INSTANCE, "worker").inputs
    assert after["userData"] == before["userData"]
    for suffix, kind in (("", INSTANCE), ("-inner", PORT), ("-outer", PORT), ("-ready", COMMAND)):
        aliases = graph.one(kind, f"worker{suffix}").request.aliases
        assert [alias.spec.name for alias in aliases] == [f"node2{suffix}"]


def test_data_volumes_do_not_depend_on_nodes(graph: Graph) -> None:
    """They outlive them."""
    servers = {urn for urn, r in graph.resources.items() if r.type == INSTANCE}
    for volume in graph.of(VOLUME).values():
        assert not depends_on(graph, volume) & servers


def test_volumes_of_one_node_are_attached_in_their_order() -> None:
    """Device names follow the order of attachment."""
    volumes = {"infra.volumes.more": {"size_gb": 1}, "infra.nodes.node1.volumes": ["node1-data", "more"]}
    graph = recorded.record(changed(dev(), volumes))
    second = graph.one(ATTACH, "more-attach")
    assert any(
        graph.resources[u].name == "node1-data-attach" for u in depends_on(graph, second) if u in graph.resources
    )


def test_servers_are_spread_over_the_zones_in_turn() -> None:
    """One zone's failure must leave a majority."""
    graph = recorded.record(changed(dev(), {"infra.sites.kvm.zones": ["a", "b", "c"]}))
    zones = {name: server.inputs["availabilityZone"] for name, server in graph.of(INSTANCE).items()}
    assert sorted(zones[f"node{n}"] for n in (1, 2, 3)) == ["a", "b", "c"]


def test_a_site_without_a_shared_network_gets_a_router() -> None:
    """Without one, nothing could be reached; and the floating IP waits for the router's leg."""
    graph = recorded.record(changed(dev(), {"infra.sites.kvm.shared_network": DELETE}))
    assert not [name for name in graph.of(PORT) if name.endswith("-outer")]
    router = graph.one("openstack:networking/router:Router", "kvm-router")
    assert router.inputs["externalNetworkId"] == "id-of-public"
    associate = next(iter(graph.of("openstack:networking/floatingIpAssociate:FloatingIpAssociate").values()))
    assert any("routerInterface" in urn for urn in associate.request.dependencies)
    assert graph.one(PORT, "node1-inner").inputs["securityGroupIds"] == [
        "kvm-internal-id",
        "kvm-admin-id",
        "kvm-web-id",
    ]


def test_bare_metal_is_booted_by_a_hint_to_its_reservation() -> None:
    """A host reservation has no flavor of its own."""
    server = recorded.record(two_sites()).one(INSTANCE, "gpu1")
    assert server.inputs["flavorName"] == "baremetal"
    assert "flavorId" not in server.inputs
    assert server.inputs["schedulerHints"] == [{"additionalProperties": {"reservation": "reservation-gpu"}}]


def test_bare_metal_carries_its_own_firewall() -> None:
    """Those sites have no security groups: every port of a host is public there."""
    graph = recorded.record(two_sites())
    assert not [name for name in graph.of(GROUP) if name.startswith("uc-")]
    data = unwrapped(graph.one(INSTANCE, "gpu1").inputs["userData"])
    assert "policy drop" in data
    assert "203.0.113.0/24 tcp dport 22 accept" in data
    assert "policy drop" not in unwrapped(graph.one(INSTANCE, "node1").inputs["userData"])


def test_two_sites_have_a_provider_a_network_and_a_bastion_each() -> None:
    """Regions share nothing but the login."""
    graph = recorded.record(two_sites())
    assert {n: p.inputs["region"] for n, p in graph.of("pulumi:providers:openstack").items()} == {
        "kvm": "KVM@TACC",
        "uc": "CHI@UC",
    }
    assert set(graph.outputs["floating_ips"]) == {"kvm", "uc"}
    for resource in cloud_objects(graph):
        if resource.type != "pulumi:providers:openstack":
            site = "uc" if resource.name.startswith(("uc", "gpu1")) else "kvm"
            assert f"::{site}::" in resource.request.provider, resource.name


def test_existing_machines_create_nothing_in_a_cloud() -> None:
    """The same program, without the OpenStack part."""
    graph = recorded.record(hosts(), private_key="PRIVATE")
    assert not list(cloud_objects(graph))
    assert set(graph.of(COMMAND)) == {"one-ready", "two-ready"}
    for command in graph.of(COMMAND).values():
        assert unwrapped(command.inputs["connection"])["hostKey"] == hosts()["infra"]["machines"]["one"]["host_key"]


def test_the_graph_is_complete_in_a_first_preview() -> None:
    """Nothing is known then: no resource may be made inside a callback."""
    graph = recorded.record(dev())
    preview = recorded.record(dev(), preview=True)
    assert {(r.type, r.name) for r in preview.resources.values()} == {
        (r.type, r.name) for r in graph.resources.values()
    }


def test_outputs_say_how_to_reach_every_machine(graph: Graph) -> None:
    """Other teams read them through a StackReference."""
    by_name = {host["name"]: host for host in graph.outputs["hosts"]}
    assert by_name["node2"]["bastion"] == "node1"
    assert by_name["node2"]["address"] == "192.168.1.12"
    assert by_name["node1"]["volumes"] == [{"name": "node1-data", "device": "/dev/vdb"}]
    assert graph.outputs["leases"]["gpu"]["extendable_from"] == "2026-11-26 00:00"
    assert "ProxyJump node1" in graph.outputs["ssh_config"]
    assert f"node3 {pinned('node3')}\n" in graph.outputs["known_hosts"]
