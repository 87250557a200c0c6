"""Random years of leases under a fast clock: whatever ends, only what sat on it is touched, and one `up` repairs it."""

import random
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from rehearsal.engine import Summary
from rehearsal.engine.model import name_of
from tests.environments import changed, cluster_only, complete
from tests.unit import memory
from tests.unit.leases import Clock, Story, at

SEED = 20261129
SCHEDULES, SHARE, TOGETHER, EVENTS = 500, 2, 10, 4
"""Years in all; those of every run; of one test; what befalls the leases in each."""
DAY = 24


def nodes() -> dict[str, str]:
    """Node to its lease, in the shipped environment."""
    return {name: node["lease"] for name, node in cluster_only()["infra"]["nodes"].items()}


def touched(summary: Summary) -> set[str]:
    """Names of what was made, changed, replaced or removed."""
    return {name_of(step.urn) for step in summary.steps if step.op not in ("same", "read")}


def sat_on(name: str, ended: set[str]) -> bool:
    """Whether a resource is a lease that ended, or of a node on it; what lies on a data volume stays."""
    if name in ended:
        return True
    return any((lease in ended and name.startswith(f"{node}-")) or name == node for node, lease in nodes().items())


def told(folder: Path, seed: int) -> Story:
    """A deployed environment, at the beginning of its year."""
    folder.mkdir()
    leases = cluster_only()["infra"]["leases"]

    def write(hours: Mapping[str, int]) -> None:
        lengths = {f"infra.leases.{name}.hours": length for name, length in hours.items()}
        memory.write(folder, changed(complete(cluster_only()), lengths))

    made = Story(folder, {name: one["hours"] for name, one in leases.items()}, write, random.Random(seed))  # noqa: S311
    write(made.hours)
    return made


def healed(story: Story, ended: set[str]) -> None:
    """One `up` brings back what is missing, and touches only what sat on `ended`; the next one changes nothing."""
    missing = story.ended()
    summary = story.up()
    assert summary.failures == (), summary.failures
    assert not story.ended()
    strangers = {name for name in touched(summary) if not sat_on(name, ended)}
    assert strangers == set(), (ended, strangers)
    assert missing <= touched(summary)
    assert touched(story.up()) == set()


def expiry(story: Story) -> None:
    """One of the leases ends, or both."""
    story.passes(story.chance.uniform(0, 1.1) * max(story.hours.values()))
    healed(story, story.ended())


def expiry_in_the_middle(story: Story) -> None:
    """While servers are made for one that ended, another one ends, or the new one itself."""
    story.passes(min(story.hours.values()) * 1.01)
    ended = story.ended()
    jump = iter([story.chance.uniform(0.5, 1.5) * max(story.hours.values())])

    def later() -> None:
        story.passes(next(jump, 0))
        ended.update(story.ended())  # the same run may renew what it has not come to yet

    summary = story.up(later)
    ended |= story.ended()
    assert {name for name in touched(summary) if not sat_on(name, ended)} == set()
    if story.ended():
        healed(story, ended)


def a_refused_extension(story: Story) -> None:
    """The site says no: nothing is touched, the error has the remedy, and the old length is no change."""
    lease = story.chance.choice(sorted(story.hours))
    story.site.refusing = True
    story.write({**story.hours, lease: story.hours[lease] + DAY})
    summary = story.up()
    story.site.refusing = False
    assert [name_of(failure.urn) for failure in summary.failures] == [lease]
    assert "--replace URN" in summary.failures[0].cause
    assert touched(summary) - {lease} == set()
    story.write(story.hours)
    assert touched(story.up()) - {lease} == set()
    assert touched(story.up()) == set()


def an_extension(story: Story) -> None:
    """The end moves, and with it when its agents leave; nothing else does."""
    lease = story.chance.choice(sorted(story.hours))
    story.hours[lease] += DAY
    story.write(story.hours)
    summary = story.up()
    assert summary.failures == ()
    leaving = {f"{node}-leave" for node, its in nodes().items() if its == lease}
    assert touched(summary) - leaving == {lease}


def a_day_without_the_gpu(story: Story) -> None:
    """No capacity for a day: each `up` says so and leaves everybody else alone; then one brings it back."""
    story.passes(story.hours["gpu"] * 1.01)
    story.site.full_until[story.name("gpu")] = Clock.present + timedelta(hours=DAY)
    ended: set[str] = set()
    for _ in range(2):
        ended |= story.ended()
        summary = story.up()
        assert "not enough resources" in " ".join(str(failure) for failure in summary.failures)
        assert {name for name in touched(summary) if not sat_on(name, ended)} == set()
        story.passes(1)
    story.passes(DAY)
    healed(story, ended | story.ended())


EVENT = (expiry, expiry_in_the_middle, a_refused_extension, an_extension, a_day_without_the_gpu)


def years(first: int, count: int, folder: Path) -> None:
    """Live through some of them."""
    for number in range(first, first + count):
        story = told(folder / str(number), SEED + number)
        with at(story.site):
            assert story.up().failures == ()
            for _ in range(EVENTS):
                story.chance.choice(EVENT)(story)
                if story.ended():  # as time passes between two events
                    healed(story, story.ended())


def test_whatever_ends_only_what_sat_on_it_is_touched(tmp_path: Path) -> None:
    """A share of the years, for every change."""
    years(0, SHARE, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, SCHEDULES, TOGETHER))
def test_in_every_year_only_what_sat_on_an_ended_lease_is_touched(first: int, tmp_path: Path) -> None:
    """Statement 4: expiry before and in an `up`, extensions that are granted and refused, a day without capacity."""
    years(first, TOGETHER, tmp_path)
