"""Releases: a pure model of what Git says each environment runs, and of how an event may change that.

Owns: the state, the rules of promotion and revert, the text of the files, and what MLflow's aliases must say. Does not
own: Git, MLflow, the clock, the manifests. Two promises hold after any events in any order, and are tested so:

- production runs only what passed the gate, by digest and model version, and (by policy) what a person approved;
- an event has its effect once, however often it is delivered.

A revert needs this package and the repository alone: no workflow engine, no build, no MLflow.
"""

from .aliases import AliasMove, Alignment, look, moved, moves, wanted
from .decide import Answer, Change, Plan, Policy, Record, StalePlanError, apply, decide, evidence_path
from .events import Abandoned, Approved, Built, Event, GateEnded, RevertRequested, Serving
from .files import changed_files, read_state, release_path, state_files
from .model import Act, Candidate, Environment, Evidence, Release, State, Tested, empty
from .strict import RecordError, parsed, read, written

__all__ = [
    "Abandoned",
    "Act",
    "AliasMove",
    "Alignment",
    "Answer",
    "Approved",
    "Built",
    "Candidate",
    "Change",
    "Environment",
    "Event",
    "Evidence",
    "GateEnded",
    "Plan",
    "Policy",
    "Record",
    "RecordError",
    "Release",
    "RevertRequested",
    "Serving",
    "StalePlanError",
    "State",
    "Tested",
    "apply",
    "changed_files",
    "decide",
    "empty",
    "evidence_path",
    "look",
    "moved",
    "moves",
    "parsed",
    "read",
    "read_state",
    "release_path",
    "state_files",
    "wanted",
    "written",
]
