"""What measurements read: labelled samples, quantities of Kubernetes, and the text of /metrics."""

import json
from pathlib import Path

import pytest

from apps.delivery import measure
from apps.delivery.measure import cluster_api, resources
from tests.unit.test_delivery_measure_load import CLASSES


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("256Mi", 268435456),
        ("1.5Gi", 1610612736),
        ("500M", 500000000),
        ("128974848", 128974848),
        ("1e9", 1000000000),
        ("2k", 2000),
        ("1E", 10**18),
        ("128974848000m", 128974848),
    ],
)
def test_quantities_of_memory_are_read_as_kubernetes_reads_them(quantity: str, number: int) -> None:
    """A limit that is read too large hides a release that is close to its end."""
    assert cluster_api.in_bytes(quantity) == number


@pytest.mark.parametrize("quantity", ["", "lots", "256MiB", "-1", "Mi"])
def test_what_is_no_quantity_is_refused(quantity: str) -> None:
    """Read as 0 it would fail a good release for want of a limit."""
    with pytest.raises(measure.ApiError, match="is no quantity of Kubernetes"):
        cluster_api.in_bytes(quantity)


def test_memory_is_that_of_the_process_and_nothing_that_is_called_alike() -> None:
    """Help texts and maxima have its name too."""
    name = "process_resident_memory_bytes"
    alike = f"# HELP {name} 7\n{name}_max 8\nx_{name} 9\n"
    assert resources.resident(alike) is None
    assert resources.resident(f"{alike}{name} 1.2e+08\n") == 120_000_000


def lines(path: Path, *samples: str) -> Path:
    path.write_text("\n".join(samples) + "\n")
    return path


def test_samples_come_in_an_order_of_their_own(tmp_path: Path) -> None:
    """A file that is sorted by class would give the first round one class only; and the order must not be chosen."""
    written = [json.dumps({"body": {"n": i}, "truth": CLASSES[i // 20]}) for i in range(60)]
    one = measure.read_samples(lines(tmp_path / "one", *written), set(CLASSES))
    other = measure.read_samples(lines(tmp_path / "other", *reversed(written), ""), set(CLASSES))
    assert [sample.body for sample in one] == [sample.body for sample in other]
    assert {sample.truth for sample in one[:12]} == set(CLASSES)
    assert json.loads(one[0].body) == json.loads(written[int(one[0].name) - 1])["body"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "samples.jsonl:2: is not JSON"),
        ("[]", 'samples.jsonl:2: must be {"body": ..., "truth": "name of a class"}'),
        ('{"body": 2}', "samples.jsonl:2: must be"),
        ('{"body": 2, "truth": "Shoe"}', 'samples.jsonl:2: truth = "Shoe": must be one of: Bread, Egg, Soup'),
        ('{"body": 2, "truth": 3}', "samples.jsonl:2: truth = 3: must be one of"),
        ('{"body": 1, "truth": "Egg"}', "samples.jsonl:2: the body of line 1 again; keep one"),
    ],
)
def test_samples_that_cannot_be_used_are_refused_by_line(line: str, message: str, tmp_path: Path) -> None:
    """A wrong label counts against every release, and a doubled sample as evidence that it is not."""
    path = lines(tmp_path / "samples.jsonl", '{"body": 1, "truth": "Egg"}', line)
    with pytest.raises(measure.SamplesError) as raised:
        measure.read_samples(path, set(CLASSES))
    assert str(raised.value).startswith(message)


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    """Then nothing can be asked."""
    with pytest.raises(measure.SamplesError, match="is empty"):
        measure.read_samples(lines(tmp_path / "samples.jsonl"), set(CLASSES))
