"""The environment: one frozen tree for the whole stack, and the only reader of Pulumi's configuration.

Single-source rules: what exists elsewhere in the tree is derived, never repeated; every field says what it
means, its unit and its default. A bad environment is refused in one pass that names all that is wrong.
"""

from config.artifacts import Artifacts, Download
from config.cluster import (
    Cluster,
    ClusterBase,
    ExistingCluster,
    Gpu,
    K3sCluster,
    KubesprayCluster,
    Reader,
    Rotation,
    Snapshots,
    SnapshotStore,
    Vpn,
)
from config.environment import Environment
from config.fields import PROJECT, Model
from config.infra import (
    PRIVATE_KEY,
    Access,
    HostsInfra,
    Infra,
    Lease,
    Machine,
    Node,
    OpenStackInfra,
    Site,
    Volume,
)
from config.load import SECRETS, Secrets, Settings, load
from config.problems import REFERENCE, BadEnvironment, Problem, Rule, shown, validate

__all__ = [
    "PRIVATE_KEY",
    "PROJECT",
    "REFERENCE",
    "SECRETS",
    "Access",
    "Artifacts",
    "BadEnvironment",
    "Cluster",
    "ClusterBase",
    "Download",
    "Environment",
    "ExistingCluster",
    "Gpu",
    "HostsInfra",
    "Infra",
    "K3sCluster",
    "KubesprayCluster",
    "Lease",
    "Machine",
    "Model",
    "Node",
    "OpenStackInfra",
    "Problem",
    "Reader",
    "Rotation",
    "Rule",
    "Secrets",
    "Settings",
    "Site",
    "SnapshotStore",
    "Snapshots",
    "Volume",
    "Vpn",
    "load",
    "shown",
    "validate",
]
