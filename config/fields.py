"""Kinds of values: what a field takes, and the words of its refusal."""

import re
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

PROJECT = "leasehold"
END_YEAR = 9000
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
OPENSSH_KEY = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+={0,3}( [^\n]*)?")
REGISTRY = re.compile(r"\*|[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
IMAGE = re.compile(r"[a-z0-9.-]+\.[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+:[A-Za-z0-9._-]{1,128}")
CRON = tuple(
    zip(("minute", "hour", "day", "month", "weekday"), ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7)), strict=True)
)


def _host_name(value: str) -> str:
    if not HOST_NAME.fullmatch(value):
        raise ValueError("a host name has 1 to 63 lower-case letters, digits and inner hyphens")
    return value


def _name(value: str) -> str:
    if not HOST_NAME.fullmatch(value):
        raise ValueError("a name has 1 to 63 lower-case letters, digits and inner hyphens")
    return value


def _public_key(value: str) -> str:
    if not OPENSSH_KEY.fullmatch(value.strip()):
        raise ValueError("one line of OpenSSH public key: type and base64 text")
    return value.strip()


def _utc(value: object) -> datetime:
    try:
        found = datetime.strptime(str(value), "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError('a time in UTC, as "YYYY-MM-DD HH:MM"') from None
    # What is added to it must not leave the calendar, which ends with 9999.
    if found.year >= END_YEAR:
        raise ValueError(f"a time before the year {END_YEAR}")
    return found


def _network(value: object) -> IPv4Network:
    """Say what is wrong with a CIDR; pydantic's own text does not, and it takes numbers for addresses."""
    try:
        return IPv4Network(str(value))
    except ValueError as error:
        raise ValueError(f"an IPv4 network such as 192.168.1.0/24 ({error})") from None


def _address(value: object) -> IPv4Address:
    try:
        return IPv4Address(str(value))
    except ValueError:
        raise ValueError("an IPv4 address such as 192.168.1.11") from None


def _url(value: str) -> str:
    """No user, query or fragment: a path is appended, and a password would be shown in every plan."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        fits = fits and "@" not in parts.netloc and (parts.port or 1) and not re.search(r"[\s\"'\\]", value)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("a URL such as https://mirror.example.org/files, without user, query or fragment")
    return value.rstrip("/")


def _registry(value: str) -> str:
    if not REGISTRY.fullmatch(value):
        raise ValueError("a registry is host or host:port, such as docker.io; * is every registry")
    return value


def _sha256(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("a sha256 has 64 lower-case hexadecimal digits")
    return value


def _digest(value: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
        raise ValueError("a digest is sha256: and 64 lower-case hexadecimal digits")
    return value


def _image_name(value: str) -> str:
    if not IMAGE.fullmatch(value):
        raise ValueError("an image has registry, name and tag, such as quay.io/argoproj/argocd:v3.4.4")
    return value


def _chart_mirror(value: str) -> str:
    if value.startswith("/"):
        return value.rstrip("/")
    if value.startswith("oci://"):
        _url(value.replace("oci://", "https://", 1))
        return value.rstrip("/")
    try:
        return _url(value)
    except ValueError:
        raise ValueError(
            "a folder's full path, a URL such as https://mirror.example.org/charts, or oci://..."
        ) from None


def _domain(value: str) -> str:
    labels = value.split(".")
    if len(value) > 200 or len(labels) < 2 or not all(HOST_NAME.fullmatch(label) for label in labels):
        raise ValueError("a domain is lower-case names joined by dots, such as mlops.example.org")
    return value


def _cron_numbers(part: str, low: int, high: int) -> bool:
    found = re.fullmatch(r"(\*|([0-9]{1,4})(-([0-9]{1,4}))?)(/([0-9]{1,4}))?", part)
    if found is None:
        return False
    ends = [int(end) for end in (found[2], found[4]) if end is not None]
    return ends == sorted(ends) and all(low <= end <= high for end in ends) and int(found[6] or 1) > 0


def _cron(value: str) -> str:
    """Five fields of numbers: k3s takes names and `@daily` too, and refuses only when it starts."""
    fields = value.split()
    if len(fields) != len(CRON):
        raise ValueError("five fields, as in */15 * * * *: minute, hour, day, month, weekday")
    for field, (name, (low, high)) in zip(fields, CRON, strict=True):
        if not all(_cron_numbers(part, low, high) for part in field.split(",")):
            raise ValueError(f"the {name} is *, or numbers from {low} to {high}, as in */15, 1-5 or 1,3")
    return " ".join(fields)


HostName = Annotated[str, AfterValidator(_host_name)]
Name = Annotated[str, AfterValidator(_name)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
Time = Annotated[datetime, BeforeValidator(_utc)]
Network = Annotated[IPv4Network, BeforeValidator(_network)]
Address = Annotated[IPv4Address, BeforeValidator(_address)]
Url = Annotated[str, AfterValidator(_url)]
Registry = Annotated[str, AfterValidator(_registry)]
Sha256 = Annotated[str, AfterValidator(_sha256)]
Digest = Annotated[str, AfterValidator(_digest)]
ImageName = Annotated[str, AfterValidator(_image_name)]
ChartMirror = Annotated[str, AfterValidator(_chart_mirror)]
Domain = Annotated[str, AfterValidator(_domain)]
Cron = Annotated[str, AfterValidator(_cron)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")]
Role = Literal["server", "agent"]


class Model(BaseModel):
    """A part of the environment: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
