"""Takes events for the stand-in for Argo Events: those that bring a token, and those that GitHub signed."""

import hmac
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rehearsal.programs.argo import web
from rehearsal.programs.argo.counters import count
from rehearsal.programs.argo.web import Answer, Request
from rehearsal.programs.kube import say

SECRETS = Path("/secrets")
TAKING = 8099
"""Port of a sensor."""
KINDS = ("webhook", "github")
KEYS = {"eventBusName", "template", "service", "replicas", *KINDS}
HOOK = {"endpoint", "method", "port", "maxPayloadSize"}
GITHUB = {"webhook", "webhookSecret", "events", "repositories", "organizations", "contentType", "active", "insecure"}
"""Without an API token or an app: GitHub's own settings are nobody's here."""
LARGEST = 1 << 20
SIGNATURES = ("X-Hub-Signature-256", "X-Hub-Signature")
ALGORITHMS = ("sha1", "sha256", "sha512")
ADDED = ("X-GitHub-Event", "X-GitHub-Delivery")
"""Headers that Argo Events puts into the body of what GitHub sent."""
Send = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Hook:
    """An event of a source: where it is posted, and what it must bring."""

    event: str
    kind: str
    endpoint: str
    port: int
    method: str
    largest: int
    secret: tuple[str, str] | None
    """Name and key of a Secret."""

    @classmethod
    def of(cls, event: str, kind: str, spec: Mapping[str, Any]) -> "Hook":
        """As a source's spec has it."""
        place = spec["webhook"] if kind == "github" else spec
        wanted = spec.get("webhookSecret" if kind == "github" else "authSecret")
        secret = (wanted["name"], wanted["key"]) if wanted else None
        largest = int(place.get("maxPayloadSize", LARGEST))
        return cls(event, kind, place["endpoint"], int(place["port"]), place["method"], largest, secret)


def hooks(spec: Mapping[str, Any]) -> list[Hook]:
    """The events of a source."""
    return [Hook.of(event, kind, one) for kind in KINDS for event, one in (spec.get(kind) or {}).items()]


def unknown(spec: Mapping[str, Any]) -> list[str]:
    """Fields of a source that would be left out, and what Argo Events would refuse."""
    found = set(spec) - KEYS
    for hook in (spec.get("webhook") or {}).values():
        found |= set(hook) - HOOK - {"authSecret"}
    for event, one in (spec.get("github") or {}).items():
        found |= {f"github.{event}.{key}" for key in set(one) - GITHUB}
        found |= {f"github.{event}.webhook.{key}" for key in set(one["webhook"]) - HOOK}
        if bool(one.get("repositories")) == bool(one.get("organizations")):
            found.add(f"github.{event}: either repositories or organizations is required")
        if one.get("contentType", "json") not in ("json", ""):
            found.add(f"github.{event}.contentType {one['contentType']}")
    found |= {f"{hook.kind}.{hook.event}: without a secret" for hook in hooks(spec) if hook.secret is None}
    return sorted(found)


def admitted(request: Request, hook: Hook, secret: str) -> Answer | None:
    """What a request is refused with; None: it may post an event."""
    return _signed(request, hook, secret) if hook.kind == "github" else _known(request, hook, secret)


def _known(request: Request, hook: Hook, secret: str) -> Answer | None:
    if request.method != hook.method:
        return Answer(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed\n")
    if not secret or not hmac.compare_digest(request.token.encode(), secret.encode()):
        return Answer(HTTPStatus.UNAUTHORIZED, "unauthorized\n")
    if len(request.body) > hook.largest:
        return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large\n")
    try:
        json.loads(request.body)
    except (ValueError, RecursionError):
        return Answer(HTTPStatus.BAD_REQUEST, "the body is no JSON\n")
    return None


def _signed(request: Request, hook: Hook, secret: str) -> Answer | None:
    """Argo Events answers 400 to whatever it does not take."""
    problem = ""
    if len(request.body) > hook.largest:
        problem = "http: request body too large"
    elif str(request.headers.get("Content-Type") or "").partition(";")[0].strip() != "application/json":
        problem = "webhook request has unsupported Content-Type"
    elif not signed(request.headers, request.body, secret):
        problem = "payload signature check failed"
    else:
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            body = None
        problem = "" if isinstance(body, dict) else "the body is no JSON object"
    return Answer(HTTPStatus.BAD_REQUEST, f"{problem}\n") if problem else None


def signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether GitHub signed a body, byte for byte as it came. Without a secret, nothing is."""
    given = next((str(headers[name]) for name in SIGNATURES if headers.get(name)), "")
    algorithm, _, digest = given.partition("=")
    if not secret or algorithm not in ALGORITHMS:
        return False
    wanted = hmac.new(secret.encode(), body, algorithm).hexdigest()
    return hmac.compare_digest(wanted.encode(), digest.encode())


def data(request: Request, hook: Hook) -> dict[str, Any]:
    """An event, as filters and parameters of sensors see it."""
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        shown = "*** Masked Auth Secret ***" if name.lower() == "authorization" else str(value)
        headers.setdefault("-".join(part.capitalize() for part in name.split("-")), []).append(shown)
    body = json.loads(request.body)
    if hook.kind == "github":
        return {"headers": headers, "body": {**body, **{name: request.headers.get(name) or "" for name in ADDED}}}
    return {"header": headers, "body": body}


def post(url: str, body: bytes) -> None:
    """Send an event within the namespace."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  a Service of ours
    with urllib.request.urlopen(request, timeout=20):  # noqa: S310  a Service of ours
        pass


def source(
    item: Mapping[str, Any], targets: Mapping[str, Sequence[str]], *, secrets: Path = SECRETS, send: Send = post
) -> None:
    """Take events, and hand each to the Services of the sensors that are named for it."""
    name, space = item["metadata"]["name"], item["metadata"]["namespace"]
    known = {hook.endpoint: hook for hook in hooks(item["spec"])}

    def handle(request: Request) -> Answer:
        hook = known.get(request.path)
        if hook is None or hook.secret is None:
            return Answer(HTTPStatus.NOT_FOUND, "not found\n")
        refused = admitted(request, hook, secrets.joinpath(*hook.secret).read_text())
        if refused:
            return refused
        event = {"id": str(uuid.uuid4()), "event": hook.event, "source": name, "data": data(request, hook)}
        try:
            for target in targets[hook.event]:
                send(f"http://{target}.{space}.svc:{TAKING}/", json.dumps(event).encode())
        except (urllib.error.URLError, OSError) as error:
            say(f"{hook.event}: a sensor did not take it: {error}")
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "failed to publish\n")
        count("argo_events_events_sent_total", event_name=hook.event, event_source_name=name)
        return Answer(HTTPStatus.OK, "success\n")

    [port] = {hook.port for hook in known.values()}
    web.serve(port, handle)
