"""A small client of the Kubernetes API: one kubeconfig, JSON in and out, discovery.

Only the kubeconfig that the program gives is used, never the one of the user who rehearses.
"""

import base64
import binascii
import functools
import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from urllib3.contrib.socks import SOCKSProxyManager

from config import yaml_text
from rehearsal.protocol import Call, ProviderError

Object = dict[str, Any]
Query = Mapping[str, str | int]
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
NOT_FOUND, CONFLICT, TOO_MANY, SERVER_ERROR = 404, 409, 429, 500
TIMES = 10
"""How often client-go repeats a request."""
PASSING = frozenset({408, CONFLICT, TOO_MANY, 500, 502, 503, 504})
"""Answers that may be another one a moment later."""
GENERIC: Mapping[int, tuple[str, str]] = {
    CONFLICT: ("Conflict", "the server reported a conflict"),
    TOO_MANY: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: (
        "Timeout",
        "the server was unable to return a response in the time allotted, but may still be processing the request",
    ),
}
"""client-go's reason and words of an answer without words: NewGenericServerResponse of apimachinery."""
CA, DATA = "certificate-authority-data", ("client-certificate-data", "client-key-data")
"""Keys of a kubeconfig's certificates and key."""
APPLY, JSON_PATCH = "application/apply-patch+yaml", "application/json-patch+json"


class UnreachableError(ProviderError):
    """The API server did not answer."""

    passing = True


class ApiError(ProviderError):
    """The API server said no."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        """Keep the HTTP status and the server's reason beside its message."""
        super().__init__(f"the API server says: {message}")
        self.status, self.reason = status, reason

    @property
    def passing(self) -> bool:
        """Whether it may be another answer a moment later."""
        return self.status in PASSING


class NoKindError(ApiError):
    """The API server has no such kind: its definition is not installed (yet)."""


@dataclass(frozen=True)
class Access:
    """One context of a kubeconfig."""

    server: str
    namespace: str = "default"
    ca: str | None = None
    certificate: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    proxy: str | None = None
    tls_name: str | None = None


def parse(kubeconfig: str, context: str | None = None) -> Access:
    """Read the text of a kubeconfig; ProviderError names what is missing, and never shows the text."""
    try:
        data = yaml_text.load(kubeconfig)
        name = context or data["current-context"]
        chosen = _named(data["contexts"], name)["context"]
        cluster = _named(data["clusters"], chosen["cluster"])["cluster"]
        user = _named(data["users"], chosen["user"])["user"]
        server, strange = cluster["server"].rstrip("/"), set(user) - {*DATA, "token"}
        namespace, insecure = chosen.get("namespace"), cluster.get("insecure-skip-tls-verify")
        ca, certificate, key = (_pem(part.get(name)) for part, name in ((cluster, CA), *((user, one) for one in DATA)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = error if isinstance(error, KeyError) else type(error).__name__
        raise ProviderError(f"the kubeconfig of the provider is not usable: {what}; give its text, complete") from None
    if strange or insecure:
        raise ProviderError(
            f"the kubeconfig of the provider uses {', '.join(sorted(strange)) or 'insecure-skip-tls-verify'}; "
            "the rehearsal supports client certificates and tokens as data, with a verified server"
        )
    return Access(
        server,
        namespace or "default",
        ca,
        certificate,
        key,
        user.get("token"),
        cluster.get("proxy-url"),
        cluster.get("tls-server-name"),
    )


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next((item for item in items if item["name"] == name), {})


def _pem(text: str | None) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode() if text else None
    except (binascii.Error, UnicodeDecodeError):
        raise ProviderError("the kubeconfig of the provider has a certificate or key that is not base64") from None


@contextmanager
def private_file(text: str) -> Iterator[Path]:
    """A file for this process and its children, which is gone with it even where it is killed."""
    with os.fdopen(os.memfd_create("leasehold"), "w") as file:
        file.write(text)
        file.flush()
        yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")


@dataclass(frozen=True)
class Kind:
    """How a kind is addressed."""

    path: str
    namespaced: bool

    def url(self, namespace: str | None, name: str = "") -> str:
        """Path of an object, or of the collection."""
        head, _, plural = self.path.rpartition("/")
        inside = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        return f"{head}{inside}/{plural}" + (f"/{quote(name, safe='')}" if name else "")


class Api:
    """One API server, for any number of threads."""

    def __init__(self, access: Access) -> None:
        """Prepare the connections; nothing is asked yet."""
        self.access = access
        options: dict[str, Any] = {
            "ssl_context": _tls(access),
            "server_hostname": access.tls_name,
            "maxsize": 16,
            "retries": False,
            "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS),
        }
        if access.proxy:
            # The name is resolved at the far end, as kubectl does.
            proxy = access.proxy.replace("socks5://", "socks5h://")
            self._pool: urllib3.PoolManager = SOCKSProxyManager(proxy, **options)
        else:
            self._pool = urllib3.PoolManager(**options)
        self._kinds: dict[str, dict[str, Kind]] = {}

    def call(
        self, method: str, path: str, body: Any = None, content: str = "application/json", query: Query | None = None
    ) -> Object:
        """Send one request; returns the decoded answer. UnreachableError, or ApiError with the server's words."""
        return dict(json.loads(self.text(method, path, body, content, query)))

    def text(
        self, method: str, path: str, body: Any = None, content: str = "application/json", query: Query | None = None
    ) -> str:
        """The same for an answer that is no JSON, such as a log."""
        headers = {"Content-Type": content, "Accept": "application/json, */*"}
        if self.access.token:
            headers["Authorization"] = f"Bearer {self.access.token}"
        url = f"{self.access.server}{path}" + (f"?{urlencode(query)}" if query else "")
        answer = self._repeatedly(method, url, None if body is None else json.dumps(body), headers)
        text = answer.data.decode(errors="replace")
        if answer.status >= 400:
            raise _refusal(method, answer.status, text)
        return text

    def _repeatedly(
        self, method: str, url: str, data: str | None, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """Send a request as client-go does: again where the server says when, or where a GET lost its connection."""
        for left in reversed(range(TIMES + 1)):
            try:
                answer = self._pool.request(method, url, body=data, headers=headers)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                cause = getattr(error, "reason", None) or error
                if left and method == "GET" and isinstance(error, urllib3.exceptions.ProtocolError):
                    time.sleep(1)
                    continue
                raise UnreachableError(
                    f"the API server {self.access.server} does not answer ({type(cause).__name__}); "
                    "see whether it runs, and whether this address is the cluster's"
                ) from None
            asked = answer.headers.get("Retry-After", "")
            if not left or not asked.isdecimal() or not (answer.status == TOO_MANY or answer.status >= SERVER_ERROR):
                break
            time.sleep(int(asked))
        return answer

    def kind(self, api_version: str, kind: str) -> Kind:
        """Look a kind up in the server's discovery; NoKindError if it is not there, also after a second look."""
        known = self._kinds.get(api_version, {}).get(kind)
        if known is None:
            self._kinds[api_version] = self._discover(api_version)
            known = self._kinds[api_version].get(kind)
        if known is None:
            raise NoKindError(
                NOT_FOUND, "NoMatch", f"there is no kind {kind} in {api_version}; install its definition (CRD) first"
            )
        return known

    def _discover(self, api_version: str) -> dict[str, Kind]:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            found = self.call("GET", root)["resources"]
        except ApiError as error:
            if error.status == NOT_FOUND:
                return {}
            raise
        return {
            item["kind"]: Kind(f"{root}/{item['name']}", item["namespaced"])
            for item in found
            if "/" not in item["name"]
        }

    def get(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object:
        """One object."""
        return self.call("GET", self.kind(api_version, kind).url(namespace, name))

    def list(self, api_version: str, kind: str, namespace: str | None, query: Query | None = None) -> list[Object]:
        """Objects of a kind."""
        return list(self.call("GET", self.kind(api_version, kind).url(namespace), query=query).get("items") or [])


def _tls(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=access.ca)
        if access.certificate and access.key:
            with private_file(access.certificate + "\n" + access.key) as file:
                context.load_cert_chain(file)
    except (ssl.SSLError, ValueError):
        raise ProviderError(
            "the kubeconfig of the provider has a certificate or key that OpenSSL cannot read"
        ) from None
    return context


def _refusal(method: str, status: int, text: str) -> ApiError:
    """What the server said; what client-go says where that is nothing, such as of a proxy's answer."""
    reason, words = GENERIC.get(status, ("", f"the server responded with the status code {status}"))
    if status == CONFLICT and method == "POST":
        reason = "AlreadyExists"
    if status >= SERVER_ERROR and status not in GENERIC:
        words = "an error on the server has prevented the request from succeeding"
    try:
        said = json.loads(text)
        return ApiError(status, said.get("reason") or reason, said.get("message") or words)
    except (ValueError, AttributeError):
        return ApiError(status, reason, words)


@functools.lru_cache(maxsize=32)
def _client(kubeconfig: str, context: str | None) -> Api:
    return Api(parse(kubeconfig, context))


def client(provider: Mapping[str, Any]) -> Api:
    """The API server of an explicit provider resource; UnreachableError while its kubeconfig is not known."""
    kubeconfig = provider.get("kubeconfig")
    if kubeconfig is None:
        raise ProviderError(
            "there is no explicit provider with a kubeconfig; the rehearsal never uses the default one, "
            "which could be the kubeconfig of whoever rehearses"
        )
    if not isinstance(kubeconfig, str):
        raise UnreachableError("the kubeconfig is not known yet")
    return _client(kubeconfig, provider.get("context"))


def reach(call: Call) -> Api | None:
    """The API server if it can be asked now: previews, and what is only nice to know."""
    try:
        api = client(call.provider)
        api.kind("v1", "Namespace")
    except (UnreachableError, ApiError) as error:
        if error.passing:
            return None
        raise
    return api
