"""Random values have the published provider's forms."""

import base64

import bcrypt
import pytest

from rehearsal.protocol import UNKNOWN, Call, ProviderError, Result
from rehearsal.providers.random import RESOURCES, SPECIAL, RandomBytes, RandomId, RandomPassword, RandomString

CALL = Call("urn:pulumi:dev::leasehold::random:index/randomPassword:RandomPassword::token")


def test_a_password_has_its_length_its_classes_and_a_hash() -> None:
    """Tokens go into shell-safe files: `special: false` must hold."""
    inputs = RandomPassword().check(CALL, {"length": 40, "special": False, "minNumeric": 39, "keepers": {"n": "1"}})
    made = RandomPassword().create(CALL, inputs)
    value = made.outputs["result"]
    assert (made.id, len(value)) == ("none", 40)
    assert sum(character.isdigit() for character in value) >= 39
    assert not set(value) & set(SPECIAL)
    assert bcrypt.checkpw(value.encode(), made.outputs["bcryptHash"].encode())


def test_other_special_characters_can_be_given() -> None:
    """As the published provider has it."""
    off = dict.fromkeys(("numeric", "lower", "upper"), False)
    value = RandomString().create(CALL, {"length": 20, "overrideSpecial": ".", **off}).outputs["result"]
    assert value == "." * 20


def test_every_change_makes_another_value_and_none_makes_none() -> None:
    """Keepers are the way to renew a token; a default that is spelled out is no change."""
    olds = Result("none", {}, {"length": 8, "keepers": {"n": "1"}})
    provider = RandomPassword()
    assert not provider.diff(CALL, olds, {"length": 8, "keepers": {"n": "1"}, "special": True}).changed
    for news in ({"length": 9}, {"length": 8, "keepers": {"n": "2"}}, {"length": UNKNOWN}):
        assert provider.diff(CALL, olds, news).replaces


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        ({"length": 0}, "1 or more"),
        ({"length": 3, "minUpper": 4}, "add up to 4"),
        ({"length": 3, "special": False, "numeric": False, "lower": False, "upper": False}, "switch one on"),
        ({"length": 3, "number": True}, "number"),
        ({}, "length"),
    ],
)
def test_bad_inputs_are_refused(inputs: dict[str, object], word: str) -> None:
    """`number` is deprecated upstream; the program must not use it."""
    with pytest.raises(ProviderError, match=word):
        RandomPassword().check(CALL, inputs)


def test_forms_of_ids_and_bytes_agree() -> None:
    """One value in several spellings."""
    made = RandomId().create(CALL, {"byteLength": 6, "prefix": "x-"}).outputs
    raw = bytes.fromhex(made["hex"].removeprefix("x-"))
    assert made["dec"] == f"x-{int.from_bytes(raw)}"
    assert made["b64Std"] == f"x-{base64.b64encode(raw).decode()}"
    some = RandomBytes().create(CALL, {"length": 5}).outputs
    assert base64.b64decode(some["base64"]).hex() == some["hex"]
    assert set(RESOURCES) > {"random:index/randomId:RandomId"}
