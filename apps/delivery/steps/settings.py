"""What all steps are told: one JSON file, the same for every step."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from .. import drift, gate, manifests, measure
from ..checks import positive
from ..releases import Policy, read
from ..repository import Login, Remote


def _web(key: str, url: str) -> None:
    parts = urlsplit(url)
    parts.port  # noqa: B018  reading it is what checks it
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None or parts.query:
        raise ValueError(f"{key} = {url!r}: must be http:// or https://, a host and a path, without a login")


@dataclass(frozen=True)
class Address:
    """Where an environment is asked what it serves."""

    environment: str
    url: str
    """Of its Service: every new connection may meet another pod."""

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        _web("url", self.url)


@dataclass(frozen=True)
class Waiting:
    """When an environment counts as serving a release."""

    seconds: float
    """So long at most until it does."""
    interval: float
    """Seconds between two questions."""
    answers: int
    """So many in a row must name the release."""

    def __post_init__(self) -> None:
        """Refuse a wait without end or without a question."""
        positive(self, "seconds", "interval", "answers")


@dataclass(frozen=True)
class Mlflow:
    """The registry of models, whose aliases follow Git."""

    url: str
    model: str
    login: Login | None
    authority: str | None
    """File with the certificates that its server is checked by; None: those of the system."""

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        _web("url", self.url)
        if not self.model:
            raise ValueError("model is empty: name the registered model")


@dataclass(frozen=True)
class Drift:
    """Where predictions are counted, and from when on they are drift."""

    url: str
    """Of Prometheus."""
    limits: drift.Limits

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        _web("url", self.url)


@dataclass(frozen=True)
class Settings:
    """All of them."""

    repository: Remote
    policy: Policy
    manifests: manifests.Settings
    addresses: tuple[Address, ...]
    waiting: Waiting
    mlflow: Mlflow | None
    """None: the aliases are not kept. `align`, `record` and `release` need it."""
    source: Remote | None
    """The model's repository. Only `checkout` needs it."""
    gate: gate.Settings | None
    """What a release must keep. Only `test` needs it, with the addresses of the first environment and of production."""
    limits: measure.Limits
    """How long the gate's measurements may take."""
    drift: Drift | None
    """Only `drift` needs it."""
    work: str | None
    """Folder for clones; None: where the system keeps temporary files."""

    def __post_init__(self) -> None:
        """Refuse addresses of environments that are none, and a gate that could not be measured."""
        for address in self.addresses:
            if address.environment not in self.manifests.names:
                known = ", ".join(self.manifests.names)
                raise ValueError(f"addresses: {address.environment!r} is no environment; known are: {known}")
        if self.gate is not None:
            self.limits.suit(self.gate)
            for name in (self.manifests.names[0], self.manifests.names[-1]):
                measure.Server(self.address(name))

    def address(self, environment: str) -> str:
        """Where an environment answers."""
        found = next((address.url for address in self.addresses if address.environment == environment), None)
        if found is None:
            known = ", ".join(address.environment for address in self.addresses)
            raise ValueError(f"environment = {environment!r}: has no address; known are: {known}")
        return found


def read_settings(text: str, where: str) -> Settings:
    """The settings in this text, or RecordError, which names the place."""
    return read(Settings, text, where)
