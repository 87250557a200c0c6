"""The gate's decision from all measurements so far."""

from dataclasses import replace

from . import comparison, integration, load, resources
from .measurements import Measurements
from .settings import Settings
from .verdicts import Decision, Outcome


def judge(settings: Settings, measured: Measurements, last: bool = False) -> Decision:
    """Passed, failed, or undecided: then measure more for the tests that are, and ask again.

    `last` says that nothing more can be measured (no labelled samples are left, a pod cannot be read): what is
    undecided then has failed. Asking often does no harm: the same measurements give the same decision, and more of them
    do not change a verdict that was reached.
    """
    verdicts = (
        *integration.judge(settings.contract, measured),
        *resources.judge(settings.resources, measured.pods),
        *load.judge(settings, measured),
        *comparison.judge(settings, measured),
    )
    if last:
        verdicts = tuple(
            replace(verdict, outcome=Outcome.FAILED, reason=f"{verdict.reason}, and no more can be measured")
            if verdict.outcome is Outcome.UNDECIDED
            else verdict
            for verdict in verdicts
        )
    return Decision(verdicts)
