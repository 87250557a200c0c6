"""The gate: whether a release may leave staging, decided from measurements alone, with stated error rates.

Owns: thresholds, the statistics behind them, and verdicts in sentences. Does not own: how anything is measured, and
what follows from the decision. No clock, no chance, no network: the same measurements give the same decision.

At the default settings, of releases that break a rule by however little at most 1 % pass, and of good releases at most
5 % fail; what good means, and which kinds of error are not covered, stands in `settings`.
"""

from .decision import judge
from .measurements import Answer, MeasurementError, Measurements, Pair, PodUse
from .settings import Comparison, Contract, Errors, Load, Resources, Settings
from .verdicts import Decision, Figure, Outcome, Part, Test, Verdict

__all__ = [
    "Answer",
    "Comparison",
    "Contract",
    "Decision",
    "Errors",
    "Figure",
    "Load",
    "MeasurementError",
    "Measurements",
    "Outcome",
    "Pair",
    "Part",
    "PodUse",
    "Resources",
    "Settings",
    "Test",
    "Verdict",
    "judge",
]
