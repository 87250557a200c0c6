"""Releases do not wait for each other unless they use each other."""

import pytest

from tests.releases import longest_chain
from tests.unit import platforms


@pytest.mark.parametrize("form", sorted(platforms.CHANGES))
def test_no_more_than_three_releases_wait_for_each_other(form: str) -> None:
    """Each link is an install that waits for its pods: a chain is the time that no machine shortens."""
    chain = longest_chain(platforms.recorded(form))
    assert 1 <= len(chain) <= 3, chain
