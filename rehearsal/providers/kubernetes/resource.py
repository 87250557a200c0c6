"""One object of any kind: kubernetes:<group>/<version>:<Kind>.

Created as the published provider does since it stopped to adopt what exists: a plain create, and server-side apply
for changes. https://github.com/pulumi/pulumi-kubernetes/pull/4278
"""

import base64
import hashlib
from dataclasses import dataclass, replace
from typing import Any

from rehearsal.protocol import Call, Diff, Props, ProviderError, Result, Unfinished, Unknown, Untouched
from rehearsal.providers.clock import Clock
from rehearsal.providers.compare import has_unknown
from rehearsal.providers.kubernetes import objects, ready
from rehearsal.providers.kubernetes.api import (
    APPLY,
    CONFLICT,
    JSON_PATCH,
    NOT_FOUND,
    Api,
    ApiError,
    Kind,
    NoKindError,
    Object,
    UnreachableError,
    client,
    reach,
)
from rehearsal.providers.kubernetes.settings import absent, flag, frozen

MANAGER = "pulumi-kubernetes-"
KEPT_MANAGER = "__fieldManager"
RETRIES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between attempts while the namespace or the kind does not exist yet."""
SHORT_WAITS = {"Pod": 300.0, "Job": 600.0, "PersistentVolumeClaim": 300.0, "PersistentVolume": 300.0, "Secret": 30.0}


@dataclass(frozen=True)
class _Object:
    """What one verb is about."""

    call: Call
    api: Api
    item: Object
    kind: Kind

    @property
    def label(self) -> str:
        metadata = self.item["metadata"]
        where = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
        return f"{self.item['kind']} {where}{metadata['name']}"

    @property
    def url(self) -> str:
        metadata = self.item["metadata"]
        return self.kind.url(metadata.get("namespace"), metadata["name"])

    def get(self) -> Object | None:
        try:
            return self.api.call("GET", self.url)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def apply(self, manager: str) -> Object:
        """Server-side apply of the whole item."""
        force = objects.annotations(self.item).get(objects.PATCH_FORCE) == "true"
        query = {"fieldManager": manager, "force": str(force).lower()}
        return self.api.call("PATCH", self.url, self.item, APPLY, query)

    def relinquish(self, manager: str) -> None:
        """Let go of every field that `manager` set: those that nobody else set are gone, or as by default."""
        identity = {key: self.item["metadata"][key] for key in ("name", "namespace") if key in self.item["metadata"]}
        bare = {"apiVersion": self.item["apiVersion"], "kind": self.item["kind"], "metadata": identity}
        if self.get() is not None:  # else the apply would make it
            self.api.call("PATCH", self.url, bare, APPLY, {"fieldManager": manager, "force": "false"})


class Resource:
    """Any kind that the API server knows."""

    timeout = 600.0

    def check(self, call: Call, news: Props) -> Props:
        """Fill in apiVersion, kind, a name and the namespace; refuse what is not honoured."""
        api_version, kind = objects.group_version_kind(_token(call))
        inputs = {**{key: value for key, value in news.items() if value is not None}, "apiVersion": api_version}
        inputs["kind"] = kind
        objects.refuse_annotations(inputs)
        objects.conditions(objects.annotations(inputs).get(objects.WAIT_FOR, "[]"))
        if frozen(call):
            return dict(call.before)
        if objects.is_patch(_token(call)):
            _refuse_nameless(call, inputs)
        else:
            inputs = objects.named(inputs, call.urn.rsplit("::", 1)[-1], call.before)
        metadata = inputs["metadata"]
        if isinstance(metadata, dict) and not metadata.get("namespace") and (api := reach(call)):
            default = call.provider.get("namespace") or api.access.namespace
            if _namespaced(api, api_version, kind):
                inputs["metadata"] = {**metadata, "namespace": default}
        return inputs

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:
        """Compare what was there, cut to the shape of the old inputs, with the new inputs."""
        old = objects.pruned(objects.normalized(olds.outputs), objects.normalized(olds.inputs or {}))
        new = objects.normalized(news)
        changed = objects.differences(_canonical(old), _canonical(new))
        mutable = frozenset(
            name for name in ("ConfigMap", "Secret") if flag(call.provider, f"enable{name}Mutable", default=False)
        )
        replaces = objects.force_new(new, changed, mutable)
        if self._unready(call, olds, new):
            path = f'metadata.annotations["{objects.REPLACE_UNREADY}"]'
            changed, replaces = [*changed, path], [*replaces, path]
        identity = ("name", "namespace")
        same = all(_member(_canonical(new), key) == _member(_canonical(olds.outputs), key) for key in identity)
        first = bool(replaces) and same and objects.AUTONAMED not in objects.annotations(new)
        return Diff(tuple(changed), tuple(replaces), first)

    def _unready(self, call: Call, olds: Result, new: Props) -> bool:
        if objects.annotations(new).get(objects.REPLACE_UNREADY) != "true" or new["kind"] != "Job":
            return False
        api = reach(call)
        if api is None:
            return False
        live = _object(call, api, olds.outputs).get()
        return live is not None and ready.condition(live, "Complete").get("status") != "True"

    def create(self, call: Call, news: Props) -> Result:
        """Make it, and wait until it is usable. A patch sets its fields, and makes what is not there, as upstream."""
        item, manager = objects.normalized(news), _manager(call, news)
        _refuse_unknown(call, item)
        api, clock = client(call.provider), Clock(call, f"{item['kind']} {item['metadata']['name']}")

        def attempt() -> Object:
            thing = _object(call, api, item)
            if objects.is_patch(_token(call)):
                return thing.apply(manager)
            url = thing.kind.url(thing.item["metadata"].get("namespace"))
            return api.call("POST", url, thing.item, query={"fieldManager": manager})

        for pause in (*RETRIES, None):
            try:
                made = attempt()
                break
            except ApiError as error:
                if error.passing and error.status != CONFLICT:
                    raise ProviderError(f"{clock.label} may not have been created: {error}") from error
                if error.reason == "AlreadyExists":
                    raise Untouched(
                        f"{clock.label} exists already and is not recorded in this stack: give it another name, delete "
                        f"it, or import it ({error})"
                    ) from None
                if error.status != NOT_FOUND or pause is None:
                    raise Untouched(f"{clock.label} was not created: {error}{_hint(error)}") from error
                clock.pause(pause, "waiting for its namespace or its kind")
        return self._wait(call, api, made, manager)

    def read(self, call: Call, olds: Result) -> Result | None:
        """What is there; None when it is gone, or the cluster is and deleteUnreachable is set."""
        try:
            live = _object(call, client(call.provider), olds.outputs).get()
        except NoKindError:
            return None
        except UnreachableError as error:
            return absent(call, olds, error)
        if live is None:
            return None
        inputs = objects.normalized(olds.inputs or {})
        found = objects.pruned(live, inputs)
        kept = olds.inputs if found == inputs else _as_given(found, olds.inputs or {})
        return replace(_result(live, olds.outputs.get(KEPT_MANAGER) or _manager(call)), inputs=kept)

    def update(self, call: Call, olds: Result, news: Props) -> Result:
        """Server-side apply, then wait; a definition (CRD) is put in place as a whole, as upstream does."""
        item = objects.normalized(news)
        _refuse_unknown(call, item)
        api = client(call.provider)
        manager = olds.outputs.get(KEPT_MANAGER) or _manager(call, news)
        thing = _object(call, api, item)
        live = thing.get()
        if live is None:
            raise ProviderError(f"{thing.label} is gone; run refresh, then up")
        try:
            if item["kind"] == "CustomResourceDefinition":
                version = live["metadata"]["resourceVersion"]
                body = {**thing.item, "metadata": {**thing.item["metadata"], "resourceVersion": version}}
                made = api.call("PUT", thing.url, body, query={"fieldManager": manager})
            else:
                _adopt_fields(thing, live, manager)
                made = thing.apply(manager)
        except ApiError as error:
            raise ProviderError(f"{thing.label} was not changed: {error}{_hint(error)}") from error
        return self._wait(call, api, made, manager)

    def delete(self, call: Call, olds: Result) -> None:
        """Remove it with all that it owns, and wait until it is gone. A patch only lets go of its fields."""
        try:
            api = client(call.provider)
            thing = _object(call, api, olds.outputs)
            marks = objects.annotations(olds.outputs)
            if objects.is_patch(_token(call)):
                thing.relinquish(olds.outputs[KEPT_MANAGER])
                return
            policy = marks.get(objects.PROPAGATION, "foreground").capitalize()
            options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy}
            api.call("DELETE", thing.url, options)
        except UnreachableError as error:
            if flag(call.provider, "deleteUnreachable", default=False):
                return
            raise ProviderError(f"{error}; an object of a cluster that is gone goes with `deleted_with`") from error
        except ApiError as error:
            if error.status == NOT_FOUND:
                return
            raise
        if marks.get(objects.SKIP_AWAIT) != "true":
            self._gone(call, thing, olds.outputs["metadata"].get("uid"))

    def find(self, call: Call, news: Props) -> str | None:
        """The object of that name, if this stack made it: its field manager is the mark."""
        if has_unknown(news) or objects.is_patch(_token(call)):
            return None  # a patch is simply applied again
        try:
            live = _object(call, client(call.provider), objects.normalized(news)).get()
        except (ApiError, UnreachableError):
            return None  # an answer is not worth a destroy that waits for a dead cluster
        managers = [entry.get("manager", "") for entry in ((live or {}).get("metadata") or {}).get("managedFields", [])]
        return _id(live) if live and _manager(call) in managers and _id(live) not in call.known else None

    def _wait(self, call: Call, api: Api, made: Object, manager: str) -> Result:
        marks, thing = objects.annotations(made), _object(call, api, made)
        probe = ready.PROBES.get((objects.group(made), made["kind"]))
        expressions = objects.conditions(marks.get(objects.WAIT_FOR, "[]"))
        if marks.get(objects.SKIP_AWAIT) in ("true", "ready") or not (probe or expressions):
            return _result(made, manager)
        limit = min(call.timeout, SHORT_WAITS.get(made["kind"], call.timeout))
        clock = Clock(call, thing.label, float(marks[objects.TIMEOUT]) if marks.get(objects.TIMEOUT) else limit)
        last = _Last(made)

        def look() -> Object | None:
            try:
                last.item = thing.get() or last.item
                missing = [entry for entry in expressions if not ready.holds(last.item, entry)]
                last.text = ", ".join(missing) if expressions else probe(api, last.item) if probe else None
            except (UnreachableError, ApiError) as error:
                if not error.passing:
                    raise
                last.text = str(error)
            return last.item if not last.text else None

        try:
            return _result(clock.until("waiting until it is usable", look), manager)
        except ProviderError as error:
            if isinstance(error, ready.FailedError):
                text = f"{thing.label} did not become live: {error}"
            else:
                text = f"{error}; it exists, but did not become live: {last.text or 'it is not as it should be'}"
            raise Unfinished(f"{text}{ready.explain(api, last.item)}", _result(last.item, manager)) from error

    def _gone(self, call: Call, thing: _Object, uid: str | None) -> None:
        last: list[Object] = []

        def look() -> bool | None:
            try:
                live = thing.get()
            except (UnreachableError, ApiError) as error:
                if error.passing:
                    return None
                raise
            if live is None or (uid and live["metadata"].get("uid") != uid):
                return True
            last[:] = [live]
            return None

        try:
            Clock(call, thing.label).until("waiting until it is deleted", look)
        except ProviderError as error:
            held = last[0]["metadata"].get("finalizers") if last else None
            why = f"; held by {', '.join(held)}" if held else ""
            raise ProviderError(f"{error}{why}") from error


@dataclass
class _Last:
    """What the last look at an object found."""

    item: Object
    text: str | None = None


def _token(call: Call) -> str:
    return call.urn.split("::", 3)[2].rsplit("$", 1)[-1]


def _manager(call: Call, item: Props | None = None) -> str:
    """Upstream's name ends at random; here the end tells whose it is. The program may choose one."""
    chosen = objects.annotations(item or {}).get(objects.PATCH_MANAGER)
    return chosen or MANAGER + hashlib.sha256(call.urn.encode()).hexdigest()[:8]


def _hint(error: ApiError) -> str:
    return f"; {objects.PATCH_FORCE} takes the fields over" if error.status == CONFLICT else ""


def _refuse_nameless(call: Call, item: Props) -> None:
    metadata = item.get("metadata") or {}
    if not isinstance(metadata, Unknown) and not metadata.get("name"):
        raise ProviderError(f"{call.urn.rsplit('::', 1)[-1]}: a patch needs metadata.name, of what it patches")


def _namespaced(api: Api, api_version: str, kind: str) -> bool:
    try:
        return api.kind(api_version, kind).namespaced
    except NoKindError:
        return True  # upstream assumes the same of kinds whose definition is yet to come
    except ApiError as error:
        if error.passing:
            return False  # upstream has a table of its own; the create asks again
        raise


def _object(call: Call, api: Api, item: Object) -> _Object:
    kind = api.kind(item["apiVersion"], item["kind"])
    metadata = dict(item["metadata"])
    if not kind.namespaced:
        metadata.pop("namespace", None)
    elif not metadata.get("namespace"):
        metadata["namespace"] = call.provider.get("namespace") or api.access.namespace
    return _Object(call, api, {**item, "metadata": metadata}, kind)


def _refuse_unknown(call: Call, item: Props) -> None:
    if has_unknown(item):
        raise ProviderError(f"{call.urn.rsplit('::', 1)[-1]}: a value it needs is not known yet")


def _id(item: Object) -> str:
    metadata = item["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])


def _result(item: Object, manager: str) -> Result:
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return Result(_id(item), {**item, "metadata": metadata, KEPT_MANAGER: manager})


def _canonical(item: Props) -> Props:
    metadata = item.get("metadata")
    if not isinstance(metadata, dict):
        return item
    return {**item, "metadata": {**metadata, "namespace": metadata.get("namespace") or "default"}}


def _member(item: Props, key: str) -> Any:
    metadata = item.get("metadata")
    return None if isinstance(metadata, Unknown) else (metadata or {}).get(key)


def _as_given(found: Props, inputs: Props) -> Props:
    """What was found, in the form of the inputs: a Secret's `stringData` stays that."""
    if "stringData" not in inputs or "data" not in found:
        return found
    texts = {
        key: base64.b64decode(found["data"].pop(key)).decode() for key in inputs["stringData"] if key in found["data"]
    }
    rest = {key: value for key, value in found.items() if key != "data" or value}
    return {**rest, "stringData": texts}


def _adopt_fields(thing: _Object, live: Object, manager: str) -> None:
    """Turn the fields of the plain create into fields of server-side apply, or a removed one would stay for ever."""
    entries = live["metadata"].get("managedFields") or []
    mine = [entry for entry in entries if entry.get("manager") == manager and not entry.get("subresource")]
    if not any(entry["operation"] == "Update" for entry in mine):
        return
    fields: Object = {}
    for entry in mine:
        _merge(fields, entry.get("fieldsV1") or {})
    merged = {**mine[0], "operation": "Apply", "fieldsV1": fields}
    rest = [entry for entry in entries if entry not in mine]
    version = live["metadata"]["resourceVersion"]
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": [*rest, merged]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
    ]
    thing.api.call("PATCH", thing.url, patch, JSON_PATCH)


def _merge(into: Object, other: Object) -> None:
    for key, value in other.items():
        _merge(into.setdefault(key, {}), value)
