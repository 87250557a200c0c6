"""What every OpenStack type shares: its table of properties, and the verbs in terms of a few steps.

A type says what its properties are and how to render a request and read an answer; the base owns the order of
steps, what is kept of recorded inputs, and how an interrupted creation is found again.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rehearsal.protocol import Call, Diff, Props, ProviderError, Result, Unfinished
from rehearsal.providers.clock import Clock
from rehearsal.providers.compare import Table, check_names, compare, drift, recorded
from rehearsal.providers.openstack.connection import Api, region_of

MINUTES = 60.0


class Gone(ProviderError):  # noqa: N818  a state of the world
    """What was being made is not there any more."""


class OpenStackType:
    """One resource type. Subclasses fill in the steps; the verbs are those of `rehearsal.protocol.Provider`."""

    kind: ClassVar[str]
    service: ClassVar[str]
    props: ClassVar[Table]
    timeout: ClassVar[float] = 10 * MINUTES
    """Seconds; the published provider's default for create and delete."""
    known_early: ClassVar[bool] = False
    """Whether the published provider keeps the id before it waits: what fails then was made in part."""

    def make(self, api: Api, news: Props) -> str:
        """Send what creates it and return the id."""
        raise NotImplementedError

    def finish(self, api: Api, identity: str, news: Props) -> None:
        """What creation still needs after the object exists; repeatable, because `find` does it again."""

    def load(self, api: Api, identity: str) -> Props | None:
        """The object in the service's own terms; None when it is gone."""
        raise NotImplementedError

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:
        """Outputs for what `load` returned."""
        raise NotImplementedError

    def change(self, api: Api, olds: Result, news: Props, changed: tuple[str, ...]) -> None:
        """Carry out a change in place."""
        raise NotImplementedError

    def remove(self, api: Api, olds: Result) -> None:
        """Delete, and return when it is gone."""
        raise NotImplementedError

    def find(self, call: Call, news: Props) -> str | None:
        """See the protocol."""
        raise NotImplementedError

    def api(self, call: Call, props: Mapping[str, Any], timeout: float | None = None) -> Api:
        """The type's service, with errors that name the object."""
        return Api(within(call, props), self.service, Clock(call, self.label(call, props), timeout))

    def label(self, call: Call, props: Mapping[str, Any]) -> str:
        """How errors name the object."""
        name = props.get("name")
        return f"{self.kind} {name if isinstance(name, str) and name else call.urn.rsplit('::', 1)[-1]}"

    def check(self, call: Call, news: Props) -> Props:
        """See the protocol."""
        required = [prop.name for prop in self.props.values() if prop.required]
        check_names(self.label(call, news), self.props, required, news)
        return dict(news)

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:  # noqa: ARG002  the protocol's signature
        """See the protocol."""
        return compare(self.props, olds, news)

    def create(self, call: Call, news: Props) -> Result:
        """See the protocol."""
        api = self.api(call, news)
        identity = self.make(api, news)
        try:
            self.finish(api, identity, news)
            return self.published(call, api, identity, news)
        except Gone:
            raise
        except ProviderError as error:
            if not self.known_early:
                raise
            # In the words in which the published provider says this, and nothing else.
            raise Unfinished(f"creating {call.urn}: {error}", Result(identity, dict(news))) from error

    def read(self, call: Call, olds: Result) -> Result | None:
        """See the protocol."""
        inputs = recorded(olds) if olds.inputs is not None else {}
        api = self.api(call, olds.outputs or inputs)
        raw = self.load(api, olds.id)
        if raw is None:
            return None
        outputs = self.view(api, raw, inputs)
        outputs["region"] = region_of(within(call, inputs).provider)
        if olds.inputs is None:
            inputs = {name: outputs[name] for name in self.props if outputs.get(name) is not None}
        return Result(olds.id, {**inputs, **outputs}, drift(self.props, inputs, self.observed(outputs)))

    def observed(self, outputs: Props) -> Props:
        """Outputs that can be held against recorded inputs."""
        return outputs

    def update(self, call: Call, olds: Result, news: Props) -> Result:
        """See the protocol."""
        api = self.api(call, news)
        self.change(api, olds, news, self.diff(call, olds, news).changed)
        return self.published(call, api, olds.id, news)

    def delete(self, call: Call, olds: Result) -> None:
        """See the protocol."""
        self.remove(self.api(call, olds.outputs), olds)

    def published(self, call: Call, api: Api, identity: str, news: Props) -> Result:
        """The state after a change: inputs, and what the service says."""
        raw = self.load(api, identity)
        if raw is None:
            raise ProviderError(f"{api.clock.label}: {identity} is gone right after it was made; run again")
        outputs = self.view(api, raw, news)
        outputs["region"] = region_of(within(call, news).provider)
        return Result(identity, {**news, **outputs})


def within(call: Call, props: Mapping[str, Any]) -> Call:
    """The call, in the region that the resource itself names."""
    region = props.get("region")
    return replace(call, provider={**call.provider, "region": region}) if isinstance(region, str) and region else call


def wire(props: Table, raw: Props, **more: str) -> Props:
    """Wire properties that have a name in the API, and `more` outputs (wire name = API name)."""
    names = {prop.name: prop.api for prop in props.values() if prop.api} | more
    return {name: raw[key] for name, key in names.items() if key in raw}
