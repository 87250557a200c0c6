"""The steps that change what runs: ordinary functions, which the workflows and the command line call.

Owns: what a step is told and what it answers, the wait for an environment to serve, MLflow's aliases, the table of what
runs. Does not own: what an event may change (`releases`) and how Git is written (`repository`).

A revert needs Git and this package alone: no workflow engine, no MLflow, no cluster.
"""

from .acts import Outcome, abandoned, approve, built, gate_ended, releases, rendered, revert, serving
from .aliases import Aligned, align
from .errors import Code, StepError
from .overview import Row, Status, status, table
from .settings import Address, Mlflow, Settings, Waiting, read_settings

__all__ = [
    "Address",
    "Aligned",
    "Code",
    "Mlflow",
    "Outcome",
    "Row",
    "Settings",
    "Status",
    "StepError",
    "Waiting",
    "abandoned",
    "align",
    "approve",
    "built",
    "gate_ended",
    "read_settings",
    "releases",
    "rendered",
    "revert",
    "serving",
    "status",
    "table",
]
