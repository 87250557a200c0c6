"""What the containers of the platform have in common, as pure functions."""

from typing import Any


def resources(cpu: str, memory: str, limit: str) -> dict[str, Any]:
    """What a container requests, and the memory at which it ends."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}


def hardened() -> dict[str, Any]:
    """The security context of a container: no new rights, no capabilities, nothing written but to its volumes."""
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def mount(name: str, path: str, *, writable: bool = False) -> dict[str, Any]:
    """Where a container has a volume."""
    return {"name": name, "mountPath": path, **({} if writable else {"readOnly": True})}
