"""Conditions of steps and of retries. Pure.

Argo Workflows reads the two differently: in a step's `when`, values are put in first, and a bare word is a text; in the
`expression` of a retryStrategy, a bare word is a name, and values of different types are not compared.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

TOKEN = re.compile(
    r"""\s*(?:(?P<number>-?\d+(?:\.\d+)?(?![\w.-]))
    |(?P<text>'[^']*'|"[^"]*")
    |(?P<sign>[=!<>]=|&&|\|\||[!<>()])
    |(?P<word>[A-Za-z_][\w.]*))""",
    re.VERBOSE,
)
WORDS = {"true": True, "false": False}
SPELT = {"and": "&&", "or": "||", "not": "!"}
FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "asInt": lambda value: float(int(value)),
    "asFloat": float,
    "string": str,
}
COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
Names = Mapping[str, str] | None
"""What bare words stand for; None: for themselves."""


class ExpressionError(Exception):
    """A condition that nobody can read, or that is neither true nor false."""


def holds(condition: str, names: Names = None) -> bool:
    """Whether a condition holds; none always does."""
    if not condition.strip():
        return True
    parser = _Parser(condition, names)
    try:
        found = parser.any()
    except RecursionError:
        raise ExpressionError("a condition has too many brackets inside of each other") from None
    if parser.rest or not isinstance(found, bool):
        raise ExpressionError(f"'{condition}': is neither true nor false; compare two values, and quote texts")
    return found


def _tokens(condition: str, names: Names) -> list[Any]:
    """Signs and functions as they are; values in a tuple of one."""
    found: list[Any] = []
    at, end = 0, len(condition.rstrip())
    while at < end:
        match = TOKEN.match(condition, at)
        if match is None:
            raise ExpressionError(f"'{condition}': unclear at '{condition[at:].strip()}'; put texts in quotes")
        at = match.end()
        number, text, sign, word = match["number"], match["text"], match["sign"], match["word"]
        if sign:
            found.append(sign)
        elif number:
            found.append((float(number),))
        elif text:
            found.append((text[1:-1],))
        elif names is None or word in WORDS:
            found.append((WORDS.get(word, word),))
        elif word in names:
            found.append((names[word],))
        elif word in FUNCTIONS or word in SPELT:
            found.append(FUNCTIONS.get(word) or SPELT[word])
        else:
            raise ExpressionError(f"'{condition}': '{word}' is not honoured; known are {', '.join(sorted(names))}")
    return found


class _Parser:
    """`||` binds less than `&&`, and that less than a comparison."""

    def __init__(self, condition: str, names: Names) -> None:
        self.condition, self.strict, self.rest = condition, names is not None, _tokens(condition, names)

    def taken(self, *signs: str) -> str:
        """The next sign, if it is one of these."""
        found = self.rest[0] if self.rest and self.rest[0] in signs else ""
        if found:
            self.rest.pop(0)
        return str(found)

    def any(self) -> Any:
        found = self.all()
        while self.taken("||"):
            other = self.all()
            found = self.truth(found) | self.truth(other)
        return found

    def all(self) -> Any:
        found = self.compared()
        while self.taken("&&"):
            other = self.compared()
            found = self.truth(found) & self.truth(other)
        return found

    def compared(self) -> Any:
        found = self.value()
        sign = self.taken(*COMPARED)
        if not sign:
            return found
        other = self.value()
        if (self.strict or sign not in ("==", "!=")) and type(found) is not type(other):
            raise ExpressionError(f"'{self.condition}': {found!r} and {other!r} are not compared: one is no number")
        return COMPARED[sign](found, other)

    def value(self) -> Any:
        if self.taken("!"):
            return not self.truth(self.value())
        if self.rest and callable(self.rest[0]):
            function = self.rest.pop(0)
            try:
                return function(self.bracket())
            except (ArithmeticError, TypeError, ValueError) as error:
                raise ExpressionError(f"'{self.condition}': {error}") from error
        if self.rest and self.rest[0] == "(":
            return self.bracket()
        if not self.rest or isinstance(self.rest[0], str):
            raise ExpressionError(f"'{self.condition}': a value is missing; an empty one must be in quotes")
        return self.rest.pop(0)[0]

    def bracket(self) -> Any:
        opened = self.taken("(")
        found = self.any() if opened else None
        if not opened or not self.taken(")"):
            raise ExpressionError(f"'{self.condition}': a bracket is missing")
        return found

    def truth(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ExpressionError(f"'{self.condition}': {value!r} is neither true nor false")
        return value
