"""Values that are made here and live in the state alone: keys, passwords, ids."""

from collections.abc import Mapping

from rehearsal.protocol import Call, Diff, Props, Result
from rehearsal.providers.compare import Prop, compare


class Generated:
    """The verbs of a value outside of which nothing exists: there is nothing to read, find or delete."""

    timeout = 60.0
    props: Mapping[str, Prop]

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:  # noqa: ARG002  the protocol's signature
        """Every change makes another value."""
        return compare(self.props, olds, news)

    def read(self, call: Call, olds: Result) -> Result:  # noqa: ARG002
        """The state is the value."""
        return olds

    def update(self, call: Call, olds: Result, news: Props) -> Result:  # noqa: ARG002
        """Never called: every change replaces."""
        return olds

    def delete(self, call: Call, olds: Result) -> None:
        """Forgetting it is all."""

    def find(self, call: Call, news: Props) -> str | None:  # noqa: ARG002
        """A value that was not recorded is lost, and was used by nothing."""
        return None
