"""The stand-in for k3s: what it computes before it starts anything."""

import json
import os
import shutil
import struct
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal.kubernetes import names
from rehearsal.kubernetes.k3s import (
    approvals,
    balancer,
    bootstrap,
    cloud_controller,
    config,
    containerd,
    deploy,
    etcd,
    network_policy,
    node,
    objects,
    registries,
    routes,
    snapshots,
    supervisor,
    tokens,
)
from rehearsal.kubernetes.k3s.config import Config
from rehearsal.kubernetes.k3s.log import Fatal
from rehearsal.kubernetes.k3s.paths import Paths

MANIFESTS = Path(config.__file__).parent / "manifests"


def merged(*texts: str, argv: tuple[str, ...] = (), role: str = "server") -> dict[str, object]:
    return config.merge([(f"{n}.yaml", text) for n, text in enumerate(texts)], {}, argv, role)


def test_a_later_file_replaces_a_list_and_a_plus_appends_to_it() -> None:
    """k3s's rule for config.yaml.d: the product puts what the host decides there."""
    values = merged("node-label: [a=1]\ntls-san: [x]", "node-label+: [b=2]\ntls-san: 'y,z'")
    assert values["node-label"] == ["a=1", "b=2"]
    assert values["tls-san"] == ["y", "z"]


def test_a_component_argument_keeps_its_commas() -> None:
    """enable-admission-plugins takes a list with commas, as one argument."""
    assert merged("kube-apiserver-arg: enable-admission-plugins=A,B")["kube-apiserver-arg"] == [
        "enable-admission-plugins=A,B"
    ]


def test_flags_win_over_the_environment_and_files_over_it_too() -> None:
    """k3s reads the environment only where nothing else speaks."""
    files = [("c.yaml", "token: file\nserver: https://file:6443")]
    environment = {"K3S_TOKEN": "environment", "K3S_NODE_NAME": "n"}
    values = config.merge(files, environment, ["--server=https://flag:6443"], "agent")
    assert (values["token"], values["server"], values["node-name"]) == ("file", "https://flag:6443", "n")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("no-such-key: 1", "unknown key no-such-key"),
        ("flannel-backend: wireguard-native", "only vxlan"),
        ("etcd-s3: true", "etcd-s3"),
        ("embedded-registry: true", "only false"),
        ("selinux: true", "only false"),
        ("cluster-init: maybe", "invalid boolean"),
        ("- a list", "mapping"),
    ],
)
def test_what_k3s_or_the_stand_in_cannot_do_is_refused_by_name(text: str, part: str) -> None:
    """A setting that is silently ignored would pass the rehearsal and fail, or lie, in production."""
    with pytest.raises(Fatal, match=part):
        merged(text)


@pytest.mark.parametrize("argv", [("--nonsense",), ("word",), ("--node-name",)])
def test_unknown_or_incomplete_flags_stop(argv: tuple[str, ...]) -> None:
    """As in k3s."""
    with pytest.raises(Fatal, match="flag"):
        merged(argv=argv)


def test_an_agent_skips_a_servers_keys_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """As in k3s: one file may serve both roles."""
    assert "cluster-cidr" not in merged("cluster-cidr: 10.1.0.0/16", role="agent")
    assert "Unknown flag --cluster-cidr" in capsys.readouterr().err


def test_the_dns_address_follows_the_service_network() -> None:
    """k3s's default is the tenth address."""
    assert merged("service-cidr: 10.96.0.0/16")["cluster-dns"] == "10.96.0.10"


def test_token_files_are_read_and_an_absent_one_is_named(tmp_path: Path) -> None:
    """A token never has to be in the configuration itself."""
    (tmp_path / "secret").write_text("abc\n")
    (tmp_path / "config.yaml").write_text(f"token-file: {tmp_path}/secret\nnode-ip: 192.0.2.1\ncluster-init: true\n")
    assert config.load("server", [], tmp_path).text("token") == "abc"
    (tmp_path / "secret").unlink()
    with pytest.raises(Fatal, match="secret: No such file"):
        config.load("server", [], tmp_path)


def test_a_users_argument_replaces_the_default_and_the_later_one_holds() -> None:
    """A list flag given twice would be joined by the component, which k3s avoids in this way."""
    flags = node.arguments({"a": "1", "b": "2"}, ["b=3", "c", "b=4"])
    assert flags == ["--a=1", "--b=4", "--c=true"]


CA = "-----BEGIN CERTIFICATE-----\n"


def test_a_full_token_pins_the_ca_and_another_ca_is_refused_in_k3ss_words() -> None:
    """The product searches the journal for these words."""
    token = tokens.parse(tokens.full("secret", "server", CA))
    assert (token.user, token.secret) == ("server", "secret")
    tokens.check(token, CA)
    with pytest.raises(Fatal, match="token CA hash does not match the Cluster CA certificate hash"):
        tokens.check(token, "another")


@pytest.mark.parametrize("token", ["", "K10abc", "K10abc::server:x", f"K10{'0' * 64}::server:"])
def test_a_broken_token_is_refused(token: str) -> None:
    """As in k3s, before anything is sent."""
    with pytest.raises(Fatal, match="token"):
        tokens.parse(token)


def test_an_agents_api_token_is_not_a_servers() -> None:
    """With one secret for both, knowing the agent's derived token must not give the server's rights."""
    assert tokens.api_token("s", "agent") != tokens.api_token("s", "server")
    assert tokens.BOOTSTRAP.fullmatch(tokens.api_token("s", "agent"))
    assert tokens.api_token("abcdef.0123456789abcdef", "agent") == "abcdef.0123456789abcdef"
    assert tokens.api_token("abcdef.0123456789abcdef", "server") != "abcdef.0123456789abcdef"


class Store:
    """etcdctl over a dict."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}

    def __call__(self, command: str, *words: str, stdin: str = "") -> str:
        if command == "put":
            self.keys[words[0]] = stdin
        elif command == "del":
            del self.keys[words[0]]
        return "".join(f"{key}\n{value}\n" for key, value in self.keys.items()) if command == "get" else ""


def authorities(folder: Path) -> Paths:
    paths = Paths(folder)
    for name in [f"tls/{name}.{kind}" for name in bootstrap.AUTHORITIES for kind in ("crt", "key")]:
        file = paths.server / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    for name in ("service.key", "service.current.key"):
        (paths.tls / name).write_text(name)
    return paths


@pytest.mark.skipif(not shutil.which("openssl"), reason="the machines' image has openssl; this computer has none")
def test_a_snapshot_and_the_token_are_enough_for_a_new_machine(tmp_path: Path) -> None:
    """Bootstrap data is in etcd, encrypted with the token: nothing of the old disk is needed."""
    old, new, store = authorities(tmp_path / "old"), Paths(tmp_path / "new"), Store()
    bootstrap.store(store, old, "token")
    assert all("server-ca" not in value for value in store.keys.values())
    found = bootstrap.read(store, "token")
    assert found
    bootstrap.spread(found, new)
    assert (new.tls / "etcd/peer-ca.key").read_text() == "tls/etcd/peer-ca.key"
    assert (new.tls / "etcd/peer-ca.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not shutil.which("openssl"), reason="the machines' image has openssl; this computer has none")
def test_another_token_than_the_snapshots_is_refused_and_a_rotated_one_holds(tmp_path: Path) -> None:
    """k3s's words; after a rotation only the new token opens the data."""
    store = Store()
    bootstrap.store(store, authorities(tmp_path), "old")
    with pytest.raises(Fatal, match="encrypted with different token"):
        bootstrap.read(store, "other")
    bootstrap.rotate(store, "old", "new")
    assert list(store.keys) == [bootstrap.key("new")]
    assert bootstrap.read(store, "new")
    with pytest.raises(Fatal, match="encrypted with different token"):
        bootstrap.rotate(store, "old", "newer")


def minute(text: str) -> time.struct_time:
    return time.strptime(text, "%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("expression", "moment", "due"),
    [
        ("0 */12 * * *", "2026-11-21 12:00", True),
        ("0 */12 * * *", "2026-11-21 13:00", False),
        ("*/5 * * * *", "2026-11-21 13:35", True),
        ("10-20/5 3 * * *", "2026-11-21 03:15", True),
        ("10-20/5 3 * * *", "2026-11-21 03:16", False),
        ("7/20 * * * *", "2026-11-21 03:47", True),
        ("0 0 * * 7", "2026-11-22 00:00", True),
        ("0 0 1 * 6", "2026-11-21 00:00", True),
        ("0 0 1,15 * *", "2026-11-21 00:00", False),
    ],
)
def test_a_schedule_is_read_as_cron_reads_it(expression: str, moment: str, due: bool) -> None:
    """2026-11-21 is a Saturday. Two given days mean either of them."""
    assert snapshots.due(expression, minute(moment)) is due


@pytest.mark.parametrize("expression", ["", "* * * *", "a * * * *", "*/0 * * * *"])
def test_a_schedule_that_is_none_is_refused(expression: str) -> None:
    """Else no snapshot would ever be taken, and nobody would know."""
    with pytest.raises(Fatal, match="etcd-snapshot-schedule-cron"):
        snapshots.due(expression, minute("2026-11-21 00:00"))


def test_pruning_keeps_the_newest_of_this_node_and_prefix_only(tmp_path: Path) -> None:
    """Another node's and hand-made snapshots are not the schedule's to remove; a half-written one is none."""
    settings = Config({"node-name": "n", "node-ip": ["192.0.2.1"], "etcd-snapshot-dir": str(tmp_path)})
    for age, name in enumerate(
        ["etcd-snapshot-n-3", "etcd-snapshot-n-2.zip", "etcd-snapshot-n-1", "on-demand-n-1", "etcd-snapshot-m-1"]
    ):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "etcd-snapshot-n-4.part").touch()
    found = snapshots.Snapshots(etcd.Etcd(settings))
    assert found.prune("etcd-snapshot", 2) == ["etcd-snapshot-n-1"]
    assert len(found.all()) == 4


def test_only_an_earlier_member_of_the_same_node_holds_its_name() -> None:
    """node-1 must not be taken for a member of node."""
    member = etcd.Member("1", "node-1-0123abcd", "https://192.0.2.1:2380", False)
    assert etcd.takes_name(member, "node-1", "node-1-99999999")
    assert not etcd.takes_name(member, "node", "node-99999999")
    assert not etcd.takes_name(member, "node-1", "node-1-0123abcd")


def test_member_ids_are_read_as_etcdctl_wants_them() -> None:
    """Its JSON has decimal numbers, its commands want hexadecimal ones."""
    listed = '{"members": [{"ID": 255, "peerURLs": ["https://192.0.2.1:2380"], "isLearner": true}]}'
    assert etcd.parse_members(listed) == [etcd.Member("ff", "", "https://192.0.2.1:2380", True)]


def settings(**values: object) -> Config:
    return Config({"node-name": "n", "node-ip": ["192.0.2.1"], **{k.replace("_", "-"): v for k, v in values.items()}})


def test_containerd_gets_the_runtimes_that_were_found() -> None:
    """Runtime `nvidia` is what RuntimeClass nvidia names."""
    text = containerd.render(settings(), {"nvidia": "/usr/bin/nvidia-container-runtime"}, {}, "/usr/lib/cni")
    assert "version = 3" in text
    assert 'runtimes."nvidia".options]\n  BinaryName = "/usr/bin/nvidia-container-runtime"' in text
    assert 'bin_dirs = ["/usr/lib/cni"]' in text
    with pytest.raises(Fatal, match="default runtime nvidia was not found"):
        containerd.render(settings(default_runtime="nvidia"), {}, {}, "/usr/lib/cni")


def test_registries_become_hosts_files_and_credentials() -> None:
    """Mirrors by name, with the endpoint's own certificate settings."""
    given = yaml.safe_load("""
mirrors: {docker.io: {endpoint: ["http://mirror:5000/v2/x"]}, "*": {endpoint: ["https://all:5000"]}}
configs: {"all:5000": {auth: {username: u, password: p}, tls: {insecure_skip_verify: true}}}
""")
    files = registries.hosts(given)
    assert 'server = "https://registry-1.docker.io"' in files["docker.io"]
    assert "override_path = true" in files["docker.io"]
    assert "skip_verify = true" in files["_default"]
    assert registries.credentials(given) == {"all:5000": {"username": "u", "password": "p"}}
    with pytest.raises(Fatal, match="rewrite"):
        registries.hosts({"mirrors": {"a": {"rewrite": {"x": "y"}}}})


def test_a_registrys_own_authority_holds_for_its_mirror_and_for_itself() -> None:
    """A registry with a private CA behind another address of the node: each host is trusted by its own entry only."""
    given = yaml.safe_load("""
mirrors: {"registry.example.org:5000": {endpoint: ["https://127.0.0.1:30500"]}}
configs:
  "127.0.0.1:30500": {tls: {ca_file: /etc/mirror.pem}}
  "registry.example.org:5000": {tls: {ca_file: /etc/own.pem}}
""")
    found = {name: tomllib.loads(text) for name, text in registries.hosts(given).items()}
    mirrored = found["registry.example.org:5000"]
    assert (mirrored["server"], mirrored["ca"]) == ("https://registry.example.org:5000", ["/etc/own.pem"])
    assert mirrored["host"] == {
        "https://127.0.0.1:30500": {"capabilities": ["pull", "resolve"], "ca": ["/etc/mirror.pem"]}
    }
    assert found["127.0.0.1:30500"]["host"]["https://127.0.0.1:30500"]["ca"] == ["/etc/mirror.pem"]


def test_image_archives_are_known_by_their_ends() -> None:
    """What else lies in agent/images is left alone."""
    assert containerd.archives(["b.tar.zst", "a.tar", "c.txt", ".cache.json"]) == ["a.tar", "b.tar.zst"]


def test_a_server_that_failed_is_tried_last_and_an_empty_list_is_not_believed() -> None:
    """An agent that forgot all servers could never find one again."""
    assert balancer.failed(["a", "b", "c"], "a") == ["b", "c", "a"]
    assert balancer.reordered(["b", "a"], ["a", "b", "c"]) == ["b", "a", "c"]
    assert balancer.reordered(["b", "a"], ["a"]) == ["a"]
    assert balancer.reordered(["b"], []) == ["b"]


def test_an_agent_gets_certificates_for_its_own_names_only() -> None:
    """Else one agent's token could become any node, or an administrator."""
    client, kubelet = "kubernetes.io/kube-apiserver-client", "kubernetes.io/kube-apiserver-client-kubelet"
    assert approvals.subject_allowed(kubelet, "O = system:nodes, CN = system:node:a", "a")
    assert not approvals.subject_allowed(kubelet, "O = system:nodes, CN = system:node:b", "a")
    assert approvals.subject_allowed(client, "CN = system:kube-proxy", "a")
    assert not approvals.subject_allowed(client, "O = system:masters, CN = system:admin", "a")
    assert not approvals.subject_allowed("kubernetes.io/legacy-unknown", "CN = system:kube-proxy", "a")


def test_routes_lead_to_other_nodes_tunnels() -> None:
    """Not to the node itself, and not to one that has no subnet yet."""
    nodes: list[dict[str, Any]] = [
        {"metadata": {"name": "a", "annotations": {node.TUNNEL: "192.0.2.1"}}, "spec": {"podCIDR": "10.42.0.0/24"}},
        {"metadata": {"name": "b", "annotations": {node.TUNNEL: "192.0.2.2"}}, "spec": {"podCIDR": "10.42.1.0/24"}},
        {"metadata": {"name": "c", "annotations": {node.TUNNEL: "192.0.2.3"}}, "spec": {}},
    ]
    assert routes.wanted(nodes, "a") == {"10.42.1.0/24": "192.0.2.2"}
    assert routes.mac("192.0.2.2") == "0a:58:c0:00:02:02"


def test_a_nodes_addresses_come_from_its_annotations() -> None:
    """Several external addresses are listed each."""
    notes = {node.INTERNAL_IP: "192.0.2.1", node.EXTERNAL_IP: "198.51.100.1,198.51.100.2", node.HOSTNAME: "a"}
    kinds = [address["type"] for address in cloud_controller.addresses(notes)]
    assert kinds == ["InternalIP", "ExternalIP", "ExternalIP", "Hostname"]


def hello(*extensions: int) -> bytes:
    """A TLS greeting with empty extensions."""
    listed = b"".join(struct.pack("!HH", kind, 0) for kind in extensions)
    body = bytes(34) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + struct.pack("!H", len(listed)) + listed
    handshake = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


def test_only_a_scripts_greeting_is_answered_by_the_supervisor() -> None:
    """kubectl offers ALPN, and none with `exec`, but is written in Go; both have to reach kube-apiserver."""
    assert supervisor.from_script(hello(10, 22, 13))
    assert not supervisor.from_script(hello(10, 22, 16))
    assert not supervisor.from_script(hello(10, 13))
    assert not supervisor.from_script(b"GET / HTTP/1.1\r\n")
    assert not supervisor.from_script(hello(22)[:20])


def test_manifests_name_the_images_of_the_airgap_archive() -> None:
    """A pod of an image that is not in the archive would wait for ever, without internet."""
    text = "".join(file.read_text() for file in MANIFESTS.glob("*.yaml"))
    found = {line.partition("image:")[2].strip() for line in text.splitlines() if "image:" in line}
    assert found == {names.COREDNS, names.LOCAL_PATH, names.METRICS_SERVER, names.BUSYBOX}
    assert containerd.PAUSE == names.PAUSE


def test_manifests_take_the_clusters_values_and_disabled_ones_are_left_out(tmp_path: Path) -> None:
    """default-local-storage-path is where volumes go: onto the data volume."""
    given = settings(
        data_dir=str(tmp_path),
        cluster_dns="10.43.0.10",
        cluster_domain="example.org",
        default_local_storage_path="/data/storage",
        disable=["metrics-server"],
    )
    deploy.ship(given, MANIFESTS)
    shipped = {file.stem: file.read_text() for file in given.paths.manifests.glob("*")}
    assert set(shipped) == {"coredns", "local-storage", "runtimes"}
    assert '"/data/storage"' in shipped["local-storage"]
    assert "%{" not in "".join(shipped.values())
    kinds = [one["kind"] for one in deploy.objects(shipped["runtimes"])]
    assert kinds == ["RuntimeClass"] * len(kinds)


def test_servers_are_told_apart_by_the_settings_that_must_be_alike() -> None:
    """k3s stops a server whose network or encryption differs from the cluster's."""
    assert objects.shared(settings(secrets_encryption=True))["secrets-encryption"] == "true"
    assert objects.agent_secret(settings(agent_token="K10" + "0" * 64 + "::node:a"), "s") == "a"
    assert objects.agent_secret(settings(), "s") == "s"


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("disable: [traefik, servicelb]", []),
        ("disable: traefik,servicelb,local-storage", []),
        ("disable: [traefik]", ["servicelb"]),
        ("cluster-init: true", ["servicelb", "traefik"]),
    ],
)
def test_what_the_stand_in_lacks_is_named_unless_it_is_disabled(given: str, missing: list[str]) -> None:
    """A warning that is always there is read by nobody."""
    assert deploy.left_out(Config(merged(given))) == missing


def test_kube_router_judges_policies_and_does_nothing_else() -> None:
    """Its router would take the pod network over, its proxy the Services; its health check is open to everybody."""
    found = network_policy.flags(settings(data_dir="/data"), "10.43.0.0/16")
    assert {flag for flag in found if flag.startswith("--run-")} == {
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        "--run-loadbalancer=false",
    }
    assert "--health-port=0" in found
    assert "--service-cluster-ip-range=10.43.0.0/16" in found
    assert "--kubeconfig=/data/agent/k3scontroller.kubeconfig" in found


class Recorded:
    """An API that takes everything."""

    def __init__(self) -> None:
        self.applied: dict[str, Any] = {}

    def apply(self, _: str, wanted: dict[str, Any]) -> None:
        self.applied[f"{wanted['kind']} {wanted['metadata']['name']}"] = wanted


def test_the_user_of_kube_router_may_read_what_it_watches_and_no_more() -> None:
    """Every agent has its certificate: no Secret, no change."""
    api = Recorded()
    objects.apply_rights(api)  # type: ignore[arg-type]
    rules = api.applied["ClusterRole k3s-controller"]["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
    kinds = {kind for rule in rules for kind in rule["resources"]}
    assert kinds == {"nodes", "namespaces", "pods", "services", "endpoints", "endpointslices", "networkpolicies"}


def test_policies_are_off_on_every_node_or_on_none() -> None:
    """Agents do not have the key: a server tells them, and servers that differ are stopped."""
    assert objects.shared(settings(disable_network_policy=True))["disable-network-policy"] == "true"
    assert objects.shared(settings())["disable-network-policy"] == "false"


def test_pods_get_host_ports() -> None:
    """k3s's own chain ends with portmap; without it a hostPort is accepted, and leads nowhere."""
    plugins = json.loads(routes.cni_configuration("10.42.0.0/24"))["plugins"]
    assert plugins[-1] == {"type": "portmap", "capabilities": {"portMappings": True}}
