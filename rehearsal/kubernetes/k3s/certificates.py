"""Certificate authorities, leaf certificates and kubeconfigs, all by the openssl command."""

import base64
import ipaddress
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from .files import digest, run, write

RENEW = 120 * 86400  # seconds before its end that a leaf certificate is made anew, as in k3s
VALID_DAYS = 365
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Leaf:
    """A certificate to have below the tls folder; `usage` is openssl's extendedKeyUsage."""

    name: str
    ca: str
    cn: str
    org: str = ""
    sans: tuple[str, ...] = ()
    usage: str = "clientAuth"


def san(names: Sequence[str]) -> str:
    """openssl's form of subject alternative names, each once."""

    def one(name: str) -> str:
        try:
            return f"IP:{ipaddress.ip_address(name)}"
        except ValueError:
            return f"DNS:{name}"

    return ",".join(dict.fromkeys(one(name) for name in names))


def make_ca(tls: Path, name: str, cn: str) -> None:
    """A certificate authority, unless it is there."""
    key, certificate = tls / f"{name}.key", tls / f"{name}.crt"
    if certificate.exists() and key.exists():
        return
    key.parent.mkdir(parents=True, exist_ok=True)
    write(key, "")  # private before openssl fills it
    run(
        [
            *("openssl", "req", "-x509", *KEY, "-days", "3650", "-keyout", key, "-out", certificate),
            *("-subj", f"/CN={cn}@{int(time.time())}", "-addext", "basicConstraints=critical,CA:TRUE"),
            *("-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign"),
        ]
    )
    certificate.chmod(0o600)


def _make_leaf(folder: Path, tls: Path, leaf: Leaf) -> None:
    key, certificate = folder / f"{leaf.name}.key", folder / f"{leaf.name}.crt"
    write(key, "")
    run(
        [
            *("openssl", "req", "-x509", *KEY, "-days", str(VALID_DAYS), "-keyout", key, "-out", certificate),
            *("-CA", tls / f"{leaf.ca}.crt", "-CAkey", tls / f"{leaf.ca}.key"),
            *("-subj", (f"/O={leaf.org}" if leaf.org else "") + f"/CN={leaf.cn}"),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"extendedKeyUsage={leaf.usage}"),
            *("-addext", "keyUsage=critical,digitalSignature,keyEncipherment"),
            *(("-addext", f"subjectAltName={san(leaf.sans)}") if leaf.sans else ()),
        ]
    )
    certificate.chmod(0o600)


def make_leaves(folder: Path, tls: Path, leaves: Sequence[Leaf]) -> None:
    """Leaf certificates in `folder`, signed by the authorities in `tls`: made anew if one is missing, asked for
    otherwise than before, signed by another authority, or near its end."""
    record = folder / ".leaves.json"
    made: dict[str, list[str]] = json.loads(record.read_text()) if record.exists() else {}
    for leaf in leaves:
        wanted = digest(repr(leaf) + (tls / f"{leaf.ca}.crt").read_text())
        before, until = made.get(leaf.name, ["", "0"])
        files = all((folder / f"{leaf.name}.{kind}").exists() for kind in ("crt", "key"))
        if not files or before != wanted or float(until) - time.time() < RENEW:
            _make_leaf(folder, tls, leaf)
            made[leaf.name] = [wanted, str(time.time() + VALID_DAYS * 86400)]
    write(record, json.dumps(made))


def make_service_key(tls: Path) -> None:
    """The key that signs service accounts' tokens, unless it is there."""
    for name in ("service.key", "service.current.key"):
        if not (tls / name).exists():
            source = tls / "service.key"
            write(tls / name, source.read_text() if source.exists() else run(["openssl", "genrsa", "2048"]))


def request(key: Path, cn: str, org: str = "", sans: Sequence[str] = ()) -> str:
    """A certificate signing request; `key` is made."""
    write(key, "")
    return run(
        [
            *("openssl", "req", "-new", *KEY, "-keyout", key, "-subj", (f"/O={org}" if org else "") + f"/CN={cn}"),
            *(("-addext", f"subjectAltName={san(sans)}") if sans else ()),
        ]
    )


def near_end(certificate: Path) -> bool:
    """Whether a certificate is missing, or has to be made anew."""
    check = ["openssl", "x509", "-noout", "-checkend", str(RENEW), "-in", certificate]
    return not certificate.exists() or "will not expire" not in run(check, check=False)


def kubeconfig(
    path: Path, server: str, ca: Path, certificate: Path, *, mode: int = 0o600, inline: bool = False
) -> None:
    """A kubeconfig for a client certificate, whose key is beside it; `inline` copies both into the file."""
    key = certificate.with_suffix(".key")
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    authority = {"certificate-authority": str(ca)}
    if inline:
        encoded = [base64.b64encode(file.read_bytes()).decode() for file in (certificate, key, ca)]
        user = {"client-certificate-data": encoded[0], "client-key-data": encoded[1]}
        authority = {"certificate-authority-data": encoded[2]}
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "default", "cluster": {"server": server, **authority}}],
        "users": [{"name": "default", "user": user}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
        "current-context": "default",
    }
    write(path, yaml.safe_dump(text, sort_keys=False), mode)
