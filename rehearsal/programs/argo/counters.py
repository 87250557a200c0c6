"""What the stand-in for Argo Events counts, as Prometheus reads it."""

_counts: dict[str, int] = {}


def count(name: str, **labels: str) -> None:
    """One more."""
    text = ",".join(f'{key}="{value}"' for key, value in labels.items())
    key = f"{name}{{{text}}}"
    _counts[key] = _counts.get(key, 0) + 1


def metrics() -> str:
    """Everything."""
    return "".join(f"{key} {value}\n" for key, value in sorted(_counts.items()))
