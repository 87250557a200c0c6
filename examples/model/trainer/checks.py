"""The tests of a trained model, as a pure decision. Standard library only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurements:
    """Of a model that was saved and loaded again."""

    accuracy: float
    """Share of the held-out pictures that it names right."""
    parameters: int
    same_when_loaded: bool
    """Whether the loaded model answers as the trained one."""


@dataclass(frozen=True)
class Bounds:
    """What is accepted, the bounds themselves too."""

    least_accuracy: float
    fewest_parameters: int
    most_parameters: int


def failures(measured: Measurements, bounds: Bounds) -> tuple[str, ...]:
    """Why a model must not be registered; none when it may."""
    found = []
    if not measured.same_when_loaded:
        found.append("the model answers differently once it is saved and loaded")
    if not bounds.fewest_parameters <= measured.parameters <= bounds.most_parameters:
        allowed = f"{bounds.fewest_parameters} to {bounds.most_parameters}"
        found.append(f"{measured.parameters} parameters, allowed are {allowed}")
    if not measured.accuracy >= bounds.least_accuracy:  # written so that NaN fails
        found.append(f"accuracy {measured.accuracy:.4f} on held-out pictures is below {bounds.least_accuracy}")
    return tuple(found)
