"""kubernetes:helm.sh/v3:Release, by the helm program."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rehearsal.protocol import Call, Diff, Props, ProviderError, Result, Unfinished, Unknown, Untouched
from rehearsal.providers.compare import check_names, has_unknown
from rehearsal.providers.kubernetes import objects, ready
from rehearsal.providers.kubernetes.api import Api, ApiError, UnreachableError, client
from rehearsal.providers.kubernetes.helm import (
    GRACE,
    PENDING,
    Helm,
    HelmError,
    checksum,
    documents,
    program,
    resource_names,
)
from rehearsal.providers.kubernetes.settings import absent, frozen

DEFAULT_SECONDS = 300
# Inputs that are a switch of both `install` and `upgrade`.
SWITCHES = {
    "atomic": "--atomic",
    "dependencyUpdate": "--dependency-update",
    "disableOpenapiValidation": "--disable-openapi-validation",
    "disableWebhooks": "--no-hooks",
    "renderSubchartNotes": "--render-subchart-notes",
    "skipCrds": "--skip-crds",
    "takeOwnership": "--take-ownership",
}
INSTALL = {"createNamespace": "--create-namespace", "replace": "--replace"}
UPGRADE = {
    "cleanupOnFail": "--cleanup-on-fail",
    "forceUpdate": "--force",
    "resetValues": "--reset-values",
    "reuseValues": "--reuse-values",
}
SUPPORTED = (
    *("chart", "version", "repositoryOpts", "name", "namespace", "values", "timeout", "skipAwait", "waitForJobs"),
    *("maxHistory", "description", "compat", "allowNullValues", *SWITCHES, *INSTALL, *UPGRADE),
)
COMPUTED = ("checksum", "resourceNames")


class Release:
    """A Helm release."""

    timeout = 600.0

    def __init__(self, find: Callable[[], Path] = program) -> None:
        """`find` gives the helm program."""
        self._find = find

    def check(self, call: Call, news: Props) -> Props:
        """Fill in the published defaults, and what the chart renders: its checksum and the names of its objects."""
        label = _label(call)
        check_names(label, SUPPORTED, ["chart"], news)
        if frozen(call):
            return dict(call.before)
        inputs = {key: value for key, value in news.items() if value is not None}
        repository = inputs.get("repositoryOpts") or {}
        if isinstance(repository, dict) and (strange := sorted(set(repository) - {"repo"})):
            raise ProviderError(f"{label}: repositoryOpts {', '.join(strange)} is not supported by the rehearsal")
        if not inputs.get("name"):
            old = call.before.get("name")
            inputs["name"] = old or f"{call.urn.rsplit('::', 1)[-1]}-{secrets.token_hex(4)}"
        if not inputs.get("skipAwait"):
            inputs.setdefault("timeout", DEFAULT_SECONDS)
        kubeconfig = call.provider.get("kubeconfig")
        if not inputs.get("namespace") and isinstance(kubeconfig, str):
            inputs["namespace"] = call.provider.get("namespace") or client(call.provider).access.namespace
        if has_unknown(inputs):
            return inputs
        manifest = self._template(call, inputs)
        return {**inputs, "checksum": checksum(manifest), "resourceNames": resource_names(manifest)}

    def _template(self, call: Call, inputs: Props) -> str:
        words = ["template", inputs["name"], *_chart(inputs), "--namespace", inputs.get("namespace") or "default"]
        words += [] if inputs.get("skipCrds") else ["--include-crds"]
        words += ["--dependency-update"] if inputs.get("dependencyUpdate") else []
        try:
            # An empty file: rendering asks no cluster.
            return Helm(call, "", self._find)(words, _values(inputs))
        except HelmError as error:
            raise ProviderError(
                f"{_label(call)}: {error}; check the chart {inputs['chart']}, its repository and the values"
            ) from error

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:  # noqa: ARG002  the protocol's signature
        """Compare inputs; only the name and the namespace cannot change."""
        old = olds.inputs or {}
        keys = [key for key in dict.fromkeys((*old, *news)) if key != "compat"]
        if any(isinstance(value, Unknown) for value in news.values()) or has_unknown(news):
            keys = [key for key in keys if key not in COMPUTED]  # not computed yet, which is no difference
        changed = tuple(key for key in keys if old.get(key) != news.get(key))
        return Diff(changed, tuple(key for key in changed if key in ("name", "namespace")))

    def create(self, call: Call, news: Props) -> Result:
        """Install it, and wait for what it installs unless skipAwait says otherwise."""
        helm = self._helm(call)
        words = ["install", news["name"], *_chart(news), *_options(news, INSTALL)]
        try:
            helm(words, _values(news), _seconds(news) + GRACE)
        except HelmError as error:
            if "cannot re-use a name" in str(error):
                raise Untouched(f"{_label(call)}: there is another release {news['name']}: {error}") from error
            raise self._failed(helm, news, error) from error
        return self._result(helm, news)

    def update(self, call: Call, olds: Result, news: Props) -> Result:
        """Upgrade it; a failed one too, but not one whose last operation was cut off: helm does not know its state."""
        helm = self._helm(call)
        status = (helm.release(_namespace(olds.outputs), news["name"]) or {}).get("status")
        if status in PENDING:
            undo = f"helm uninstall {news['name']} -n {_namespace(news)}"
            raise ProviderError(
                f"{_label(call)}: an operation that was cut off left the release in state {status}, where helm refuses "
                f"to change it: run `{undo}` (or `helm rollback`, where a revision was good), then up again"
            )
        words = ["upgrade", news["name"], *_chart(news), *_options(news, UPGRADE)]
        words += ["--history-max", str(int(news.get("maxHistory") or 0))]
        try:
            helm(words, _values(news), _seconds(news) + GRACE)
        except HelmError as error:
            raise self._failed(helm, news, error) from error
        return self._result(helm, news)

    def read(self, call: Call, olds: Result) -> Result | None:
        """What is there now: the status, and values that somebody else has set, unless they were never installed."""
        try:
            client(call.provider).kind("v1", "Secret")
        except UnreachableError as error:
            return absent(call, olds, error)
        helm, old = self._helm(call), dict(olds.inputs or {})
        namespace, name = _namespace(olds.outputs), olds.outputs["name"]
        found = helm.release(namespace, name)
        if found is None:
            return None
        if found.get("status") == "deployed":
            values = json.loads(helm(["get", "values", name, "-n", namespace, "-o", "json"])) or {}
            if values != _values(old):
                old["values"] = values
        outputs = {**olds.outputs, "status": _status(found)}
        return Result(olds.id, outputs, old)

    def delete(self, call: Call, olds: Result) -> None:
        """Uninstall it. As upstream, deleteUnreachable does not help here: a release needs its cluster."""
        helm, props = self._helm(call), olds.outputs
        wait = props.get("atomic") or not props.get("skipAwait")
        words = ["uninstall", props["name"], "-n", _namespace(props), "--ignore-not-found"]
        words += ["--wait", "--timeout", f"{_seconds(props)}s"] if wait else []
        helm(words, seconds=_seconds(props) + GRACE)

    def find(self, call: Call, news: Props) -> str | None:
        """The release of that name: helm keeps the names, so nobody else has it. Only one that is whole: upstream
        takes no other one up, so the program must heal it.
        """
        if has_unknown(news):
            return None
        namespace = _namespace(news)
        try:
            found = self._helm(call).release(namespace, news["name"])
        except UnreachableError:
            return None  # as of any object: a destroy must not wait for a dead cluster
        id_ = f"{namespace}/{news['name']}"
        return id_ if found and found.get("status") == "deployed" and id_ not in call.known else None

    def _helm(self, call: Call) -> Helm:
        api = client(call.provider)
        api.kind("v1", "Secret")  # helm alone takes minutes to say that nobody answers
        return Helm(call, call.provider["kubeconfig"], self._find)

    def _result(self, helm: Helm, news: Props) -> Result:
        namespace = _namespace(news)
        found = helm.release(namespace, news["name"]) or {}
        manifest = helm(["get", "manifest", news["name"], "-n", namespace])
        outputs = {**news, "resourceNames": resource_names(manifest), "status": _status(found)}
        return Result(f"{namespace}/{news['name']}", {**outputs, "version": found.get("version", "")})

    def _failed(self, helm: Helm, news: Props, error: HelmError) -> ProviderError:
        """Keep a release that exists, as upstream does; name the Pod that is to blame."""
        namespace, name = _namespace(news), news["name"]
        text = f"{_label(helm.call)}: {error}"
        if helm.call.cancel.is_set():
            return ProviderError(text)
        if helm.release(namespace, name) is None:
            return Untouched(text)
        manifest = helm(["get", "manifest", name, "-n", namespace])
        blame = _blame(client(helm.call.provider), manifest, namespace)
        return Unfinished(f"{text}{blame}", self._result(helm, news))


def _blame(api: Api, manifest: str, namespace: str) -> str:
    for item in documents(manifest):
        probe = ready.PROBES.get((objects.group(item), item["kind"]))
        where = item["metadata"].get("namespace") or namespace
        try:
            live = api.get(item["apiVersion"], item["kind"], where, item["metadata"]["name"]) if probe else None
            missing = probe(api, live) if probe and live else None
        except ApiError:
            continue
        except ready.FailedError as failure:
            missing = str(failure)
        if live and missing:
            return f"; {item['kind']} {item['metadata']['name']}: {missing}{ready.explain(api, live)}"
    return ""


def _label(call: Call) -> str:
    return f"Release {call.urn.rsplit('::', 1)[-1]}"


def _namespace(props: Props) -> str:
    return str(props.get("namespace") or "default")


def _seconds(props: Props) -> int:
    return int(props.get("timeout") or DEFAULT_SECONDS)


def _values(props: Props) -> dict[str, Any]:
    values = props.get("values") or {}
    return values if props.get("allowNullValues") else _without_null(values)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value if item is not None] if isinstance(value, list) else value


def _chart(props: Props) -> list[str]:
    words = [str(props["chart"])]
    words += ["--repo", props["repositoryOpts"]["repo"]] if (props.get("repositoryOpts") or {}).get("repo") else []
    return words + (["--version", str(props["version"])] if props.get("version") else [])


def _options(props: Props, more: dict[str, str]) -> list[str]:
    words = ["--namespace", _namespace(props), "--timeout", f"{_seconds(props)}s"]
    words += [option for name, option in {**SWITCHES, **more}.items() if props.get(name)]
    words += ["--description", props["description"]] if props.get("description") else []
    if not props.get("skipAwait"):
        words += ["--wait", *(["--wait-for-jobs"] if props.get("waitForJobs") else [])]
    return words


def _status(found: dict[str, Any]) -> dict[str, Any]:
    names = ("name", "namespace", "chart", "version", "appVersion", "revision", "status")
    return {name: found[name] for name in names if name in found}
