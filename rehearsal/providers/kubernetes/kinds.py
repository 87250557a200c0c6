"""The tokens that this package serves."""

from rehearsal.protocol import Provider
from rehearsal.providers.kubernetes.release import Release
from rehearsal.providers.kubernetes.resource import Resource
from rehearsal.providers.kubernetes.settings import Settings

RESOURCES: dict[str, Provider] = {
    "kubernetes:helm.sh/v3:Release": Release(),
    "kubernetes:": Resource(),
    "pulumi:providers:kubernetes": Settings(),
}
