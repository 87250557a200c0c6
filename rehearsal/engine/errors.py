"""What can go wrong, each with the exit code that the command line ends with."""


class EngineError(Exception):
    """A run that cannot go on. The text names the resource, the cause and, where there is one, the next command."""

    exit_code = 1


class BadInput(EngineError):  # noqa: N818 - what it is, not that it is an error
    """The program, the environment file or the passphrase must be changed first; nothing was touched."""

    exit_code = 2


class Aborted(EngineError):  # noqa: N818 - likewise
    """Given to a registration that is not started because another one failed or the run was interrupted."""
