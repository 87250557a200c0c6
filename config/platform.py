"""What runs on the cluster before anybody's own workloads do."""

from typing import Annotated, Literal

from pydantic import Field

from config.fields import Cron, Domain, Model, Name, Network, Url

BACKUP_ACCESS_KEY = "backup_access_key"
BACKUP_SECRET_KEY = "backup_secret_key"  # noqa: S105  the name of a key
STORE_ACCESS_KEY = "object_store_access_key"
STORE_SECRET_KEY = "object_store_secret_key"  # noqa: S105  the name of a key
SSO_CLIENT_SECRET = "sso_client_secret"  # noqa: S105  the name of a key
SUMMARY_API_KEY = "summary_api_key"
COMMENT_URL = "comment_url"
GIT_TOKEN = "git_token"  # noqa: S105  the name of a key
BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"


class Acme(Model):
    """Certificates from a public authority, by HTTP-01: the host names must lead here, and port 80 is open then."""

    kind: Literal["acme"]
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", description="who is told of certificates that end")
    server: Url = Field("https://acme-v02.api.letsencrypt.org/directory", description="directory of the authority")


class OwnAuthority(Model):
    """Certificates from the stack's own authority, which is the output ca_certificate."""

    kind: Literal["own"] = Field("own", description="own: the stack's own authority; acme: a public one")


Tls = Annotated[OwnAuthority | Acme, Field(discriminator="kind")]


class Sso(Model):
    """Single sign-on before the user interfaces that have no accounts of their own. Its secret: sso_client_secret."""

    issuer: Url = Field(description="URL of the OpenID Connect issuer")
    client_id: str = Field(min_length=1, description="the client's id there")
    email_domains: tuple[str, ...] = Field(min_length=1, description="domains whose addresses may log in")


class Ingress(Model):
    """The one way in from outside: HTTPS by host name."""

    tls: Tls = Field(OwnAuthority(), description="see its section")
    sso: Sso | None = Field(None, description="single sign-on; none: a generated password")
    gateway_api: bool = Field(
        True, description="install the Gateway API's definitions; false where the cluster brings them, as k3s 1.37 does"
    )


class Component(Model):
    """A part of the platform that can be left out."""

    enabled: bool = Field(True, description="whether it is there")


class Postgres(Component):
    """PostgreSQL, by CloudNativePG: one database and one user for each application."""

    instances: Literal[1, 3] = Field(1, description="3: a standby on other nodes takes over within seconds")
    storage_gb: int = Field(10, ge=1, le=16000, description="GB of each instance's volume; it can grow")


class Minio(Component):
    """MinIO in the cluster, ports 9000 (S3) and 9001 (console). Its project has ended: decision 0020."""

    kind: Literal["minio"] = Field("minio", description="minio, seaweedfs, or external")
    storage_gb: int = Field(50, ge=1, le=64000, description="GB of its volume")


class Seaweedfs(Component):
    """SeaweedFS in the cluster, behind the same contract."""

    kind: Literal["seaweedfs"]
    storage_gb: int = Field(50, ge=1, le=64000, description="GB of its volume")


class ExternalStore(Component):
    """An S3 store that exists. Its keys are the secrets object_store_access_key and object_store_secret_key."""

    kind: Literal["external"]
    endpoint: Url = Field(description="URL of the S3 endpoint")
    region: str = Field("us-east-1", min_length=1, description="its region")
    prefix: str = Field("", pattern=r"^([a-z0-9][a-z0-9-]{0,20})?$", description="begins the name of every bucket")


ObjectStore = Annotated[Minio | Seaweedfs | ExternalStore, Field(discriminator="kind")]


class Mlflow(Component):
    """MLflow: runs and the model registry. Its artifacts go through it to the object store."""

    workers: int = Field(1, ge=1, le=64, description="processes of each of its two servers (small: one), 250 MB each")


class RegistryComponent(Component):
    """The registry of container images, for builds, nodes and people."""

    storage_gb: int = Field(20, ge=1, le=16000, description="GB of its volume, where there is no object store")
    node_port: int = Field(30500, ge=30000, le=32767, description="port at which every node pulls from it")
    collect: Cron = Field(
        "30 3 * * 0", description="when the space of deleted images is freed: cron, UTC; pushes wait meanwhile"
    )


class GitRepository(Model):
    """A Git repository that applications come from."""

    url: Url = Field(description="its URL")
    user: str | None = Field(None, min_length=1, description="user of the secret git_token; none: anybody may read it")


class Argo(Model):
    """The Argo projects."""

    cd: bool = Field(True, description="Argo CD: what Git says is what runs")
    workflows: bool = Field(True, description="Argo Workflows: pipelines")
    events: bool = Field(True, description="Argo Events: webhooks that start them")
    repositories: dict[Name, GitRepository] = Field(
        {}, description="name to a Git repository that applications may come from; from others, nothing is deployed"
    )


class Summaries(Model):
    """A language model that summarises logs. Its key, where it wants one: the secret summary_api_key."""

    endpoint: Url = Field(description="base URL of an OpenAI-compatible API, such as https://llm.example.org/v1")
    model: str = Field(min_length=1, description="name of the model there")


class ExternalTarget(Model):
    """Something outside that is watched too, such as another cluster's exporter."""

    address: str = Field(pattern=r"^[a-z0-9.-]+:[0-9]{1,5}$", description="host:port")
    path: str = Field("/metrics", pattern=r"^/", description="where its metrics are")
    scheme: Literal["http", "https"] = Field("https", description="how it is asked")


class Monitoring(Component):
    """Prometheus, Alertmanager, Grafana, and alerts that end in a log-analysis workflow."""

    retention_days: int = Field(15, ge=1, le=400, description="days that metrics are kept")
    storage_gb: int = Field(20, ge=1, le=16000, description="GB of Prometheus' volume")
    targets: dict[Name, ExternalTarget] = Field({}, description="name to something outside that is watched too")
    summaries: Summaries | None = Field(None, description="who summarises logs; none: a plain digest")


class BackupStore(Model):
    """A bucket outside the cluster. Its keys are the secrets backup_access_key and backup_secret_key."""

    endpoint: Url = Field(description="URL of the S3 endpoint")
    bucket: str = Field(pattern=BUCKET, description="name of a bucket that exists")
    region: str = Field("us-east-1", min_length=1, description="its region")


class Backups(Model):
    """Copies of everything that is not in Git."""

    schedule: Cron = Field("0 1 * * *", description="when base backups and copies of buckets are made: cron, UTC")
    retention_days: int = Field(14, ge=1, le=400, description="days that they are kept")
    store: BackupStore | None = Field(
        None, description="bucket outside the cluster; none: the object store itself, which protects databases only"
    )
    archive: int = Field(1, ge=1, description="number of the archive that is written to: one more for each restore")
    restore: int | None = Field(
        None, ge=1, description="archive that new databases and buckets begin with; none: they begin empty"
    )


class Platform(Model):
    """What runs on the cluster before anybody's own workloads do."""

    domain: Domain = Field(description="domain of every service: mlflow.DOMAIN, argocd.DOMAIN and so on lead here")
    profile: Literal["default", "small"] = Field(
        "default", description="default: three nodes of 8 GiB; small: one node of 4 GiB"
    )
    storage_class: Name | None = Field(None, description="class of volumes; none: the cluster's default")
    rotation: int = Field(1, ge=1, description="raise it and run `up` for new passwords and keys everywhere")
    egress: tuple[Network, ...] = Field(
        (), description="networks that workflows may reach beside the platform; the metadata address never"
    )
    ingress: Ingress = Field(Ingress(), description="see its section")
    postgres: Postgres = Field(Postgres(), description="see its section")
    object_store: ObjectStore = Field(Minio(), description="see its section")
    mlflow: Mlflow = Field(Mlflow(), description="see its section")
    registry: RegistryComponent = Field(RegistryComponent(), description="see its section")
    argo: Argo = Field(Argo(), description="see its section")
    monitoring: Monitoring = Field(Monitoring(), description="see its section")
    backups: Backups = Field(Backups(), description="see its section")

    def host(self, service: str) -> str:
        """Host name of a service."""
        return f"{service}.{self.domain}"
