"""Train, test and register: `python -m trainer --result FILE`. The exit codes are in README.md."""

import argparse
import os
import sys
import time
from pathlib import Path

from trainer import architecture, checks, fit, registry, settings, task
from trainer.result import Result

FAILED_ITS_TESTS = 3


def run(given: settings.Settings) -> Result:
    """Train this revision; only a model that passes its tests is registered."""
    began = time.perf_counter()
    data = fit.split()
    trained = fit.train(data)
    measured = fit.measure(trained, data)
    bounds = checks.Bounds(architecture.LEAST_ACCURACY, *architecture.PARAMETERS)
    reason = "; ".join(checks.failures(measured, bounds))
    metrics = {
        "accuracy": measured.accuracy,
        "parameters": float(measured.parameters),
        "seconds": round(time.perf_counter() - began, 3),
    }
    parameters = {
        "hidden": architecture.HIDDEN,
        "epochs": architecture.EPOCHS,
        "learning_rate": architecture.LEARNING_RATE,
        "seed": architecture.SEED,
        "classes": ",".join(task.LABELS),
    }
    run_id = registry.log(given, parameters, metrics, reason)
    version, digest = (None, None) if reason else registry.register(given, run_id, trained)
    return Result(not reason, reason, given.model, version, run_id, given.revision, digest, metrics)


def main(words: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m trainer")
    parser.add_argument("--result", type=Path, required=True, help="file to write the outcome to, as JSON")
    arguments = parser.parse_args(words)
    try:
        given = settings.of(os.environ)
    except settings.SettingsError as problem:
        parser.error(str(problem))
    result = run(given)
    result.write(arguments.result)
    print(f"version {result.model_version} of {result.model}" if result.passed else f"failed: {result.reason}")
    return 0 if result.passed else FAILED_ITS_TESTS


if __name__ == "__main__":
    sys.exit(main())
