"""Passwords, tokens and keys: how they are made, and where they must not be."""

import re
from collections.abc import Iterator

from .model import Resource, each
from .values import Node, absent, at, items, mapping, number, walk
from .workloads import containers, variables

ACCOUNT = re.compile(r"user|passw", re.I)
SHORTEST = 20
"""Characters of a generated password: 119 bits of letters and digits."""
NAME = re.compile(r"passw(or)?d|passphrase|token|secret|private[_-]?key|api[_-]?key|access[_-]?key|credential", re.I)
REFERENCE = re.compile(r"(name|names|ref|refs|file|path|type|class|policy|provider|enabled|mount|keys?selector)$", re.I)
"""Ends of keys that say where a secret is, not what it is."""
KEY_OF = re.compile(
    r"^(existing\w*|secret|secrets|\w*passwordKey|\w*userKey|\w*SecretKey|automount\w*|\w*secret-type|\w*\.name)$"
)
MATERIAL = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|://[^/\s:@]+:[^/\s:@$]+@"
)
"""A private key, a key of a cloud, a token of GitHub, an address with a password."""
ARGUMENT = re.compile(r"--?[\w-]*(password|passwd|token|secret|api-?key)[\w-]*[= ](?![$/{])\S+", re.I)
KNOWN = {
    "minioadmin",
    "changeme",
    "change-me",
    "prom-operator",
    "admin",
    "password",
    "postgres",
    "secret",
    "root",
    "guest",
}
"""Passwords and accounts that charts and images come with."""
OWN_RULES = ("Release", "Secret", "ConfigMap", "ConfigMapPatch", "SecretPatch", "CustomResourceDefinition")
"""Kinds with rules of their own."""


def named_secret(key: str) -> bool:
    """Whether what is under a key is a secret, and not where one is found."""
    return bool(NAME.search(key)) and not REFERENCE.search(key) and not KEY_OF.match(key)


def secretive(node: Node) -> bool:
    """Whether a value in the clear is under a name that says that it is a secret."""
    return named_secret(node.key) and isinstance(node.value, str) and bool(node.value) and not node.secret


@each("mark it where it is made: pulumi.Output.secret")
def plain_secret(resource: Resource) -> Iterator[str]:
    """What is named a password, a token or a key is encrypted in the state."""
    if not resource.named(*OWN_RULES):
        for node in walk(resource.inputs):
            if secretive(node) and "annotations" not in node.path and "labels" not in node.path:
                yield f"{node.place} is not a secret"


@each("put it into a Secret, and let the chart name that")
def plain_secret_in_values(resource: Resource) -> Iterator[str]:
    """No secret is among the values of a chart: Helm keeps them in the cluster, release after release."""
    if resource.named("Release"):
        for node in walk(resource.inputs.get("values"), "values"):
            if secretive(node):
                yield f"{node.place} is in the clear"
            elif node.secret and isinstance(node.value, str):
                yield f"{node.place} is kept by Helm"


@each("use valueFrom.secretKeyRef")
def plain_secret_in_environment(resource: Resource) -> Iterator[str]:
    """No secret is in the specification of a pod, which whoever may list pods reads."""
    for place, name, value in variables(resource):
        if NAME.search(name) and not REFERENCE.search(name) and not value.startswith("/"):
            yield f"{place}: {name} has a value"


@each("read it from a file or from a variable")
def secret_in_arguments(resource: Resource) -> Iterator[str]:
    """No secret is in a command line, which every process of the node reads."""
    for _, place, container in containers(resource):
        words = [*items(at(container, "command")), *items(at(container, "args"))]
        if any(isinstance(word, str) and "\n" not in word and ARGUMENT.search(word) for word in words):
            yield f"{place} has a secret among its arguments"


@each("put it into a Secret")
def secret_in_a_config_map(resource: Resource) -> Iterator[str]:
    """A ConfigMap holds no secret: it is neither encrypted at rest nor guarded like one."""
    if resource.named("ConfigMap"):
        for node in walk(resource.inputs):
            if isinstance(node.value, str) and (MATERIAL.search(node.value) or secretive(node)):
                yield f"{node.place} looks like a secret"


@each("mark its data: pulumi.Output.secret")
def secret_is_marked(resource: Resource) -> Iterator[str]:
    """The data of a Secret are encrypted in the state."""
    if resource.named("Secret"):
        for node in (
            *walk(resource.inputs.get("data"), "data"),
            *walk(resource.inputs.get("stringData"), "stringData"),
        ):
            if isinstance(node.value, str) and node.value and not node.secret:
                yield f"{node.place} is not a secret"


@each("mark it, or take it out")
def key_material_in_the_clear(resource: Resource) -> Iterator[str]:
    """No private key, token or address with a password is anywhere in the clear."""
    if not resource.named("ConfigMap"):
        for node in walk(resource.inputs):
            if isinstance(node.value, str) and not node.secret and MATERIAL.search(node.value):
                yield f"{node.place} holds key material"


@each("generate it: mlops.credentials")
def known_password(resource: Resource) -> Iterator[str]:
    """No account has the password, or the name and password in one, that its software comes with."""
    for node in walk(resource.inputs) if resource.named("Release", "Secret") else ():
        if named_secret(node.key) and isinstance(node.value, str) and node.value.lower() in KNOWN:
            yield f"{node.place} has a value that everybody knows"
    for place, name, value in variables(resource):
        if ACCOUNT.search(name) and value.lower() in KNOWN:
            yield f"{place}: {name} has a value that everybody knows"


@each(f"ask for {SHORTEST} characters or more")
def password_is_long(resource: Resource) -> Iterator[str]:
    """A generated password cannot be guessed."""
    length = number(resource.at("length"))
    if resource.named("random:index/randomPassword:RandomPassword") and length is not None and length < SHORTEST:
        yield f"{length:.0f} characters"


@each("use RandomPassword, whose result is a secret")
def password_is_no_random_string(resource: Resource) -> Iterator[str]:
    """No secret is made by a resource whose result is in the clear."""
    clear = resource.named("random:index/randomString:RandomString", "random:index/randomPet:RandomPet")
    if clear and NAME.search(resource.name):
        yield "its result is not a secret"


@each("add keepers with the number that is raised for new passwords")
def password_can_be_renewed(resource: Resource) -> Iterator[str]:
    """A password is renewed by raising a number, without a look into the state."""
    if resource.named("random:index/randomPassword:RandomPassword") and absent(resource.at("keepers")):
        yield "keepers is empty"


@each("mark the kubeconfig as a secret")
def provider_is_secretive(resource: Resource) -> Iterator[str]:
    """The login of a provider is encrypted in the state."""
    if resource.type.startswith("pulumi:providers:"):
        for key in mapping(resource.inputs):
            value = resource.inputs[key]
            if (key == "kubeconfig" or NAME.search(key)) and isinstance(value, str) and value:
                yield f"{key} is not a secret"
