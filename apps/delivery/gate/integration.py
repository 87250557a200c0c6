"""Does it serve the version that was deployed, and answer as the contract says?"""

import json
from collections.abc import Iterator, Mapping

from .figures import counted
from .measurements import Answer, Measurements
from .settings import Contract
from .verdicts import Figure, Outcome, Test, Verdict

TRY_AGAIN = frozenset({408, 429})
"""Statuses that, like those from 500 on, say nothing of the contract: how many of them there may be is the load test's
question."""


def _version(measured: Measurements) -> Verdict:
    expected = measured.expected_version
    if not measured.served_versions:
        return Verdict(Test.VERSION, Outcome.FAILED, f"no version is served, version {expected} is expected")
    others = sorted({version for version in measured.served_versions if version != expected})
    if others:
        reason = f"version {', '.join(others)} is served, version {expected} is expected"
        return Verdict(Test.VERSION, Outcome.FAILED, reason)
    return Verdict(Test.VERSION, Outcome.PASSED, f"version {expected} is served, as expected")


def violation(contract: Contract, answer: Answer) -> str | None:
    """What is wrong with an answer that came, or None."""
    if answer.status != 200:
        return f"status {answer.status}"
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        body = None
    return _in_body(contract, body) if isinstance(body, dict) else "a body that is no JSON object"


def _in_body(contract: Contract, body: Mapping[str, object]) -> str | None:
    missing = [key for key in (contract.label, contract.probability) if key not in body]
    if missing:
        return f"no {' and no '.join(missing)}"
    label, probability = body[contract.label], body[contract.probability]
    if not isinstance(label, str) or label not in contract.classes:
        return f"{contract.label} {json.dumps(label)[:60]}, which is none of the {len(contract.classes)} known"
    if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability <= 1:
        return f"{contract.probability} {json.dumps(probability)[:60]}, which is no number from 0 to 1"
    return None


def _answered(answer: Answer) -> bool:
    return answer.status is not None and answer.status < 500 and answer.status not in TRY_AGAIN


def _contract(contract: Contract, measured: Measurements) -> Verdict:
    answered = [answer for answer in measured.answers if _answered(answer)]
    figures = (Figure("answered", len(answered)), Figure("attempts", len(measured.answers)))
    for answer in answered:
        wrong = violation(contract, answer)
        if wrong is not None:
            return Verdict(Test.CONTRACT, Outcome.FAILED, f"sample {answer.sample} is answered with {wrong}", figures)
    if len(answered) >= contract.samples:
        reason = f"{counted(len(answered), 'sample')} answered as the contract says"
        return Verdict(Test.CONTRACT, Outcome.PASSED, reason, figures)
    reason = f"{len(answered)} of {counted(len(measured.answers), 'request')} answered, {contract.samples} are needed"
    spent = len(measured.answers) >= contract.attempts
    return Verdict(Test.CONTRACT, Outcome.FAILED if spent else Outcome.UNDECIDED, reason, figures)


def judge(contract: Contract, measured: Measurements) -> Iterator[Verdict]:
    """The verdicts of this part."""
    yield _version(measured)
    yield _contract(contract, measured)
