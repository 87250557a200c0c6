"""A site with a clock that tests move: leases begin, end and are refused, and the servers on them go with them."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from infra import blazar, lease, login
from rehearsal.engine import Engine, Summary
from rehearsal.engine.dynamic import Dynamic
from rehearsal.engine.model import name_of
from rehearsal.protocol import Call, Props, Provider, ProviderError, Result
from rehearsal.providers import RESOURCES
from tests.unit import memory

LEASE = "pulumi-python:dynamic/infra:Lease"
INSTANCE = "openstack:compute/instance:Instance"


class Clock(datetime):
    """The time of the site and of the program that asks it."""

    present: ClassVar[datetime] = datetime(2026, 1, 1, tzinfo=UTC)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        """The test's time."""
        assert tz is UTC
        return cls.present


@dataclass
class Site:
    """Blazar's answers, as infra.blazar.Blazar gives them, and what befalls the leases."""

    leases: dict[str, dict[str, Any]] = field(default_factory=dict)
    full_until: dict[str, datetime] = field(default_factory=dict)
    """Name of a lease to when there is capacity for it again."""
    refusing: bool = False
    """Whether extensions are refused: the capacity is promised to others."""
    ids: Iterator[int] = field(default_factory=itertools.count)

    def live(self, id_: str) -> dict[str, Any] | None:
        """A lease that has not ended."""
        found = self.leases.get(id_)
        ended = found is None or blazar.parse_time(found["end_date"]) <= Clock.present
        return None if ended else found

    def get(self, id_: str) -> dict[str, Any] | None:
        """It, TERMINATED after its end; some sites remove it then."""
        found = self.leases.get(id_)
        return found and {**found, "status": "ACTIVE" if self.live(id_) else "TERMINATED"}

    def find(self, name_or_id: str) -> dict[str, Any] | None:
        """The live one of that id or name."""
        found = [one for id_, one in self.leases.items() if name_or_id in (id_, one["name"]) and self.live(id_)]
        assert len(found) <= 1, "a lease was made twice"
        return found[0] if found else None

    def create(self, name: str, _start: str | None, end: str, _what: list[dict[str, Any]]) -> dict[str, Any]:
        """Reserve, from now on."""
        if self.full_until.get(name, Clock.present) > Clock.present:
            raise blazar.BlazarError(f"POST /leases was answered 400: not enough resources for {name}")
        id_ = f"lease-{next(self.ids)}"
        start = blazar.format_time(Clock.present)
        made = {"id": id_, "name": name, "status": "ACTIVE", "start_date": start, "end_date": end}
        self.leases[id_] = {**made, "reservations": [{"id": f"of-{id_}", "resource_type": "flavor:instance"}]}
        return self.leases[id_]

    def wait(self, id_: str, _timeout: float) -> dict[str, Any]:
        """It is ACTIVE at once."""
        found = self.get(id_)
        if found is None or found["status"] != "ACTIVE":
            raise blazar.BlazarError(f"lease {id_} is gone before it was ACTIVE")
        return found

    def extend(self, id_: str, end: str) -> None:
        """Move the end."""
        if self.refusing or not self.live(id_):
            raise blazar.BlazarError("PUT was answered 409: the capacity is promised to others")
        self.leases[id_]["end_date"] = end

    def delete(self, id_: str, _timeout: float) -> None:
        """End it."""
        self.leases.pop(id_, None)


class OnLease(memory.Memory):
    """Servers that are there while their lease is."""

    def __init__(self, rehearsed: Provider, site: Site) -> None:
        """Stand in for a provider at a site."""
        super().__init__(rehearsed)
        self._site = site
        self.created: Callable[[], None] = lambda: None

    def create(self, call: Call, news: Props) -> Result:
        """Refused where the reservation has ended."""
        self.created()
        if not self._runs(news):
            raise ProviderError(f"{name_of(call.urn)}: no valid host was found: the reservation has ended")
        return super().create(call, news)

    def read(self, call: Call, olds: Result) -> Result | None:
        """None when the site has deleted it with its lease."""
        return super().read(call, olds) if self._runs(olds.inputs or {}) else None

    def _runs(self, props: Props) -> bool:
        flavor = str(props.get("flavorId", ""))
        return not flavor.startswith("of-") or self._site.live(flavor.removeprefix("of-")) is not None


@contextmanager
def at(site: Site) -> Iterator[None]:
    """Let the program's leases be those of a site with a clock."""
    with ExitStack() as stack:
        stack.enter_context(memory.unasked())
        for where, name, value in (
            (lease, "datetime", Clock),
            (login, "connect", lambda _cloud, _region: None),
            (blazar, "Blazar", lambda _connection: site),
            (blazar, "flavor_id", lambda _connection, name: name),
        ):
            stack.enter_context(patch.object(where, name, value))
        yield


def engine(folder: Path, site: Site) -> tuple[Engine, OnLease]:
    """The program on the environment file of a folder; and its servers."""
    servers = OnLease(RESOURCES[INSTANCE], site)
    return memory.engine(folder, {LEASE: Dynamic(), INSTANCE: servers}), servers


@dataclass
class Story:
    """An environment through a random year of its leases."""

    folder: Path
    hours: dict[str, int]
    """Lease to its length, as the environment file has it."""
    write: Callable[[Mapping[str, int]], None]
    """Puts lengths into the file."""
    chance: random.Random
    site: Site = field(default_factory=Site)

    def up(self, moment: Callable[[], None] | None = None) -> Summary:
        """Deploy; `moment` is called in the middle, when a server is made."""
        made, servers = engine(self.folder, self.site)
        if moment:
            servers.created = moment
        return made.up()

    def name(self, lease_: str) -> str:
        """Of a lease at the site."""
        return f"leasehold-test-{lease_}"

    def ended(self) -> set[str]:
        """Leases of the environment that are not live."""
        return {one for one in self.hours if self.site.find(self.name(one)) is None}

    def passes(self, hours: float) -> None:
        """Let time pass."""
        Clock.present += timedelta(hours=hours)
