"""Whether a step that did not succeed is run again, and when. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.programs.argo import expressions
from rehearsal.programs.argo.expressions import ExpressionError
from rehearsal.programs.argo.variables import seconds

KEYS = {"limit", "retryPolicy", "backoff", "expression"}
BACKOFF = {"duration", "factor", "maxDuration", "cap"}
TRIED: Mapping[str, tuple[str, ...]] = {
    "Always": ("Failed", "Error"),
    "OnError": ("Error",),
    "OnFailure": ("Failed",),
    # Which errors pass by themselves is guessed by their texts; here all of them do.
    "OnTransientError": ("Error",),
}

FIRST: Mapping[str, str] = {
    "lastRetry.exitCode": "0",
    "lastRetry.status": "",
    "lastRetry.duration": "0",
    "lastRetry.message": "",
    "retries": "0",
}
"""What the names are of an expression, and of a step's texts, before there was a try."""


@dataclass(frozen=True)
class Next:
    """What becomes of it."""

    wait: float = 0.0
    """Seconds until then."""
    over: str | None = None
    """Why it is not run again; None: it is."""


def strange(strategy: Mapping[str, Any]) -> list[str]:
    """Fields that would be left out."""
    backoff = strategy.get("backoff") or {}
    unknown = [f"retryStrategy.{key}" for key in set(strategy) - KEYS]
    unknown += [f"retryStrategy.backoff.{key}" for key in set(backoff) - BACKOFF]
    unknown += [] if policy(strategy) in TRIED else [f"retryStrategy.retryPolicy {policy(strategy)}"]
    try:
        expressions.holds(strategy.get("expression") or "", FIRST)
    except ExpressionError as error:
        unknown.append(f"retryStrategy.expression {error}")
    return sorted(unknown)


def policy(strategy: Mapping[str, Any]) -> str:
    """After what a step is run again. Where an expression decides, it decides alone."""
    return str(strategy.get("retryPolicy") or ("Always" if strategy.get("expression") else "OnFailure"))


def last(phase: str, message: str, exit_code: str, *, tries: int, seconds: float) -> Mapping[str, str]:
    """The names of an expression after some tries, the last of which took some seconds."""
    return {
        "lastRetry.exitCode": exit_code or "-1",
        "lastRetry.status": phase,
        "lastRetry.duration": f"{seconds:g}",
        "lastRetry.message": message,
        "retries": str(tries - 1),
    }


def following(strategy: Mapping[str, Any], known: Mapping[str, str], *, tries: int, since: float) -> Next:
    """After some tries, of the last of which this is `known`, and the first of which began some seconds ago.

    Argo Workflows waits before it looks at the policy: a step that is not run again fails after that time, too.
    Raises ExpressionError.
    """
    backoff = strategy.get("backoff") or {}
    limit = int(strategy["limit"]) if strategy.get("limit") is not None else None
    wait = 0.0
    if backoff:
        wait = seconds(backoff["duration"]) * float(backoff.get("factor") or 1) ** (tries - 1)
        if backoff.get("cap"):
            wait = min(wait, seconds(backoff["cap"]))
        if backoff.get("maxDuration"):
            left = seconds(backoff["maxDuration"]) - since
            if left < 0:
                return Next(over="Max duration limit exceeded")
            if wait > left:
                return Next(over="Backoff would exceed max duration limit")
        if limit is None or tries > limit:
            wait = 0.0
    if known["lastRetry.status"] not in TRIED[policy(strategy)]:
        return Next(wait, known["lastRetry.message"])
    if limit is not None and tries > limit:
        return Next(wait, "No more retries left")
    if not expressions.holds(strategy.get("expression") or "", known):
        return Next(wait, "retryStrategy.expression evaluated to false")
    return Next(wait)
