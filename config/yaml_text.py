"""YAML as people write it: whatever is wrong with a text is one kind of error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml


class NotYaml(ValueError):  # noqa: N818  a state of a text
    """The text is no YAML. The error quotes some of it."""


@contextmanager
def only_yaml() -> Iterator[None]:
    """Raise NotYaml for all that PyYAML raises: at a value that is not what its form or tag says, anything."""
    try:
        yield
    except yaml.YAMLError as error:
        raise NotYaml(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise NotYaml("it is nested too deeply") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise NotYaml(f"a value is not what its form or tag says ({' '.join(str(error).split())[:80]})") from error


def load(text: str) -> Any:
    """What a text says. Raises NotYaml."""
    with only_yaml():
        return yaml.safe_load(text)
