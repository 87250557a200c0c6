"""A cluster as a place to which the Argo CD of another stack deploys."""

from typing import Annotated

from pydantic import Field

from config.fields import Model, Name

StackName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")]


class Edge(Model):
    """This cluster as one of the edge: it registers itself with the platform of another stack."""

    hub: StackName = Field(
        description="stack whose Argo CD deploys here, as ORGANIZATION/PROJECT/STACK: organization/leasehold/dev"
    )
    namespaces: tuple[Name, ...] = Field(
        min_length=1, description="namespaces, made here, in which it may make what applications need"
    )
