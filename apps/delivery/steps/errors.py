"""How a step ends."""

from enum import IntEnum


class Code(IntEnum):
    """Exit codes of all steps."""

    DONE = 0
    UNEXPECTED = 1
    """Trying again may help."""
    WRONG = 2
    """What the step was told, or what it found, is wrong: trying again does not help."""
    FAILED = 3
    """The gate said no."""
    LATER = 4
    """Something else is under test."""


class StepError(RuntimeError):
    """A step did not reach its end."""

    def __init__(self, reason: str, code: Code = Code.UNEXPECTED) -> None:
        """Say why, in one sentence."""
        super().__init__(reason)
        self.code = code
