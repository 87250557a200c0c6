"""A node leaves: what runs on another server when its machine is removed or replaced."""

from cluster import step

MINUTES = 12
"""Longer than the script's own bounds together."""


def script(name: str) -> str:
    """Render the command for a server other than the node: drain it, delete its Node and so its etcd member."""
    return step.session_command("\n".join([*step.assignments({"name": name}), step.read("drain.sh")]))
