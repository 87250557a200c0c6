"""Random values, made here and kept in the state: random:index/*. The published provider's inputs and forms."""

import base64
import secrets
import string
from typing import Any

import bcrypt

from rehearsal.protocol import Call, Props, ProviderError, Result, Unknown
from rehearsal.providers.compare import Prop, check_names
from rehearsal.providers.generated import Generated

SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
BCRYPT_LIMIT = 72
"""Bytes of a password that bcrypt reads; the published provider cuts there too."""
# Name of the switch, of its minimum, and the characters.
CLASSES = (
    ("special", "minSpecial", SPECIAL),
    ("numeric", "minNumeric", string.digits),
    ("lower", "minLower", string.ascii_lowercase),
    ("upper", "minUpper", string.ascii_uppercase),
)
_KEEPERS = Prop("keepers", force_new=True)
TEXT = {
    prop.name: prop
    for prop in (
        _KEEPERS,
        Prop("length", force_new=True, required=True),
        Prop("overrideSpecial", force_new=True),
        *(Prop(switch, force_new=True, default=True) for switch, _, _ in CLASSES),
        *(Prop(minimum, force_new=True, default=0) for _, minimum, _ in CLASSES),
    )
}
BYTES = {prop.name: prop for prop in (_KEEPERS, Prop("length", force_new=True, required=True))}
ID = {
    prop.name: prop
    for prop in (_KEEPERS, Prop("byteLength", force_new=True, required=True), Prop("prefix", force_new=True))
}


class _Random(Generated):
    """A random value."""

    kind = ""
    size = "length"

    def check(self, call: Call, news: Props) -> Props:
        """Refuse what the published provider refuses, and inputs that this does not know."""
        label = f"{self.kind} {call.urn.rsplit('::', 1)[-1]}"
        check_names(label, self.props, [self.size], news)
        if not isinstance(news[self.size], Unknown) and news[self.size] < 1:
            raise ProviderError(f"{label}: {self.size} is {news[self.size]}; give 1 or more")
        return {name: value for name, value in news.items() if value is not None}

    def create(self, call: Call, news: Props) -> Result:
        """See the protocol."""
        raise NotImplementedError


class RandomString(_Random):
    """Text of chosen classes of characters."""

    kind = "RandomString"
    props = TEXT

    def check(self, call: Call, news: Props) -> Props:
        """See the protocol."""
        inputs = super().check(call, news)
        if any(isinstance(value, Unknown) for value in inputs.values()):
            return inputs
        needed = sum(inputs.get(minimum, 0) for _, minimum, _ in CLASSES)
        label = f"{self.kind} {call.urn.rsplit('::', 1)[-1]}"
        if needed > inputs["length"]:
            raise ProviderError(f"{label}: length is {inputs['length']}, but the minimums add up to {needed}")
        if not alphabet(inputs):
            raise ProviderError(f"{label}: no class of characters is left; switch one on")
        return inputs

    def create(self, call: Call, news: Props) -> Result:  # noqa: ARG002
        """The value is the id."""
        value = text(news)
        return Result(value, {**_filled(news), "result": value})


class RandomPassword(RandomString):
    """The same as a secret (the SDK lists its outputs as such), with its bcrypt hash."""

    kind = "RandomPassword"

    def create(self, call: Call, news: Props) -> Result:  # noqa: ARG002
        """The id is `none`: it is no secret."""
        value = text(news)
        hashed = bcrypt.hashpw(value.encode()[:BCRYPT_LIMIT], bcrypt.gensalt(10)).decode()
        return Result("none", {**_filled(news), "result": value, "bcryptHash": hashed})


class RandomBytes(_Random):
    """Bytes as base64 and hex, secret."""

    kind = "RandomBytes"
    props = BYTES

    def create(self, call: Call, news: Props) -> Result:  # noqa: ARG002
        """The id is `none`: it is no secret."""
        value = secrets.token_bytes(int(news["length"]))
        return Result("none", {**news, "base64": base64.b64encode(value).decode(), "hex": value.hex()})


class RandomId(_Random):
    """A number in several forms, no secret."""

    kind = "RandomId"
    props = ID
    size = "byteLength"

    def create(self, call: Call, news: Props) -> Result:  # noqa: ARG002
        """The id is the URL-safe form, without the prefix."""
        value, prefix = secrets.token_bytes(int(news["byteLength"])), news.get("prefix") or ""
        url = base64.urlsafe_b64encode(value).decode().rstrip("=")
        forms = {
            "b64Url": url,
            "b64Std": base64.b64encode(value).decode(),
            "hex": value.hex(),
            "dec": str(int.from_bytes(value)),
        }
        return Result(url, {**news, **{name: prefix + form for name, form in forms.items()}})


def alphabet(inputs: Props) -> str:
    """Every character that may occur."""
    return "".join(
        _characters(inputs, switch, characters) for switch, _, characters in CLASSES if inputs.get(switch, True)
    )


def _characters(inputs: Props, switch: str, characters: str) -> str:
    return inputs.get("overrideSpecial") or characters if switch == "special" else characters


def text(inputs: Props) -> str:
    """The minimums first, then anything, in random order."""
    found = [
        secrets.choice(_characters(inputs, switch, characters))
        for switch, minimum, characters in CLASSES
        for _ in range(int(inputs.get(minimum, 0)))
    ]
    every = alphabet(inputs)
    found += [secrets.choice(every) for _ in range(int(inputs["length"]) - len(found))]
    secrets.SystemRandom().shuffle(found)
    return "".join(found)


def _filled(news: Props) -> dict[str, Any]:
    return {name: prop.default for name, prop in TEXT.items() if prop.default is not None} | news


RESOURCES = {
    "random:index/randomString:RandomString": RandomString(),
    "random:index/randomPassword:RandomPassword": RandomPassword(),
    "random:index/randomBytes:RandomBytes": RandomBytes(),
    "random:index/randomId:RandomId": RandomId(),
}
