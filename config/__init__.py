"""The environment: one frozen tree for the whole stack, and the only reader of Pulumi's configuration.

Single-source rules: what exists elsewhere in the tree is derived, never repeated; every field says what it
means, its unit and its default. A bad environment is refused in one pass that names all that is wrong.
"""

from config.apps import Apps, Releases, Target
from config.artifacts import Artifacts, Download
from config.charts import Charts
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
from config.edge import Edge
from config.environment import Environment
from config.fields import PROJECT, Model
from config.images import Images
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
from config.platform import (
    Acme,
    Argo,
    Backups,
    BackupStore,
    Component,
    ExternalStore,
    ExternalTarget,
    Ingress,
    Minio,
    Mlflow,
    Monitoring,
    OwnAuthority,
    Platform,
    Postgres,
    RegistryComponent,
    Seaweedfs,
    Sso,
    Summaries,
)
from config.problems import REFERENCE, BadEnvironment, Problem, Rule, shown, validate

__all__ = [
    "PRIVATE_KEY",
    "PROJECT",
    "REFERENCE",
    "SECRETS",
    "Access",
    "Acme",
    "Apps",
    "Argo",
    "Artifacts",
    "BackupStore",
    "Backups",
    "BadEnvironment",
    "Charts",
    "Cluster",
    "ClusterBase",
    "Component",
    "Download",
    "Edge",
    "Environment",
    "ExistingCluster",
    "ExternalStore",
    "ExternalTarget",
    "Gpu",
    "HostsInfra",
    "Images",
    "Infra",
    "Ingress",
    "K3sCluster",
    "KubesprayCluster",
    "Lease",
    "Machine",
    "Minio",
    "Mlflow",
    "Model",
    "Monitoring",
    "Node",
    "OpenStackInfra",
    "OwnAuthority",
    "Platform",
    "Postgres",
    "Problem",
    "Reader",
    "RegistryComponent",
    "Releases",
    "Rotation",
    "Rule",
    "Seaweedfs",
    "Secrets",
    "Settings",
    "Site",
    "SnapshotStore",
    "Snapshots",
    "Sso",
    "Summaries",
    "Target",
    "Volume",
    "Vpn",
    "load",
    "shown",
    "validate",
]
