"""The provider resource itself: pulumi:providers:kubernetes."""

from collections.abc import Mapping
from typing import Any

from rehearsal.protocol import Call, Diff, Props, ProviderError, Result, Unknown
from rehearsal.providers.compare import check_names
from rehearsal.providers.kubernetes.api import UnreachableError, parse, reach

IDENTIFIER = "clusterIdentifier"
SKIP_UNREACHABLE = "skipUpdateUnreachable"
SUPPORTED = (
    *("kubeconfig", "context", "namespace", IDENTIFIER, "deleteUnreachable", "enableServerSideApply"),
    *("enableConfigMapMutable", "enableSecretMutable", "suppressDeprecationWarnings", SKIP_UNREACHABLE),
)


class Settings:
    """Checks and compares the configuration; everything else of it lives in the state alone."""

    timeout = 60.0

    def check(self, call: Call, news: Props) -> Props:
        """Refuse settings that this does not honour."""
        label = f"Provider {call.urn.rsplit('::', 1)[-1]}"
        check_names(label, (*SUPPORTED, "version"), ["kubeconfig"], news)
        if not flag(news, "enableServerSideApply", default=True):
            raise ProviderError(f"{label}: the rehearsal supports enableServerSideApply only; leave it on")
        return news

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:  # noqa: ARG002  the protocol's signature
        """Another identifier is another cluster; where none is given, the active cluster of the kubeconfig decides."""
        old = olds.inputs or {}
        changed = tuple(key for key in dict.fromkeys((*old, *news)) if old.get(key) != news.get(key))
        if old.get(IDENTIFIER) is not None and news.get(IDENTIFIER) is not None:
            return Diff(changed, tuple(key for key in changed if key == IDENTIFIER))
        access = [key for key in ("kubeconfig", "context") if key in changed]
        if any(isinstance(news.get(key), Unknown) for key in access):
            return Diff(changed, tuple(key for key in access if isinstance(news[key], Unknown)))
        return Diff(changed, tuple(access) if access and _cluster(old) != _cluster(news) else ())

    def create(self, call: Call, news: Props) -> Result:
        """Never called, like all below: the engine records provider resources itself."""
        raise NotImplementedError

    def read(self, call: Call, olds: Result) -> Result | None:
        """See create."""
        raise NotImplementedError

    def update(self, call: Call, olds: Result, news: Props) -> Result:
        """See create."""
        raise NotImplementedError

    def delete(self, call: Call, olds: Result) -> None:
        """See create."""
        raise NotImplementedError

    def find(self, call: Call, news: Props) -> str | None:
        """See create."""
        raise NotImplementedError


def flag(settings: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """The SDK sends booleans of provider resources as JSON text."""
    value = settings.get(name)
    return default if value is None else value in (True, "true")


def frozen(call: Call) -> bool:
    """Whether the recorded inputs stand, since nobody answers and skipUpdateUnreachable says so; as upstream."""
    known = isinstance(call.provider.get("kubeconfig"), str)
    return bool(call.before) and known and flag(call.provider, SKIP_UNREACHABLE, default=False) and reach(call) is None


def absent(call: Call, olds: Result, error: UnreachableError) -> Result | None:
    """What a read says when nobody answers: gone, as recorded, or an error, as the provider was told."""
    if flag(call.provider, "deleteUnreachable", default=False):
        return None
    if flag(call.provider, SKIP_UNREACHABLE, default=False):
        return olds
    raise ProviderError(f"{error}; if the cluster is gone for good, set deleteUnreachable on the provider") from error


def _cluster(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    access = parse(settings.get("kubeconfig") or "", settings.get("context"))
    return access.server, access.ca, access.proxy, access.tls_name
