"""The one exception of the local cloud."""


class CloudError(Exception):
    """Something of the local cloud failed. The text names what, why and the next command; never a secret."""
