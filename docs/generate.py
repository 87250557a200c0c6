"""Writes the generated pages: configuration.md from the models, outputs.md from the outputs, flows.md from the flows,
policy.md from the rules.

Usage: python docs/generate.py [--check]; with --check it writes nothing and fails when a page is stale.
"""

import sys
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))
sys.path += [str(DOCS.parent / folder) for folder in ("platform", "policy")]

import config  # noqa: E402  the project's folder must be on the path first
from apps import inventory as applications  # noqa: E402
from cluster.kubeconfig import TUNNEL  # noqa: E402
from cluster.peers import METADATA  # noqa: E402
from leasehold_policy import RULES, SUBJECTS, WAIVERS  # noqa: E402
from mlops import inventory  # noqa: E402
from mlops.flows import API, NODES, PODS, WORLD  # noqa: E402
from outputs import StackOutputs  # noqa: E402

SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("infra (kind: openstack)", "infra", config.OpenStackInfra),
    ("A site", "infra.sites.NAME", config.Site),
    ("A lease", "infra.leases.NAME", config.Lease),
    ("A node", "infra.nodes.NAME", config.Node),
    ("A volume", "infra.volumes.NAME", config.Volume),
    ("Access", "infra.access", config.Access),
    ("infra (kind: hosts)", "infra", config.HostsInfra),
    ("A machine", "infra.machines.NAME", config.Machine),
    ("cluster (kind: k3s)", "cluster", config.K3sCluster),
    ("Snapshots", "cluster.snapshots", config.Snapshots),
    ("The snapshots' bucket", "cluster.snapshots.s3", config.SnapshotStore),
    ("Rotation", "cluster.rotation", config.Rotation),
    ("cluster (kind: kubespray)", "cluster", config.KubesprayCluster),
    ("cluster (kind: existing)", "cluster", config.ExistingCluster),
    ("GPUs", "cluster.gpu", config.Gpu),
    ("A reader", "cluster.readers.NAME", config.Reader),
    ("VPN", "cluster.vpn", config.Vpn),
    ("platform", "platform", config.Platform),
    ("Ingress", "platform.ingress", config.Ingress),
    ("Certificates (kind: own)", "platform.ingress.tls", config.OwnAuthority),
    ("Certificates (kind: acme)", "platform.ingress.tls", config.Acme),
    ("Single sign-on", "platform.ingress.sso", config.Sso),
    ("PostgreSQL", "platform.postgres", config.Postgres),
    ("Object store (kind: minio)", "platform.object_store", config.Minio),
    ("Object store (kind: seaweedfs)", "platform.object_store", config.Seaweedfs),
    ("Object store (kind: external)", "platform.object_store", config.ExternalStore),
    ("MLflow", "platform.mlflow", config.Mlflow),
    ("The image registry", "platform.registry", config.RegistryComponent),
    ("Argo", "platform.argo", config.Argo),
    ("Monitoring", "platform.monitoring", config.Monitoring),
    ("A target outside", "platform.monitoring.targets.NAME", config.ExternalTarget),
    ("Summaries of logs", "platform.monitoring.summaries", config.Summaries),
    ("Backups", "platform.backups", config.Backups),
    ("The backups' bucket", "platform.backups.store", config.BackupStore),
    ("apps", "apps", config.Apps),
    ("An environment of the model", "apps.environments.NAME", config.Target),
    ("The model's repository", "apps.source", config.Source),
    ("Training", "apps.training", config.Training),
    ("The gate", "apps.gate", config.Gate),
    ("Drift", "apps.drift", config.Drift),
    ("Releases", "apps.releases", config.Releases),
    ("A load test", "apps.load_test", config.LoadTest),
    ("Exploration", "apps.exploration", config.Exploration),
    ("Ray", "apps.ray", config.Ray),
    ("An edge cluster", "edge", config.Edge),
    ("artifacts", "artifacts", config.Artifacts),
    ("charts", "charts", config.Charts),
    ("images", "images", config.Images),
)
NAMES = {"IPv4Network": "IPv4 CIDR", "IPv4Address": "IPv4 address", "datetime": "UTC time", "str": "text"}


def kind(annotation: Any) -> str:
    """A type in words."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(args[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in args)
    if origin in (Union, UnionType):
        return " or ".join(kind(arg) for arg in args if arg is not NoneType)
    if origin is tuple:
        return f"list of {kind(args[0])}"
    if origin is dict:
        return f"map of {kind(args[1])}"
    name = getattr(annotation, "__name__", str(annotation))
    return NAMES.get(name, name)


def default(field: Any) -> str:
    """A default in words."""
    if field.is_required():
        return "**required**"
    if field.default in (None, PydanticUndefined):
        return "none"
    if field.default in ((), {}, ""):
        return "empty"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def configuration() -> str:
    """The configuration reference."""
    lines = [
        "# Configuration reference",
        "",
        "Generated from the models in `config/` by `make docs`. Keys stand below `config:` in",
        "`Pulumi.<stack>.yaml`, in the namespace `leasehold`; `Pulumi.dev.yaml` is a complete example.",
        "",
        "| key | kind | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in config.Environment.model_fields.items():
        what = kind(field.annotation) if name == "restore" else "see below"
        lines.append(f"| `{config.PROJECT}:{name}` | {what} | {default(field)} | {field.description} |")
    lines += [f"| `{config.PROJECT}:{name}` | secret text | none | {what} |" for name, what in config.SECRETS.items()]
    lines += [
        "",
        "A secret is set from a file, so that it is in no command line: `pulumi config set --secret NAME < FILE`.",
    ]
    for title, path, model in SECTIONS:
        lines += ["", f"## {title}", "", f"`{path}`: {(model.__doc__ or '').splitlines()[0]}", ""]
        lines += ["| key | kind | default | meaning |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            what = field.description or "see its section"
            lines.append(f"| `{name}` | {kind(field.annotation)} | {default(field)} | {what} |")
    return "\n".join(lines) + "\n"


def outputs() -> str:
    """The reference of the stack outputs."""
    lines = [
        "# Stack outputs",
        "",
        "Generated from `outputs.py` by `make docs`. They are the contract with other teams: a name is kept, or its",
        "change is announced in the changelog.",
        "",
        "| output | secret | what it is |",
        "|---|---|---|",
    ]
    for item in fields(StackOutputs):
        secret = "yes" if item.metadata["secret"] else ""
        lines.append(f"| `{item.name}` | {secret} | {item.metadata['description']} |")
    lines += [
        "",
        "## Consume them from another stack",
        "",
        "```python",
        "import pulumi",
        "",
        'platform = pulumi.StackReference("organization/leasehold/dev")',
        'hosts = platform.require_output("hosts")',
        'gpu_lease_end = platform.require_output("leases").apply(lambda leases: leases["gpu"]["end"])',
        'login_key = platform.require_output("ssh_private_key")  # stays a secret',
        "```",
        "",
        "## Log in to a machine",
        "",
        "```sh",
        "umask 077",
        "pulumi stack output ssh_private_key --show-secrets > ~/.ssh/leasehold-dev",
        "pulumi stack output known_hosts > ~/.ssh/leasehold-dev.known_hosts",
        "pulumi stack output ssh_config > ~/.ssh/leasehold-dev.config",
        "ssh -F ~/.ssh/leasehold-dev.config node2",
        "```",
        "",
        "## Use the cluster",
        "",
        "```sh",
        "umask 077",
        "pulumi stack output kubeconfig --show-secrets > ~/.kube/leasehold-dev",
        "kubectl --kubeconfig ~/.kube/leasehold-dev get nodes",
        "```",
        "",
        "With `cluster.api: bastion` the kubeconfig goes through a tunnel, which has to be open, also for `pulumi up`:",
        "",
        "```sh",
        f"ssh -F ~/.ssh/leasehold-dev.config -N -D {TUNNEL.removeprefix('socks5://')} node1",
        "```",
    ]
    return "\n".join(lines) + "\n"


EVERYTHING = {
    "domain": "example.org",
    "ingress": {
        "tls": {"kind": "acme", "email": "ops@example.org"},
        "sso": {"issuer": "https://id.example.org", "client_id": "x", "email_domains": ["example.org"]},
    },
    "backups": {"store": {"endpoint": "https://s3.example.org", "bucket": "backups"}},
    "monitoring": {"summaries": {"endpoint": "https://llm.example.org/v1", "model": "x"}},
}
"""A platform with every part that can be had."""
EXTRAS = {"load_test": {"bodies": [{}]}, "exploration": {"image": "registry.example.org/page:1"}, "ray": {}}
"""The applications' parts that are off by default."""
PEERS = {
    WORLD: f"addresses outside the cluster; never {METADATA.partition('/')[0]}",
    API: "the Kubernetes API, on the servers' addresses",
    NODES: "kubelets and exporters, on the nodes' addresses",
    PODS: "pods of any namespace",
}


def flows() -> str:
    """The namespaces of the platform and of the applications, and who talks to whom."""
    wanted, model = (
        config.Platform.model_validate(EVERYTHING),
        config.Apps.model_validate({"gate": {"classes": ["any"]}, **EXTRAS}),
    )
    spaces = (*inventory.spaces(wanted), *applications.spaces(model))
    # Where copies go is one place or the other: inside without a store outside.
    inside = applications.copies(config.Platform(domain=wanted.domain))
    permitted = {*inventory.flows(wanted), *applications.flows(model, wanted), inside}
    lines = [
        "# Namespaces and flows",
        "",
        "Generated from the components in `platform/mlops` and `apps` by `make docs`, for a platform with every part,",
        "the profile `default`, the default environments of a model, and what is off by default: a load test, a page",
        "and a Ray cluster. A part that is left out takes its rows along.",
        "",
        "## Namespaces",
        "",
        "Every container has requests and a memory limit: its own, or the namespace's default. No pod has a token that",
        "its component does not ask for.",
        "",
        "| namespace | Pod Security | CPU requested | memory limit | pods | volumes | why not restricted |",
        "|---|---|---|---|---|---|---|",
    ]
    for space in sorted(spaces, key=lambda space: space.name):
        sizes = f"{space.cpu} | {space.memory} | {space.pods} | {space.storage}"
        lines.append(f"| `{space.name}` | {space.level} | {sizes} | {space.why} |")
    lines += [
        "",
        "## Flows",
        "",
        "Everything else is refused, in both directions. Pods of one namespace reach each other, and every pod asks",
        "the cluster's DNS. Ports are those of the pod, TCP. Targets and webhooks outside that an environment names",
        "have policies of their own, which lead out of the cluster only. The cluster layer closes two namespaces:",
        "`leasehold-gpu` (monitoring reads 9400; DNS and the API are asked) and `leasehold-readers` (no pods).",
        "",
        "| from | to | ports | why |",
        "|---|---|---|---|",
    ]
    for flow in sorted(permitted, key=lambda flow: (flow.source, flow.target, flow.ports)):
        ports = ", ".join(map(str, flow.ports))
        lines.append(f"| `{flow.source}` | `{flow.target}` | {ports} | {flow.why} |")
    lines += ["", "Names that are no namespace:", ""]
    lines += [f"- `{name}`: {meaning}" for name, meaning in PEERS.items()]
    return "\n".join(lines) + "\n"


def policy() -> str:
    """The rules of the policy, and where they do not hold."""
    lines = [
        "# Policy",
        "",
        f"Generated from `policy/leasehold_policy` by `make docs`: {len(RULES)} rules that every stack must keep.",
        "A rule is a pure function over what the program asks for: types, names, inputs, options. What is not known",
        "before a deployment is no fault. No product code knows of them.",
        "",
        "```sh",
        "make policy ENV=dev      # by the rehearsal's engine, on paper: no cloud, no login, nothing made",
        "make check               # the same over the shipped environment, and every rule's own cases",
        "",
        "make policy-setup        # once: the pack's own environment in policy/.venv",
        "pulumi preview --stack dev --policy-pack policy",
        "```",
        "",
        "`make policy` ends with 1 and one line for each finding; environments that need secrets get them by",
        "`python -m rehearsal --stack NAME policy --config KEY=VALUE`. With the real CLI a finding stops `preview`",
        "and `up` alike; `.github/workflows/preview.yml` runs the pack in pull requests. The pack has an environment",
        "of its own, because pulumi-policy pins an older protobuf. Its SDK shows secrets to policies as if they were",
        "in the clear: `policy/__main__.py` keeps their marks.",
        "",
        "A new rule is a function in the module of its subject; its docstring is the demand. Its cases stand in",
        "`tests/unit/policy_cases`, one that it refuses and one that it accepts at the least.",
    ]
    for subject in SUBJECTS:
        name = subject.__name__.rpartition(".")[2]
        lines += [
            "",
            f"## {name}",
            "",
            (subject.__doc__ or "").strip(),
            "",
            "| rule | demand | remedy |",
            "|---|---|---|",
        ]
        lines += [f"| `{rule.id}` | {rule.demand} | {rule.remedy} |" for rule in RULES if rule.subject == name]
    lines += ["", "## Waivers", "", "Logical names; `*` stands for what a user chooses.", ""]
    lines += ["| rule | resources | why it does not hold |", "|---|---|---|"]
    for waiver in WAIVERS:
        resources = ", ".join(f"`{resource}`" for resource in waiver.resources)
        lines.append(f"| `{waiver.rule}` | {resources} | {waiver.reason} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the pages, or compare them."""
    stale = []
    pages = {"configuration.md": configuration(), "outputs.md": outputs(), "flows.md": flows(), "policy.md": policy()}
    for name, text in pages.items():
        page = DOCS / name
        if "--check" in sys.argv:
            stale += [name] if not page.exists() or page.read_text() != text else []
        else:
            page.write_text(text)
    if stale:
        print(f"stale: {', '.join(stale)}; run: make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
