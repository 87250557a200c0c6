"""Outputs of other stacks: what a StackReference reads. They are those whose states lie beside this one's."""

from pathlib import Path

from rehearsal.engine.model import STACK
from rehearsal.engine.state import State
from rehearsal.engine.values import plain, secret_keys
from rehearsal.protocol import Call, Diff, Props, ProviderError, Result

TYPE = "pulumi:pulumi:StackReference"


class StackReferences:
    """Serves one project's stacks under their full names, ORGANIZATION/PROJECT/STACK, or their own."""

    def __init__(self, stacks: Path, project: str, passphrase: str) -> None:
        """Name the folder of the states; nothing is read yet."""
        self._stacks, self._project, self._passphrase = stacks, project, passphrase

    def check(self, call: Call, news: Props) -> Props:  # noqa: ARG002  the protocol's signature
        """What else the SDK sends is what it wants to be told."""
        return {"name": news["name"]}

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:  # noqa: ARG002
        """Another name is another stack."""
        return Diff() if olds.inputs is None or olds.inputs == news else Diff(("name",), ("name",))

    def create(self, call: Call, news: Props) -> Result:  # noqa: ARG002
        """Read it for the first time."""
        return self._read(str(news["name"]))

    def read(self, call: Call, olds: Result) -> Result:  # noqa: ARG002
        """Read it again: its outputs are as they are now."""
        return self._read(olds.id)

    def update(self, call: Call, olds: Result, news: Props) -> Result:  # noqa: ARG002
        """Never called: another name replaces."""
        return self._read(olds.id)

    def delete(self, call: Call, olds: Result) -> None:
        """The other stack stays as it is."""

    def find(self, call: Call, news: Props) -> str | None:  # noqa: ARG002
        """Reading leaves nothing behind."""
        return None

    def _read(self, name: str) -> Result:
        *before, stack = name.split("/")
        path = self._stacks / f"{stack}.json"
        if before and before[-1] != self._project:
            raise ProviderError(f"stack {name}: a rehearsal has stacks of the project {self._project} only")
        if not path.exists():
            raise ProviderError(f"stack {name} is not there: deploy it first, with --stack {stack} and the same --root")
        resources = State(path, self._passphrase, None, readonly=True).resources.values()
        outputs = next((found.outputs for found in resources if found.type == STACK), {})
        secret = sorted(secret_keys(outputs))
        return Result(name, {"name": name, "outputs": plain(outputs), "secretOutputNames": secret}, {"name": name})
