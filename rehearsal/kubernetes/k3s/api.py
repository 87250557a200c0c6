"""A client of the Kubernetes API: requests, server-side apply, and watches that wake a worker."""

import http.client
import json
import re
import ssl
import threading
from pathlib import Path
from typing import Any

from . import log
from .log import Fatal
from .processes import Group

V1 = "/api/v1"
SYSTEM = f"{V1}/namespaces/kube-system"
NODES = f"{V1}/nodes"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
ENDPOINTS = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
CLUSTER_INFO = f"{V1}/namespaces/kube-public/configmaps/cluster-info"
Object = dict[str, Any]


class ApiError(Exception):
    """The API server refused; `status` is the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        """`text` says what was asked and what was answered."""
        super().__init__(text)
        self.status = status


class Api:
    """One API server, or a balancer before several. Without `ca` nothing that it says is trusted by this class."""

    def __init__(self, url: str, ca: Path | None = None, certificate: Path | None = None, token: str = "") -> None:
        """The key of `certificate` is beside it. Raises Fatal if `url` is not https."""
        parts = re.fullmatch(r"https://\[?([^\]/]+?)\]?(?::(\d+))?/?", url)
        if not parts:
            raise Fatal(f"only https:// URLs are supported, invalid scheme: {url}")
        self.url, self.host, self.port = url.rstrip("/"), parts[1], int(parts[2] or 443)
        self.token = token
        self.context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if not ca:
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE
        if certificate:
            self.context.load_cert_chain(certificate, certificate.with_suffix(".key"))

    def open(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", timeout: float = 15
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        """Send one request. Raises ApiError at a status of 400 or more, OSError without an answer."""
        connection = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=timeout)
        headers = {"Content-Type": kind, "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            if response.status >= 400:
                said = response.read().decode(errors="replace")[:400]
                raise ApiError(response.status, f"{method} {path}: {response.status} {response.reason} {said}")
        except http.client.HTTPException as failure:
            connection.close()
            raise OSError(f"{method} {path}: {type(failure).__name__}") from None
        except BaseException:
            connection.close()
            raise
        return connection, response

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Object:
        """One request's answer, {} if it is no JSON object."""
        connection, response = self.open(method, path, body, kind)
        try:
            text = response.read()
        except http.client.HTTPException as failure:
            raise OSError(f"{method} {path}: {type(failure).__name__}") from None
        finally:
            connection.close()
        answer = json.loads(text) if text[:1] == b"{" else {}
        return answer if isinstance(answer, dict) else {}

    def get(self, path: str) -> Object:
        """Read an object or a list."""
        return self.call("GET", path)

    def find(self, path: str) -> Object | None:
        """Read an object; None if there is none."""
        try:
            return self.get(path)
        except ApiError as failure:
            if failure.status == 404:
                return None
            raise

    def delete(self, path: str) -> None:
        """Delete an object, if it is there."""
        try:
            self.call("DELETE", path)
        except ApiError as failure:
            if failure.status != 404:
                raise

    def apply(self, collection: str, wanted: Object) -> Object:
        """Server-side apply of a whole object into its collection."""
        path = f"{collection}/{wanted['metadata']['name']}?fieldManager=k3s&force=true"
        return self.call("PATCH", path, wanted, "application/apply-patch+yaml")

    def merge(self, path: str, change: Object) -> Object:
        """A merge patch."""
        return self.call("PATCH", path, change, "application/merge-patch+json")


class Worker:
    """Runs `work` at once, whenever something in a collection changes, and once a minute."""

    def __init__(self, group: Group, name: str, api: Api, collection: str) -> None:
        """`start` starts it."""
        self.group, self.name, self.api, self.collection = group, name, api, collection
        self.changed = threading.Event()

    def start(self) -> None:
        """Watch and work in the background."""
        threading.Thread(target=self._watch, daemon=True, name=f"{self.name}-watch").start()
        threading.Thread(target=self._loop, daemon=True, name=self.name).start()

    def work(self) -> None:
        """What to do; it reads the collection itself, so a missed change costs a minute at most."""
        raise NotImplementedError

    def _watch(self) -> None:
        while not self.group.stopping.is_set():
            try:
                path = f"{self.collection}?watch=1&timeoutSeconds=300"
                connection, response = self.api.open("GET", path, timeout=330)
                try:
                    while response.readline():
                        self.changed.set()
                finally:
                    connection.close()
            except (OSError, ApiError, http.client.HTTPException):
                self.group.stopping.wait(2)

    def _loop(self) -> None:
        pause = 0.0
        while not self.group.stopping.is_set():
            if not pause:
                self.changed.wait(60)
            self.group.stopping.wait(pause or 0.2)  # changes come in crowds
            self.changed.clear()
            try:
                self.work()
                pause = 0
            except Exception as failure:  # it must outlive a lost API server, whatever that raises
                log.error(f"{self.name}: {type(failure).__name__}: {failure}"[:400])
                pause = 2
