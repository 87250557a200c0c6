"""The rules of Leasehold's stacks: pure functions, run by the rehearsal's engine, by tests, and by pulumi-policy.

Nothing here imports Pulumi. A rule is named by its function, demands what the docstring says, and yields what is wrong.
"""

from . import access, certificates, data, machines, network, pods, releases, secrets, spaces
from .model import Finding, Resource, Rule
from .values import UNKNOWN, Secret
from .waivers import WAIVERS, Waiver

SUBJECTS = (network, machines, data, secrets, certificates, access, spaces, pods, releases)
RULES: tuple[Rule, ...] = tuple(
    found for subject in SUBJECTS for found in vars(subject).values() if isinstance(found, Rule)
)

__all__ = ["RULES", "SUBJECTS", "UNKNOWN", "WAIVERS", "Finding", "Resource", "Rule", "Secret", "Waiver"]
