"""A cluster that exists already: a kubeconfig is all there is of it."""

import pulumi

from cluster import kubeconfig


def usable(given: pulumi.Output[str]) -> pulumi.Output[str]:
    """A given kubeconfig, checked; a secret.

    Raises ValueError, without a word of its content, when nobody could use it from anywhere.
    """
    secret: pulumi.Output[str] = pulumi.Output.secret(given)
    return secret.apply(_checked)


def _checked(text: str) -> str:
    problem = kubeconfig.check(text)
    if problem is not None:
        raise ValueError(f"the kubeconfig of cluster.kind existing cannot be used: {problem}")
    return text
