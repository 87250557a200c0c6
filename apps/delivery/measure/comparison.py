"""The candidate and production on the same labelled samples, one after the other, so that both meet the same weather.

Who is asked first alternates. A sample counts as soon as production has answered it: a candidate that does not is
wrong, and as slow as the longest wait.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..gate import Contract, MeasurementError, Pair
from .connection import Connection, Reply, Server
from .integration import TRIES, Patience
from .samples import HEADERS, Sample, label


class ProductionError(MeasurementError):
    """Production does not answer, so there is nothing to compare with."""


@dataclass(frozen=True)
class _Two:
    """A connection to each."""

    candidate: Connection
    production: Connection

    def ask(self, sample: Sample, seconds: float, *, candidate_first: bool) -> tuple[Reply, Reply]:
        """The candidate's answer, then production's."""
        order = (self.candidate, self.production) if candidate_first else (self.production, self.candidate)
        replies = [
            connection.ask("POST", "/predict", sample.body, seconds=seconds, headers=HEADERS) for connection in order
        ]
        new, old = replies if candidate_first else reversed(replies)
        return new, old

    def close(self) -> None:
        self.candidate.close()
        self.production.close()


def _answers(two: _Two, sample: Sample, patience: Patience, *, candidate_first: bool) -> tuple[Reply, Reply] | None:
    """Both are asked again where production did not answer; None when time is over."""
    cause = ""
    for attempt in range(TRIES):
        if attempt:
            patience.sleep(patience.pause)
        if not patience.fits(requests=2):
            return None
        new, old = two.ask(sample, patience.seconds, candidate_first=candidate_first)
        if old.status == 200:
            return new, old
        cause = old.problem if old.status is None else f"status {old.status}"
    remedy = "bring it back or revert it, then measure again"
    raise ProductionError(f"production does not answer sample {sample.name} ({cause}): {remedy}")


def compare(
    contract: Contract,
    candidate: Server,
    production: Server,
    samples: Sequence[Sample],
    *,
    patience: Patience,
    first: int = 0,
) -> Iterator[Pair]:
    """One pair for each sample, until time is over; `first` is the number of the first sample."""
    two = _Two(Connection(candidate), Connection(production))
    for number, sample in enumerate(samples, first):
        replies = _answers(two, sample, patience, candidate_first=number % 2 == 1)
        if replies is None:
            break
        new, old = replies
        yield Pair(
            sample.name,
            sample.truth,
            label(old.body, contract.label),
            label(new.body, contract.label) if new.status == 200 else "",
            old.ms,
            new.ms if new.status == 200 else 1000 * patience.seconds,
        )
    two.close()
