"""Commands on machines, over SSH: command:remote:Command."""

import secrets
from typing import Any, ClassVar

from rehearsal.protocol import Call, Diff, Props, ProviderError, Result, Unknown
from rehearsal.providers import ssh
from rehearsal.providers.clock import Clock
from rehearsal.providers.compare import Prop, check_names, compare, has_unknown

PROPS = {
    prop.name: prop
    for prop in (
        Prop("connection", required=True),
        Prop("create"),
        Prop("update"),
        Prop("delete"),
        Prop("stdin"),
        Prop("triggers", force_new=True),
        Prop("logging"),
        Prop("environment"),
        Prop("addPreviousOutputInEnv", default=True),
    )
}
ENDPOINT: dict[str, Any] = {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}
ENDPOINT_NAMES = frozenset({*ENDPOINT, "host", "privateKey", "privateKeyPassword", "password", "hostKey"})
COMMAND_LIMIT = 300
STDERR_LIMIT = 4000
SHORTEST_SECRET = 4
"""Lines of stdin this long or longer are taken out of error texts; shorter ones would garble them."""


class Command:
    """A command that runs at creation, at each change of its inputs, and at deletion."""

    timeout: ClassVar[float] = 3600.0

    def check(self, call: Call, news: Props) -> Props:
        """Fill in the published provider's defaults, which are part of its inputs."""
        label = _label(call)
        check_names(label, PROPS, ["connection"], news)
        if news.get("environment"):
            raise ProviderError(
                f"{label}: the rehearsal does not support environment, for it cannot tell whether sshd accepts it; "
                "give values on stdin"
            )
        inputs = dict(news)
        inputs.setdefault("addPreviousOutputInEnv", True)
        if isinstance(news["connection"], dict):
            inputs["connection"] = _endpoint(label, news["connection"], "proxy")
        return inputs

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:  # noqa: ARG002  the protocol's signature
        """Triggers replace; everything else runs `update`, or `create` again."""
        return compare(PROPS, olds, news)

    def create(self, call: Call, news: Props) -> Result:
        """See the protocol."""
        outputs = {**news, "stdout": "", "stderr": ""}
        if news.get("create"):
            outputs |= _run(call, news, news["create"], {})
        return Result(f"{call.urn.rsplit('::', 1)[-1]}{secrets.token_hex(4)}", outputs)

    def read(self, call: Call, olds: Result) -> Result:  # noqa: ARG002
        """What a command did cannot be read back."""
        return olds

    def update(self, call: Call, olds: Result, news: Props) -> Result:
        """See the protocol."""
        before = {key: olds.outputs.get(key) or "" for key in ("stdout", "stderr")}
        command = news.get("update") or news.get("create")
        ended = _run(call, news, command, before) if command else before
        return Result(olds.id, {**news, **ended})

    def delete(self, call: Call, olds: Result) -> None:
        """See the protocol."""
        if olds.outputs.get("delete"):
            _run(call, olds.outputs, olds.outputs["delete"], olds.outputs)

    def find(self, call: Call, news: Props) -> str | None:  # noqa: ARG002
        """Nothing tells whether a command ended; it is run again, so it must ask before it acts."""
        return None


def _label(call: Call) -> str:
    return f"Command {call.urn.rsplit('::', 1)[-1]}"


def _endpoint(label: str, given: Props, *nested: str) -> Props:
    check_names(f"{label} connection", [*ENDPOINT_NAMES, *nested], ["host"], given)
    inputs = {**ENDPOINT, **{key: value for key, value in given.items() if value is not None}}
    for name in nested:
        if isinstance(given.get(name), dict):
            inputs[name] = _endpoint(f"{label} {name}", given[name])
    return inputs


def _run(call: Call, props: Props, command: str, before: Props) -> Props:
    """Run one of the commands; the outputs, or an error that never holds stdin."""
    label = _label(call)
    if has_unknown([props["connection"], command, props.get("stdin")]) or isinstance(command, Unknown):
        raise ProviderError(f"{label}: a value it needs is not known yet; deploy what it depends on first")
    connection = props["connection"]
    env = {}
    if props.get("addPreviousOutputInEnv") is not False:
        env = {f"PULUMI_COMMAND_{key.upper()}": before[key] for key in ("stdout", "stderr") if before.get(key)}
    proxy = ssh.Host.of(connection["proxy"]) if connection.get("proxy") else None
    stdin = props.get("stdin") or ""
    target = ssh.Host.of(connection)
    ended = ssh.run(target, proxy, command, Clock(call, label), stdin=stdin, env=env)
    if ended.status != 0:
        how = f"exited with status {ended.status}" if ended.status is not None else f"was ended by {ended.signal}"
        shown = command if len(command) <= COMMAND_LIMIT else f"{command[:COMMAND_LIMIT]} ..."
        text = f"{label}: Process {how} on {target.where}: running {shown!r}:\n{ended.stderr[-STDERR_LIMIT:]}"
        raise ProviderError(without(text.rstrip(), stdin))
    return {"stdout": ended.stdout.removesuffix("\n"), "stderr": ended.stderr.removesuffix("\n")}


def without(text: str, stdin: str) -> str:
    """The text with every line of stdin taken out of it."""
    lines = {line.strip() for line in stdin.splitlines()}
    for line in sorted((line for line in lines if len(line) >= SHORTEST_SECRET), key=len, reverse=True):
        text = text.replace(line, "[stdin]")
    return text
