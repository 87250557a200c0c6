"""The SDK's side: requests of the program turned into goals, and answers turned back."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf import empty_pb2
from pulumi.runtime.mocks import MockMonitor, Mocks
from pulumi.runtime.proto import resource_pb2

from rehearsal.engine.deployment import Deployment, Goal
from rehearsal.engine.errors import BadInput
from rehearsal.engine.model import STACK, make_urn, name_of, type_of
from rehearsal.engine.references import TYPE as REFERENCE
from rehearsal.engine.run import Run
from rehearsal.engine.state import Resource
from rehearsal.engine.values import decode_props, encode_props, plain
from rehearsal.protocol import Call

_HONOURED = frozenset(
    (
        *("type", "name", "parent", "custom", "object", "protect", "dependencies", "propertyDependencies"),
        *("provider", "deleteBeforeReplace", "deleteBeforeReplaceDefined", "ignoreChanges", "replaceOnChanges"),
        *("additionalSecretOutputs", "aliasURNs", "aliases", "customTimeouts", "retainOnDelete"),
        *("deletedWith", "hooks"),
    )
)
# What the SDK sends about itself, and which plugin the real engine would load.
_NEUTRAL = frozenset(
    (
        *("version", "pluginDownloadURL", "providers", "acceptSecrets", "acceptResources", "accepts_byte_string"),
        *("supportsPartialValues", "supportsResultReporting", "aliasSpecs"),
        *("sourcePosition", "stackTrace", "parentStackTraceHandle"),
    )
)
_FEATURES = [
    resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
    # Claimed so that the request arrives and the refusal here names the option.
    resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACE_WITH,
    resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACEMENT_TRIGGER,
    resource_pb2.RESOURCE_MONITOR_FEATURE_TRANSFORMS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_HOOKS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_ERROR_HOOKS,
]


class _NoMocks(Mocks):
    def call(self, args: Any) -> Any:
        raise NotImplementedError(args.token)

    def new_resource(self, args: Any) -> Any:
        raise NotImplementedError(args.typ)


def _reported(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let the run know why the program was stopped, whatever the SDK makes of the exception."""

    @functools.wraps(method)
    def wrapped(self: "Monitor", request: Any) -> Any:
        try:
            return method(self, request)
        except BadInput as error:
            self.run.fail(make_urn(self.stack, self.project, "", STACK, f"{self.project}-{self.stack}"), error)
            raise

    return wrapped


class Monitor(MockMonitor):
    """Serves the program's requests from the deployment."""

    def __init__(self, run: Run, deployment: Deployment, project: str, stack: str) -> None:
        """Serve one program run."""
        super().__init__(_NoMocks())
        self.run, self.deployment, self.project, self.stack = run, deployment, project, stack
        self._aliases: dict[str, tuple[str, ...]] = {}

    def GetDeploymentInfo(self, _request: Any) -> resource_pb2.DeploymentInfo:  # noqa: N802
        """Tell the SDK what may be sent."""
        return resource_pb2.DeploymentInfo(supportedFeatures=_FEATURES)

    def RegisterResource(self, request: Any) -> resource_pb2.RegisterResourceResponse:  # noqa: N802
        """Register one resource; returns when it is as the program wants it."""
        urn = make_urn(self.stack, self.project, request.parent, request.type, request.name)
        try:
            goal = self._goal(urn, request)
        except Exception as error:
            raise self.run.fail(urn, error) from error
        done = self.deployment.register(goal)
        if done is None:
            return resource_pb2.RegisterResourceResponse(urn=urn, unknown=True)
        return resource_pb2.RegisterResourceResponse(urn=urn, id=done.id, object=encode_props(done.outputs))

    def _goal(self, urn: str, request: Any) -> Goal:
        refused = [
            descriptor.name
            for descriptor, value in request.ListFields()
            if descriptor.name not in _HONOURED | _NEUTRAL and not (hasattr(value, "ByteSize") and not value.ByteSize())
        ]
        if refused:
            raise BadInput(f"resource option {', '.join(refused)} is not supported by this engine")
        timeouts = {field.name: value for field, value in request.customTimeouts.ListFields()}
        resource = Resource(
            urn=urn,
            type=request.type,
            custom=request.custom,
            parent=request.parent,
            provider=request.provider,
            inputs=decode_props(request.object),
            dependencies=tuple(sorted(request.dependencies)),
            property_dependencies={k: tuple(sorted(v.urns)) for k, v in request.propertyDependencies.items()},
            protect=request.protect,
            retain=request.retainOnDelete,
            deleted_with=request.deletedWith,
            timeouts=timeouts,
        )
        self._aliases[urn] = tuple(dict.fromkeys(self._alias_urns(request)))
        return Goal(
            resource,
            self._aliases[urn],
            tuple(request.ignoreChanges),
            tuple(request.replaceOnChanges),
            tuple(request.additionalSecretOutputs),
            request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None,
            tuple(request.hooks.on_error),
        )

    def _alias_urns(self, request: Any) -> Iterable[str]:
        """Former URNs: those that the program names, and those that follow from the parent's."""
        own = [*request.aliasURNs, *(self._alias(alias, request) for alias in request.aliases)]
        yield from own
        for former in self._aliases.get(request.parent, ()):
            for type_, name in ((request.type, request.name), *((type_of(urn), name_of(urn)) for urn in own)):
                prefix = name_of(request.parent)
                renamed = name_of(former) + name.removeprefix(prefix) if name.startswith(prefix) else name
                yield make_urn(self.stack, self.project, former, type_, renamed)

    def _alias(self, alias: Any, request: Any) -> str:
        if alias.WhichOneof("alias") == "urn":
            return str(alias.urn)
        spec = alias.spec
        parent = "" if spec.noParent else spec.parentUrn or request.parent
        stack, project = spec.stack or self.stack, spec.project or self.project
        return make_urn(stack, project, parent, spec.type or request.type, spec.name or request.name)

    def RegisterResourceOutputs(self, request: Any) -> empty_pb2.Empty:  # noqa: N802
        """Keep the stack's outputs until the run has ended; a component's carry no state."""
        if type_of(request.urn) == STACK:
            self.deployment.outputs = decode_props(request.outputs)
        return empty_pb2.Empty()

    @_reported
    def Invoke(self, request: Any) -> resource_pb2.ResourceInvokeResponse:  # noqa: N802
        """Call a provider function."""
        if request.tok not in self.run.invokes:
            raise BadInput(f"function {request.tok} is not supported by this engine")
        args = decode_props(request.args)
        call = Call("", self.run.provider_inputs(request.provider), cancel=self.run.cancel)
        # The SDK has unwrapped secret arguments, and marks the answer itself.
        answer = encode_props(self.run.invokes[request.tok](call, plain(args)))
        return resource_pb2.ResourceInvokeResponse(**{"return": answer})  # type: ignore[arg-type]

    @_reported
    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        """Read another stack's outputs; refuse to read other resources that are not this stack's."""
        if request.type != REFERENCE:
            message = "reading an existing resource is not supported by this engine"
            raise BadInput(f"{request.type} {request.name}: {message}")
        urn = make_urn(self.stack, self.project, request.parent, request.type, request.name)
        read = Resource(urn=urn, type=request.type, custom=True, parent=request.parent, inputs={"name": request.id})
        done = self.deployment.register(Goal(read, secret_outputs=("outputs",)))
        properties = encode_props(done.outputs) if done else None
        return resource_pb2.ReadResourceResponse(urn=urn, properties=properties)

    @_reported
    def ExistsResource(self, request: Any) -> Any:  # noqa: N802
        """Refuse, likewise."""
        raise BadInput(f"{request.type}: asking whether a resource exists is not supported by this engine")

    @_reported
    def RegisterStackTransform(self, _request: Any) -> Any:  # noqa: N802
        """Refuse."""
        raise BadInput("stack transforms are not supported by this engine")

    def RegisterErrorHook(self, request: Any) -> empty_pb2.Empty:  # noqa: N802
        """Take a callback that is asked when an operation failed."""
        self.run.hooks.register(request.name, request.callback)
        return empty_pb2.Empty()

    @_reported
    def RegisterResourceHook(self, _request: Any) -> Any:  # noqa: N802
        """Refuse."""
        raise BadInput("of the resource option hooks, this engine supports on_error only")

    def RegisterPackage(self, request: Any) -> Any:  # noqa: N802
        """Refuse packages that a provider makes from parameters."""
        raise BadInput(f"parameterized package {request.name} is not supported by this engine")
