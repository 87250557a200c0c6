"""Is the candidate right about as often as production, on the same labelled samples?

Only samples on which exactly one of the two is right say something, and how many there are is not known beforehand. So
the test is a bet (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting"): each sample is
worth +1 (gained: only the candidate is right), -1 (lost: only production is) or 0. One purse bets that the mean lies
above -margin, another that it lies below 0, each against the other's claim, with fair stakes. If a claim is true, the
purse that bets against it grows to 1/error only with a chance of `error` at most, whenever one looks and however many
samples disagree (Ville's inequality). A purse that got there settles the test:

- a candidate whose true accuracy is lower by `margin` or more passes with a chance of `false_pass` at most;
- one whose true accuracy is not lower fails by evidence with a chance of `false_fail` at most.

A test that is not settled when the samples end has failed: the burden of proof is the candidate's. How often that hits
a good candidate depends on how many samples disagree, and no bound holds for all cases. Simulated with the default
margin of 5 points and 1,000 samples: 0.1 % where 4 % of the samples disagree, 1 % where 8 % do, 3 % where 10 % do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

from .verdicts import Outcome

GUESS = (5, 50)
"""Before anything is known: as if 5 of 50 samples had disagreed."""
BOLDEST = 0.95
"""The share of the purse that one sample may cost; at 1, one lost sample would end every hope."""


@dataclass(frozen=True)
class Round:
    """What one round of samples gave."""

    lost: int
    same: int
    gained: int


@dataclass(frozen=True)
class Bet:
    """The terms of the test."""

    margin: float
    samples: int
    """How many there are at most; the stakes are the best ones for this end."""
    false_pass: float
    false_fail: float


def _stake(error: float, samples: int, disagreeing: float) -> float:
    """The stake that most likely wins 1/error by the end, where this share of samples disagrees."""
    return sqrt(2 * log(1 / error) / (samples * disagreeing))


def assess(bet: Bet, rounds: Sequence[Round]) -> Outcome:
    """Settle the bet round by round; a round's stakes come from the rounds before it, or the bet would not be fair."""
    disagreed, seen = GUESS
    for_candidate = against = 0.0  # logarithms of the two purses
    for result in rounds:
        stake = min(_stake(bet.false_pass, bet.samples, disagreed / seen), BOLDEST / (1 - bet.margin))
        for_candidate += result.gained * log(1 + stake * (1 + bet.margin))
        for_candidate += result.same * log(1 + stake * bet.margin)
        for_candidate += result.lost * log(1 - stake * (1 - bet.margin))
        stake = min(_stake(bet.false_fail, bet.samples, disagreed / seen), BOLDEST)
        against += result.gained * log(1 - stake) + result.lost * log(1 + stake)
        disagreed += result.lost + result.gained
        seen += result.lost + result.same + result.gained
        if for_candidate >= log(1 / bet.false_pass):
            return Outcome.PASSED
        if against >= log(1 / bet.false_fail):
            return Outcome.FAILED
    return Outcome.FAILED if seen - GUESS[1] >= bet.samples else Outcome.UNDECIDED
