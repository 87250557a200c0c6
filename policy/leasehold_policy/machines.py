"""Leases, machines, the commands that run on them, and what a cloud charges for."""

import re
from collections.abc import Iterator
from typing import Any

from .model import Resource, each
from .values import UNKNOWN, Secret, absent, at, given, mapping, number, unknown_within, walk

COMMAND = "command:remote:Command"
SERVER = "openstack:compute/instance:Instance"
LEASE = "pulumi-python:dynamic/infra:Lease"
ADDRESS = "openstack:networking/floatingIp:FloatingIp"
LONGEST_LEASE = 7 * 24.0
"""Hours: Chameleon's limit."""
MARKED = ("networking/network:Network", "networking/subnet:Subnet", "networking/router:Router", "networking/port:Port")
MARKED_TOO = ("networking/secGroup:SecGroup", "compute/instance:Instance", "blockstorage/volume:Volume")
MARKS = {ADDRESS, *(f"openstack:{token}" for token in (*MARKED, *MARKED_TOO))}
"""What can hold the stack's name."""
STACK_MARK = "leasehold-stack"
SCRIPTS = ("create", "update", "delete")
PASSWORD_LOGIN = re.compile(
    r"ssh_pwauth[\"']?\s*[:=]\s*[\"']?(true|yes|1)|chpasswd|plain_text_passwd|hashed_passwd|\bpasswd[\"']?\s*:", re.I
)


def text(value: Any) -> str:
    """The opened value if it is text, else nothing."""
    found = at(value)
    return found if isinstance(found, str) else ""


@each("set connection.hostKey, and proxy.hostKey, to the key that the machine was born with")
def host_key_pinned(resource: Resource) -> Iterator[str]:
    """A connection accepts one host key, at the machine and at the bastion before it."""
    if resource.named(COMMAND):
        if absent(resource.at("connection", "hostKey")):
            yield "connection.hostKey is missing"
        if not absent(resource.at("connection", "proxy")) and absent(resource.at("connection", "proxy", "hostKey")):
            yield "connection.proxy.hostKey is missing"


@each("log in by key: connection.privateKey")
def no_password_login(resource: Resource) -> Iterator[str]:
    """No connection logs in by a password, or as root."""
    for hop in ("connection",), ("connection", "proxy"):
        if resource.named(COMMAND) and given(resource.at(*hop, "password")):
            yield f"{'.'.join(hop)} has a password"
        if resource.named(COMMAND) and resource.at(*hop, "user") == "root":
            yield f"{'.'.join(hop)} logs in as root"


@each("add the machine's id to `triggers`")
def command_has_triggers(resource: Resource) -> Iterator[str]:
    """A command runs again when its machine is another one."""
    if resource.named(COMMAND) and absent(resource.at("triggers")):
        yield "triggers is empty"


@each("give it a `create`, a `delete`, or both")
def command_does_something(resource: Resource) -> Iterator[str]:
    """A command says what is done, or what undoes it."""
    if resource.named(COMMAND) and all(absent(resource.at(verb)) for verb in ("create", "delete")):
        yield "there is neither create nor delete"


@each("set custom_timeouts for what it runs")
def command_is_bounded(resource: Resource) -> Iterator[str]:
    """A command that hangs ends: each verb that it has is bounded."""
    if resource.named(COMMAND):
        for verb in ("create", "delete"):
            if not absent(resource.at(verb)) and not resource.timeouts.get(verb):
                yield f"no timeout for {verb}"


@each("hand secrets over by stdin")
def command_line_has_no_secret(resource: Resource) -> Iterator[str]:
    """A command line and its environment are read by everybody on the machine: no secret is in them."""
    if resource.named(COMMAND):
        for key in (*SCRIPTS, "environment"):
            if any(node.secret for node in walk(resource.inputs.get(key), key)):
                yield f"{key} is a secret"


@each('set logging="none"')
def secret_command_is_quiet(resource: Resource) -> Iterator[str]:
    """What a command prints is not logged where it was given a secret."""
    told = resource.named(COMMAND) and isinstance(resource.inputs.get("stdin"), Secret)
    if told and resource.at("logging") not in ("none", UNKNOWN):
        yield "stdin is a secret, and logging is not none"


@each("set add_previous_output_in_env=False")
def no_previous_output(resource: Resource) -> Iterator[str]:
    """What a command printed before is not in the environment of the next one: it may hold a token."""
    if resource.named(COMMAND) and resource.at("addPreviousOutputInEnv") not in (False, UNKNOWN):
        yield "addPreviousOutputInEnv is not false"


@each("take adminPass out; people log in by key")
def server_without_password(resource: Resource) -> Iterator[str]:
    """No server has an administrator's password."""
    if resource.named(SERVER) and given(resource.at("adminPass")):
        yield "adminPass is set"


@each("set keyPair, or ssh_authorized_keys in the user data")
def server_has_a_key(resource: Resource) -> Iterator[str]:
    """Every server knows who may log in."""
    told = "ssh_authorized_keys" in text(resource.at("userData")) or resource.at("userData") is UNKNOWN
    if resource.named(SERVER) and absent(resource.at("keyPair")) and not told:
        yield "there is no keyPair, and no ssh_authorized_keys in userData"


@each("take the password out of the user data, and set ssh_pwauth to false")
def user_data_has_no_password(resource: Resource) -> Iterator[str]:
    """No user data sets a password or lets one log in: the metadata service shows it to every process."""
    if resource.named(SERVER) and PASSWORD_LOGIN.search(text(resource.at("userData"))):
        yield "userData sets or allows a password"


@each("mark it: pulumi.Output.secret")
def user_data_is_secret(resource: Resource) -> Iterator[str]:
    """User data holds a host key, so the state keeps it encrypted."""
    clear = given(resource.at("userData")) and not isinstance(resource.inputs.get("userData"), Secret)
    if resource.named(SERVER) and clear:
        yield "userData is not a secret"


@each("set infra.leases.NAME.hours or .end")
def lease_ends(resource: Resource) -> Iterator[str]:
    """Every lease has an end."""
    if resource.named(LEASE) and all(absent(resource.at(key)) for key in ("hours", "end", "adopt")):
        yield "neither hours nor end"


@each("ask for fewer hours, and extend the lease when it nears its end")
def lease_is_short(resource: Resource) -> Iterator[str]:
    """No lease is asked for longer than the site's limit, seven days."""
    hours = number(resource.at("hours"))
    if resource.named(LEASE) and hours is not None and not 0 < hours <= LONGEST_LEASE:
        yield f"{hours:g} hours"


@each("set custom_timeouts.create")
def cloud_object_is_bounded(resource: Resource) -> Iterator[str]:
    """A cloud that does not answer is noticed: making one of its objects is bounded."""
    if resource.type.startswith("openstack:") and not resource.timeouts.get("create"):
        yield "no timeout for create"


@each("use infra.marks")
def cloud_object_is_marked(resource: Resource) -> Iterator[str]:
    """Every object of a cloud that can hold the stack's name does: what an interrupted run left is found by it."""
    if resource.type in MARKS and not unknown_within(resource.at("tags")):
        tags = resource.at("tags") if isinstance(resource.at("tags"), list) else []
        held = {STACK_MARK} & {*mapping(resource.at("metadata")), *(str(at(tag)).partition("=")[0] for tag in tags)}
        if not held and resource.at("metadata") is not UNKNOWN:
            yield f"no {STACK_MARK} in tags or metadata"
