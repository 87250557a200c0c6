"""What is asked and answered, as types: FastAPI refuses what does not fit with status 422."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from digits.picture import FULL, PIXELS

Pixel = Annotated[int, Field(strict=True, ge=0, le=FULL)]


class Picture(BaseModel):
    """A picture to name."""

    model_config = ConfigDict(extra="forbid")

    pixels: Annotated[list[Pixel], Field(min_length=PIXELS, max_length=PIXELS)]
    """In rows from the top left."""


class Prediction(BaseModel):
    """What the model says of a picture."""

    label: str
    """The most likely class."""
    probability: float
    """Of that class."""
    probabilities: dict[str, float]
    """Of every class; they sum to 1."""
    model_version: str


class Version(BaseModel):
    """What is served."""

    model_version: str
    model: str
    revision: str


class Health(BaseModel):
    """Whether requests should come here."""

    status: str
