"""Error hooks: the program is asked whether an operation that failed is to be tried again.

The program's callbacks are served by the SDK, over gRPC on this computer, with the real engine's messages.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from pulumi.runtime.proto import callback_pb2, callback_pb2_grpc, resource_pb2

from rehearsal.engine.errors import BadInput
from rehearsal.engine.state import Resource
from rehearsal.engine.values import encode_props

LIMIT = 100
"""As the real engine: so many failures of one operation end it, whatever the program says."""
SECONDS = 900.0
"""For one answer, which may include a pause and a look at the cloud."""
POLL_SECONDS = 0.05


@dataclass
class ErrorHooks:
    """The hooks that the program has registered, and the resources that have them."""

    callbacks: dict[str, callback_pb2.Callback] = field(default_factory=dict)
    bound: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of hooks by URN."""

    def register(self, name: str, callback: callback_pb2.Callback) -> None:
        """Take a hook of the program's; its name is its own."""
        if name in self.callbacks:
            raise BadInput(f"two error hooks are named {name}; give one another name")
        self.callbacks[name] = callback

    def again(
        self, operation: str, resource: Resource, news: Resource, errors: list[str], stopped: Callable[[], bool]
    ) -> bool:
        """Ask every hook of a resource; one that wants it is enough. `errors`: the newest first.

        A run that has `stopped` for another reason waits for no answer: the program may have ended.
        """
        names = self.bound.get(resource.urn, ()) if len(errors) < LIMIT and not stopped() else ()
        request = _request(operation, resource, news, errors) if names else None
        return any(self._ask(name, request, stopped) for name in names if request is not None)

    def _ask(self, name: str, request: resource_pb2.ErrorHookRequest, stopped: Callable[[], bool]) -> bool:
        callback = self.callbacks[name]
        invoked = callback_pb2.CallbackInvokeRequest(token=callback.token, request=request.SerializeToString())
        # A connection of its own, closed before the program's end: one that is left open tells of it on stderr.
        with grpc.insecure_channel(callback.target) as channel:
            stub: Any = callback_pb2_grpc.CallbacksStub(channel)
            answer = stub.Invoke.future(invoked, timeout=SECONDS)
            while not answer.done():
                if stopped():
                    answer.cancel()
                    return False
                time.sleep(POLL_SECONDS)
            response = resource_pb2.ErrorHookResponse.FromString(answer.result().response)
        if response.error:
            raise BadInput(f"error hook {name}: {response.error}")
        return bool(response.retry)

    def close(self) -> None:
        """The program has ended: nobody answers any more."""
        self.bound.clear()


def _request(operation: str, olds: Resource, news: Resource, errors: list[str]) -> resource_pb2.ErrorHookRequest:
    made = operation != "create"
    return resource_pb2.ErrorHookRequest(
        urn=olds.urn,
        id=olds.id if made else "",
        name=olds.name,
        type=olds.type,
        new_inputs=encode_props(news.inputs) if operation != "delete" else None,
        old_inputs=encode_props(olds.inputs) if made else None,
        old_outputs=encode_props(olds.outputs) if made else None,
        failed_operation=operation,
        errors=errors,
    )
