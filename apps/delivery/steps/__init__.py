"""The steps that change what runs: ordinary functions, which the workflows and the command line call.

Owns: what a step is told and what it answers, what a release is made of, the wait for an environment to serve, MLflow's
aliases and tags, the table of what runs. Does not own: what an event may change (`releases`), how Git is read and
written (`repository`), how a release is measured (`measure`) and judged (`gate`).

A revert needs Git and this package alone: no workflow engine, no MLflow, no cluster.
"""

from .acts import Outcome, abandoned, approve, built, deploy, gate_ended, releases, rendered, revert, serving
from .aliases import Aligned, align
from .ending import Finished, finish
from .errors import Code, StepError
from .made import make_release
from .overview import Row, Status, status, table
from .record import Recorded, Tag, record
from .settings import Address, Drift, Mlflow, Settings, Waiting, read_settings
from .source import CheckedOut, checkout
from .testing import Trial, judge

__all__ = [
    "Address",
    "Aligned",
    "CheckedOut",
    "Code",
    "Drift",
    "Finished",
    "Mlflow",
    "Outcome",
    "Recorded",
    "Row",
    "Settings",
    "Status",
    "StepError",
    "Tag",
    "Trial",
    "Waiting",
    "abandoned",
    "align",
    "approve",
    "built",
    "checkout",
    "deploy",
    "finish",
    "gate_ended",
    "judge",
    "make_release",
    "read_settings",
    "record",
    "releases",
    "rendered",
    "revert",
    "serving",
    "status",
    "table",
]
