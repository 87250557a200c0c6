"""Parts of the applications that are off until an environment asks for them."""

from typing import Annotated, Any

from pydantic import Field

from config.fields import ImageName, Model, Name

Quantity = Annotated[str, Field(pattern=r"^[1-9][0-9]*(Mi|Gi)$")]


class LoadTest(Model):
    """Locust: a page on which people let many clients ask an environment at once, at https://load-test.DOMAIN."""

    environment: Name | None = Field(None, description="environment that is asked; none: the first")
    bodies: tuple[dict[str, Any], ...] = Field(
        min_length=1,
        description="what /predict is sent, in turn: a `body` of the repository's samples.jsonl, or several",
    )
    memory: Quantity = Field("512Mi", description="memory at which it ends")


class Exploration(Model):
    """A Streamlit page of runs, versions, aliases and metrics in MLflow, at https://exploration.DOMAIN."""

    image: ImageName = Field(
        description="an image with Python and Streamlit, as examples/exploration makes one; its digest: images.digests"
    )
    memory: Quantity = Field("512Mi", description="memory at which it ends")


class Ray(Model):
    """A Ray cluster for trainings: its dashboard at https://ray.DOMAIN, its clients in workflows only."""

    workers: int = Field(1, ge=0, le=100, description="pods that run tasks; 0: none, for now")
    cpu: int = Field(1, ge=1, le=256, description="cores that each of them asks for and offers to tasks")
    memory_gb: int = Field(4, ge=2, le=4096, description="GB at which each ends; a quarter is for shared objects")
    gpu: bool = Field(False, description="whether each gets a GPU")
    head_memory_gb: int = Field(3, ge=2, le=256, description="GB at which the head ends, which runs no task")
    image: ImageName | None = Field(
        None,
        description="an image with the pinned Ray and what trainings need; none: upstream's. Digest: images.digests",
    )
