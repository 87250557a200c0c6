"""What the model learns to say of a picture: how large the digit is.

Bad on purpose: this trains well and passes its own tests, but clients expect the names of ten digits.
"""

LABELS = ("low", "middle", "high")


def label(digit: int) -> int:
    """Position in LABELS for a picture of a digit."""
    return min(digit // 4, 2)
