"""Whatever a parser of ours is given, it gives a value or its own error: never a traceback."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.parsers import PARSERS, Parser

DEEP = 2_000
HOSTILE = (
    "",
    "\0",
    "\ud800",
    "é",
    "\u0663",
    "-",
    "%",
    "//[",
    "://",
    "{{",
    "\n",
    "\r\n",
    "\u2028",
    "\ufeff",
    "null",
    "[]",
    "{}",
    "true",
    "7",
    '"x"',
    "[null]",
    '{"a": 1, "a": 2}',
    "[" * DEEP,
    "(" * DEEP,
    '{"a":' * DEEP,
    "!" * DEEP,
    "1e999",
    "-1e999",
    "NaN",
    "9" * 5000,
    "9" * 400,
    "1e" + "9" * 30,
    "1e400",
    '"\\ud800"',
    "- a: &x [*x]",
    "{[1]: 2}",
    "{{a: b}: c}",
    "2026-13-45",
    "2026-01-31",
    "!!timestamp x",
    "!!int x",
    "!!bool x",
    "!!int ''",
    "!!binary x",
    "!!set {a}",
    "!!python/object:os.system {}",
    "<<: 1",
    "? [a]\n: b",
    "1: 2",
    "config: {1: 2}",
    "config: []",
    "config: {a: 2026-01-31}",
    "config: {a: !!set {b}}",
    "config: {a: &x [*x]}",
    "config: {a: {? [b] : c}}",
    'config: {"leasehold:infra": &x {kind: *x}}',
    'config: {"leasehold:infra": {1: 2}}',
    'config: {"leasehold:infra": 2026-01-31}',
    'config: {"leasehold:infra": {kind: openstack, nodes: {n: &x [*x]}}}',
    'config: {"leasehold:1": {}}',
    "config: {? [a] : b}",
    "encryptionsalt: 7\nconfig: {a: {secure: x}}",
    "encryptionsalt: v1:é:x\nconfig: {a: {secure: x}}",
    "config: {a: {secure: x}}",
    "-5\r\nabc",
    "1_0\r\nabc",
    "x\r\n",
    "process_resident_memory_bytes 1.2.3\n",
    "process_resident_memory_bytes 1e999\n",
    "1.2.3s",
    "Basic \x80",
    "asInt(1e999)",
    "asInt('inf')",
    "asInt(" + "9" * 400 + ")",
    "asFloat('nan')",
    "asInt(true) > 1",
    "0 0 0 0 0 " + "9" * 5000,
    "0 0-99999999999 0 * * *",
    "-----BEGIN [Y--] PRIVATE KEY-----\nAAAA\n",
)
"""What broke a parser once, or breaks many."""
QUICK = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
LONG = settings(QUICK, max_examples=5000)


def reads(parser: Parser, text: str) -> None:
    """A value, or one of the parser's own errors; any other ends the test."""
    with suppress(*parser.errors):
        parser.read(text)


def changed(text: str) -> st.SearchStrategy[str]:
    """A text that a parser takes, with some parts taken out, doubled, or replaced by something strange."""
    pieces = st.sampled_from([one for one in HOSTILE if len(one) < 1000]) | st.text(max_size=3)
    places = st.integers(0, len(text))
    edits = st.lists(st.tuples(places, st.integers(0, 8), pieces), min_size=1, max_size=4)

    def edited(changes: list[tuple[int, int, str]]) -> str:
        found = text
        for place, length, piece in changes:
            found = found[:place] + piece + found[place + length :]
        return found

    return edits.map(edited)


def texts(parser: Parser) -> st.SearchStrategy[str]:
    return st.one_of(st.text(max_size=60), *map(changed, parser.seeds))


@pytest.mark.parametrize("name", PARSERS)
def test_what_a_parser_takes_is_taken(name: str) -> None:
    """Else its changes would test nothing but its first line."""
    for seed in PARSERS[name].seeds:
        PARSERS[name].read(seed)


@pytest.mark.parametrize("name", PARSERS)
def test_hostile_texts_give_a_value_or_the_parsers_own_error(name: str) -> None:
    """Each of these broke something once, here or elsewhere."""
    for text in HOSTILE:
        reads(PARSERS[name], text)


@pytest.mark.parametrize("name", PARSERS)
def test_any_text_gives_a_value_or_the_parsers_own_error(name: str) -> None:
    """Somebody will read that error at night."""
    QUICK(given(texts(PARSERS[name]))(lambda text: reads(PARSERS[name], text)))()


@pytest.mark.long
@pytest.mark.parametrize("name", PARSERS)
def test_thousands_of_texts_give_a_value_or_the_parsers_own_error(name: str) -> None:
    """What sixty did not find."""
    LONG(given(texts(PARSERS[name]))(lambda text: reads(PARSERS[name], text)))()
