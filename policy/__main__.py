"""The rules as a policy pack of Pulumi: pulumi preview --policy-pack policy."""

from functools import partial

import pulumi_policy.policy
from pulumi_policy import EnforcementLevel, PolicyPack

from adapter import policies

if __name__ == "__main__":
    # The SDK takes the marks of secrets off before a policy looks, and has them only for remediations. Rules about
    # what is in the clear need them.
    pulumi_policy.policy.deserialize_properties = partial(
        pulumi_policy.policy.deserialize_properties, proxy_secrets=True
    )
    PolicyPack("leasehold", policies(), enforcement_level=EnforcementLevel.MANDATORY)
