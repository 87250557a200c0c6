"""Where a model runs, and what lets a release of it into production."""

from typing import Annotated, Literal

from pydantic import Field

from config.fields import Model, Name

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*(Mi|Gi)$")]
Cores = Annotated[str, Field(pattern=r"^([0-9]+(\.[0-9]+)?|[1-9][0-9]*m)$")]


class Target(Model):
    """One environment that a release runs in."""

    replicas: int = Field(1, ge=1, le=100, description="pods, at least")
    most: int | None = Field(None, ge=1, le=100, description="pods at most, by load; none: always as many as replicas")
    cpu: Cores = Field("100m", description="cores that each pod asks for")
    memory: Memory = Field("256Mi", description="memory that each pod asks for, and at which it ends")
    node_port: int | None = Field(
        None, ge=30000, le=32767, description="port of the nodes that leads to it; none: none"
    )


class Releases(Model):
    """How releases get into production."""

    promotion: Literal["approval", "automatic"] = Field(
        "approval", description="approval: a person lets a tested release into production; automatic: nobody need"
    )
    canary_weight: int = Field(10, ge=0, le=50, description="percent of production's requests that the canary answers")


class Apps(Model):
    """One model in its environments."""

    model: ModelName = Field("GourmetGramFood11Model", description="name of the registered model in MLflow")
    environments: dict[Name, Target] = Field(
        {"staging": Target(), "canary": Target(replicas=2), "production": Target(replicas=2)},
        min_length=2,
        description="name to an environment and namespace: the gate's first, production last",
    )
    releases: Releases = Field(Releases(), description="see its section")
    git_storage_gb: int = Field(2, ge=1, le=1000, description="GB of the volume of the stack's own Git server")
