"""One connection per cloud and region, and requests that end: bounded retries, errors without secrets.

What is repeated is what the published provider repeats, which is little (gophercloud/utils, client.RoundTripper and
RetryBackoffFunc, with `max_retries`): a request without an answer, unless its body has been sent, and a 429 that says
when to come back. Everything else is the program's to decide, by error hooks.
"""

import os
import re
import threading
from collections.abc import Mapping
from typing import Any

import openstack
from keystoneauth1 import exceptions as ksa
from keystoneauth1.session import TCPKeepAliveAdapter
from openstack import exceptions as sdk
from openstack.connection import Connection

from rehearsal.protocol import Call, ProviderError
from rehearsal.providers.clock import Clock

LONGEST_RETRY_AFTER = 60.0
REQUEST_TIMEOUT = 60.0
POOL = 64
MESSAGE_LIMIT = 600
TOO_MANY = 429
NOT_FOUND = 404
CONFLICT = 409
BAD_REQUEST = 400
# Nova writes the refused value into its message: user data may hold keys and passwords.
SENSITIVE = re.compile(r"user_?data|personality|admin_?pass|injected_files", re.IGNORECASE)

_lock = threading.Lock()
_connections: dict[tuple[str | None, ...], Connection] = {}
_refused: dict[tuple[str | None, ...], str] = {}
"""Logins that failed are not tried again by the same process, as the published provider does: accounts get locked."""


class ApiError(ProviderError):
    """A service refused, with its own message."""

    def __init__(self, text: str, status: int = 0, retry_after: str = "") -> None:
        """`status` is the HTTP status, 0 when there was no answer."""
        super().__init__(text)
        self.status = status
        self.retry_after = float(retry_after) if retry_after.isdigit() else None
        """Seconds; None where the service does not say."""


def connect(provider: Mapping[str, Any]) -> Connection:
    """The connection for a provider's inputs `cloud` and `region`; made once, shared by all threads."""
    cloud = provider.get("cloud") or None
    region = provider.get("region") or None
    environment = [os.environ.get(name) for name in ("OS_CLIENT_CONFIG_FILE", "OS_CLOUD", "OS_REGION_NAME")]
    key = (cloud, region, *environment)
    with _lock:
        if key in _refused:
            raise ProviderError(_refused[key])
        if key not in _connections:
            where = f"cloud {cloud or os.environ.get('OS_CLOUD') or 'of the OS_* variables'}"
            options = {"region_name": region} if region else {}
            try:
                connection = openstack.connect(cloud=cloud, **options)
                for scheme in ("http://", "https://"):
                    # One connection per thread: the default of ten would be dropped and dialled again and again.
                    connection.session.mount(scheme, TCPKeepAliveAdapter(pool_maxsize=POOL))
                connection.authorize()
            except (sdk.SDKException, ksa.ClientException) as error:
                _refused[key] = f"{where}: {_short(str(error))}; check clouds.yaml and the credential"
                raise ProviderError(_refused[key]) from None
            _connections[key] = connection
        return _connections[key]


def forget_refusals() -> None:
    """Let logins be tried again, as a new process of the provider would."""
    with _lock:
        _refused.clear()


def region_of(provider: Mapping[str, Any]) -> str:
    """The region that requests go to."""
    return str(provider.get("region") or connect(provider).config.get_region_name() or "")


class Api:
    """One service (`network`, `compute`, `block_storage`, `image`) for one verb of one resource."""

    def __init__(self, call: Call, service: str, clock: Clock, microversion: str | None = None) -> None:
        """`microversion` holds for every request that names no other."""
        self.clock = clock
        self._call = call
        self._service = service
        self._microversion = microversion
        connection = connect(call.provider)
        with _lock:  # the SDK makes its service proxies at first use
            self._proxy = getattr(connection, service)

    def sibling(self, service: str) -> "Api":
        """Another service of the same cloud, within the same time."""
        return Api(self._call, service, self.clock)

    def again(self, timeout: float) -> "Api":
        """The same service with time of its own (seconds), for cleaning up."""
        return Api(self._call, self._service, Clock(self._call, self.clock.label, timeout), self._microversion)

    def get(self, path: str, **params: Any) -> Any:
        """The body of the answer."""
        return self.request("GET", path, params={key: value for key, value in params.items() if value is not None})

    def find(self, path: str, **params: Any) -> Any | None:
        """As `get`; None when there is no such object."""
        try:
            return self.get(path, **params)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def delete(self, path: str) -> None:
        """Gone already is success; in use is tried again until time is up."""

        def attempt() -> bool | None:
            try:
                self.request("DELETE", path)
            except ApiError as error:
                if error.status == CONFLICT:
                    conflict.append(error)
                    return None
                if error.status != NOT_FOUND:
                    raise
            return True

        conflict: list[ApiError] = []
        try:
            self.clock.until("waiting until it is no longer in use", attempt)
        except ApiError:
            raise
        except ProviderError as error:
            raise ProviderError(f"{error} ({conflict[-1]})" if conflict else str(error)) from None

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        microversion: str | None = None,
    ) -> Any:
        """Send, and repeat as the published provider does, `maxRetries` times."""
        retries = int(self._call.provider.get("maxRetries") or 0)
        while True:
            self.clock.check("asking the cloud")
            response, error = self._send(method, path, body, params, microversion or self._microversion)
            if error is None:
                return response.json() if response.content else {}
            unanswered = not error.status and (body is None or "refused" in str(error))
            wait = 0.0 if unanswered else error.retry_after if error.status == TOO_MANY else None
            if wait is None or not retries:
                raise error
            retries -= 1
            self.clock.pause(min(wait, LONGEST_RETRY_AFTER), f"repeating a request ({error})")

    def _send(
        self, method: str, path: str, body: Any, params: Any, microversion: str | None
    ) -> tuple[Any, ApiError | None]:
        options: dict[str, Any] = {
            "timeout": max(1.0, min(REQUEST_TIMEOUT, self.clock.left)),
            "connect_retries": 0,
        }
        if body is not None:
            options["json"] = body
        if params:
            options["params"] = params
        if microversion:
            options["microversion"] = microversion
        try:
            response = self._proxy.request(path, method, raise_exc=False, **options)
        except (ksa.ConnectionError, ksa.RetriableConnectionFailure) as failure:
            return None, ApiError(f"{self.clock.label}: {_short(str(failure))}")
        except (sdk.SDKException, ksa.ClientException) as failure:
            status = int(getattr(failure, "http_status", 0) or getattr(failure, "status_code", 0) or 0)
            raise ApiError(f"{self.clock.label}: {_short(str(failure))}", status or BAD_REQUEST) from None
        if response.status_code < BAD_REQUEST:
            return response, None
        request_id = response.headers.get("x-openstack-request-id") or response.headers.get("x-compute-request-id")
        details = f"HTTP {response.status_code}" + (f", request {request_id}" if request_id else "")
        text = f"{self.clock.label}: {message(response)} ({details})"
        return response, ApiError(text, response.status_code, response.headers.get("Retry-After") or "")


def message(response: Any) -> str:
    """What the service said, without values that may be secret."""
    try:
        body = response.json()
    except ValueError:
        body = None
    while isinstance(body, dict):
        inner = next((body[key] for key in ("message", "detail", "faultstring") if body.get(key)), None)
        body = inner or next((value for value in body.values() if isinstance(value, dict)), None)
    return _short(str(body or response.reason or "no message"))


def _short(text: str) -> str:
    text = " ".join(text.split())
    found = SENSITIVE.search(text)
    if found:
        text = f"{text[: found.end()]} refused (the value is not shown)"
    return text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]} ..."
