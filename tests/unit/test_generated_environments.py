"""Environment files with every pair of options: previewed, deployed, and without a change the second time."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from rehearsal.environment import EnvironmentFile
from tests.unit import memory, options
from tests.unit.pairs import pairs_in

TOGETHER = 10
"""Files of one test, whose second deployment is one process."""
SHARE = slice(5, 6)
"""Of those that pair all options: what is deployed in the quick tests too."""


@cache
def rows() -> list[dict[str, int]]:
    """The choices of every file."""
    return options.rows()


def deploy(chosen: Sequence[dict[str, int]], folder: Path) -> None:
    """Preview, deploy and deploy again."""
    folders = []
    for number, row in enumerate(chosen):
        folders.append(folder / str(number))
        folders[-1].mkdir()
        tree = options.tree(row)
        file = EnvironmentFile.read(memory.write(folders[-1], tree))
        assert file.problems() == [], tree
        with memory.unasked():
            assert memory.engine(folders[-1]).preview().failures == (), tree
            assert memory.engine(folders[-1]).up().failures == (), tree
    assert memory.again(folders) == {str(one): [] for one in folders}


def test_every_pair_of_values_that_is_allowed_is_in_a_file() -> None:
    """Faults of configurations come from two options together far more often than from three."""
    found = {pair for row in rows() for pair in pairs_in(row)}
    assert found == options.pairs()
    assert len(rows()) == options.FILES


def test_some_generated_environments_change_nothing_the_second_time(tmp_path: Path) -> None:
    """The same for all of them: make test-long."""
    deploy(options.covered()[SHARE], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, options.FILES, TOGETHER))
def test_generated_environments_change_nothing_the_second_time(first: int, tmp_path: Path) -> None:
    """What is random, unordered or of this moment in an input would be a change of a stack that nobody changed."""
    deploy(rows()[first : first + TOGETHER], tmp_path)
