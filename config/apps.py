"""A model from its repository to production: where it comes from, where it runs, and what lets it through."""

from typing import Annotated, Literal

from pydantic import Field

from config.extras import Exploration, LoadTest, Quantity, Ray
from config.fields import Cron, Model, Name, Url

SOURCE_TOKEN = "source_token"  # noqa: S105  the name of a key
Branch = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$")]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Cores = Annotated[str, Field(pattern=r"^([0-9]+(\.[0-9]+)?|[1-9][0-9]*m)$")]


class Source(Model):
    """The model's repository. What it must hold: examples/model/README.md. Its token: the secret source_token."""

    url: Url | None = Field(
        None, description="its https URL; none: the repository `model` of the stack's own Git server"
    )
    branch: Branch = Field("main", description="branch whose new commits go through the pipeline")
    user: str | None = Field(None, min_length=1, description="user of the token; none: anybody may read it")


class Training(Model):
    """What a training gets."""

    cpu: Cores = Field("500m", description="cores that it asks for")
    memory: Quantity = Field("1Gi", description="memory at which it ends")
    gpu: bool = Field(False, description="whether it gets a GPU")
    minutes: int = Field(60, ge=1, le=1440, description="so long at most")


class Target(Model):
    """One environment that a release runs in."""

    replicas: int = Field(1, ge=1, le=100, description="pods, at least")
    most: int | None = Field(None, ge=1, le=100, description="pods at most, by load; none: always as many as replicas")
    cpu: Cores = Field("100m", description="cores that each pod asks for")
    memory: Quantity = Field("256Mi", description="memory that each pod asks for, and at which it ends")
    node_port: int | None = Field(
        None, ge=30000, le=32767, description="port of the nodes that leads to it; none: none"
    )


class Gate(Model):
    """What a release must show before it goes on. Its error rates: docs/delivery.md."""

    classes: tuple[str, ...] = Field(min_length=1, description="names of the classes that the model may answer")
    requests: int = Field(100, ge=20, le=10000, description="requests in a round of load")
    concurrency: int = Field(10, ge=1, le=200, description="at a time")
    success: float = Field(0.95, gt=0, lt=1, description="more than this share must be answered")
    p95_ms: float = Field(2000, gt=0, description="95 % of requests must take less, in ms")
    memory_share: float = Field(0.9, gt=0, lt=1, description="of its limit that a pod may use under load")
    accuracy_margin: float = Field(0.05, gt=0, lt=1, description="so much less accurate than production at most")


class Drift(Model):
    """When what production is asked has changed so much that the model is trained again."""

    schedule: Cron = Field("30 3 * * *", description="when it is looked at: cron, UTC")
    hours: int = Field(24, ge=1, le=720, description="of predictions that are looked at")
    index: float = Field(
        0.2, gt=0, le=10, description="population stability index of the predicted classes: drift from here on"
    )
    predictions: int = Field(500, ge=50, description="fewer say nothing")


class Releases(Model):
    """How releases get into production."""

    promotion: Literal["approval", "automatic"] = Field(
        "approval", description="approval: a person lets a tested release into production; automatic: nobody need"
    )
    canary_weight: int = Field(10, ge=0, le=50, description="percent of production's requests that the canary answers")


class Apps(Model):
    """One model, from a commit to production."""

    model: ModelName = Field("GourmetGramFood11Model", description="name of the registered model in MLflow")
    source: Source = Field(Source(), description="see its section")
    training: Training = Field(Training(), description="see its section")
    environments: dict[Name, Target] = Field(
        {"staging": Target(), "canary": Target(replicas=2), "production": Target(replicas=2)},
        min_length=2,
        description="name to an environment and namespace: the gate's first, production last",
    )
    gate: Gate = Field(description="see its section")
    releases: Releases = Field(Releases(), description="see its section")
    webhook: bool = Field(
        False, description="GitHub starts the pipeline at each push to source.branch, by https://hooks.DOMAIN/github"
    )
    schedule: Cron | None = Field(
        "0 2 * * *", description="when the newest commit is trained again: cron, UTC; none: never by the clock"
    )
    drift: Drift | None = Field(None, description="look for drift, and train again where there is; none: do not")
    git_storage_gb: int = Field(2, ge=1, le=1000, description="GB of the volume of the stack's own Git server")
    cache_gb: int = Field(10, ge=1, le=1000, description="GB that builds keep to be faster")
    load_test: LoadTest | None = Field(None, description="a page that puts load on an environment; none: there is none")
    exploration: Exploration | None = Field(
        None, description="a page that shows runs and versions; none: there is none"
    )
    ray: Ray | None = Field(None, description="a Ray cluster for trainings; none: there is none")
