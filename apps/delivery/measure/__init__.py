"""What the gate is told of a release: measured over the network, as ordinary functions. Standard library only.

Owns: how requests are sent and timed, how pods are watched, and when to measure more. Does not own: thresholds and
verdicts, which are the gate's; what follows from them; and how a release gets to where it is measured.
"""

from .cluster_api import ApiError, ClusterApi
from .comparison import ProductionError
from .connection import Connection, Server
from .load import Problem
from .resources import Where
from .run import Limits, Measured, Production, Target, run
from .samples import Sample, SamplesError
from .samples import read as read_samples

__all__ = [
    "ApiError",
    "ClusterApi",
    "Connection",
    "Limits",
    "Measured",
    "Problem",
    "Production",
    "ProductionError",
    "Sample",
    "SamplesError",
    "Server",
    "Target",
    "Where",
    "read_samples",
    "run",
]
