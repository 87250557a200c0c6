"""The few calls of S3 that our Jobs need, with Python's standard library alone: any Python image runs them.

Every request is signed with its payload (AWS Signature Version 4), so the memory that is used is that of one part.
"""

import hashlib
import hmac
import http.client
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

PART = 16 * 2**20
"""Bytes of a part, unless an object has so many that it must be larger: a store takes 10 000 parts."""
MOST_PARTS = 9000
TRIES = 5
PAUSE = 2.0
"""Seconds before the second try; before each later one, so many more."""
TIMEOUT = 120.0
"""Seconds for one request."""
RETRIED = (408, 409, 429, 500, 502, 503, 504)
"""409: somebody else is at work on the same. A bucket that exists has it too, see Bucket.make."""
CONFLICT = 409
META = "x-amz-meta-"


class S3Error(Exception):
    """A store refused something. Carries its status, and its own words without any credential."""

    def __init__(self, what: str, status: int, text: str) -> None:
        """`text` is the store's answer."""
        super().__init__(f"{what}: HTTP {status}: {text[:300]}")
        self.status = status


@dataclass(frozen=True)
class Answer:
    """What a store said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Item:
    """An object in a listing."""

    key: str
    size: int
    etag: str
    """Of its content; with a dash in it, of its parts."""


def signature(request_line: tuple[str, str, str], headers: Mapping[str, str], region: str, secret: str) -> str:
    """The signature of a request of method, path and query; all of `headers` are signed."""
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    request = "\n".join([*request_line, lines, names, headers["x-amz-content-sha256"]])
    moment = headers["x-amz-date"]
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (moment[:8], region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


class Store:
    """An S3 store, by path-style requests on one connection."""

    def __init__(self, endpoint: str, region: str, access_key: str, secret_key: str) -> None:
        """Nothing is asked yet."""
        self._url, self._region, self._access, self._secret = urlsplit(endpoint), region, access_key, secret_key
        self._connection: http.client.HTTPConnection | None = None

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        accept: tuple[int, ...] = (),
    ) -> Answer:
        """One request, tried again while the store is not there. Raises S3Error, but for a status in `accept`."""
        for attempt in range(1, TRIES + 1):
            try:
                answer = self._once(method, path, query or {}, body, headers or {})
            except (OSError, http.client.HTTPException) as error:
                self._connection = None
                answer = Answer(503, {}, f"{type(error).__name__}: {error}".encode())
            if answer.status < 300 or answer.status in accept:
                return answer
            if answer.status not in RETRIED or attempt == TRIES:
                break
            time.sleep(PAUSE * attempt)
        raise S3Error(f"{method} {self._url.netloc}{path}", answer.status, answer.body.decode(errors="replace"))

    def _once(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(self._url.netloc, timeout=TIMEOUT)
        payload = hashlib.sha256(body).hexdigest()
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        place = self._url.path.rstrip("/") + quote(path, safe="/-_.~")
        words = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(query.items()))
        signed = {name.lower(): value for name, value in headers.items()}
        signed |= {"host": self._url.netloc, "x-amz-content-sha256": payload, "x-amz-date": moment}
        proof = signature((method, place, words), signed, self._region, self._secret)
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        named = f"Credential={self._access}/{scope}, SignedHeaders={';'.join(sorted(signed))}, Signature={proof}"
        sent = {**signed, "authorization": f"AWS4-HMAC-SHA256 {named}", "content-length": str(len(body))}
        self._connection.request(method, f"{place}?{words}" if words else place, body, sent)
        answer = self._connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


@dataclass(frozen=True)
class Bucket:
    """A bucket of a store."""

    store: Store
    name: str

    def make(self) -> bool:
        """Make it; False where we have it already. Raises S3Error where somebody else has."""
        if self._there():
            return False
        try:
            self.store.call("PUT", f"/{self.name}")
        except S3Error as error:
            # The answer to the request that made it may have been lost.
            if error.status != CONFLICT or not self._there():
                raise
        return True

    def _there(self) -> bool:
        return self.store.call("HEAD", f"/{self.name}", accept=(404,)).status < 300

    def list(self, prefix: str = "") -> Iterator[Item]:
        """Every object below a prefix."""
        token = ""
        while True:
            more = {"continuation-token": token} if token else {}
            answer = self.store.call("GET", f"/{self.name}", {"list-type": "2", "prefix": prefix, **more})
            page = ET.fromstring(answer.body)  # noqa: S314  the store's own words, over an authenticated request
            space = page.tag.partition("}")[0] + "}" if page.tag.startswith("{") else ""
            for item in page.iter(f"{space}Contents"):
                found = {name: item.findtext(f"{space}{name}") or "" for name in ("Key", "Size", "ETag")}
                yield Item(found["Key"], int(found["Size"]), found["ETag"].strip('"'))
            token = page.findtext(f"{space}NextContinuationToken") or ""
            if not token:
                return

    def get(self, key: str) -> bytes | None:
        """A small object; None where there is none."""
        answer = self.store.call("GET", f"/{self.name}/{key}", accept=(404,))
        return None if answer.status == 404 else answer.body

    def put(self, key: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Write a small object."""
        self.store.call("PUT", f"/{self.name}/{key}", None, body, headers)

    def delete(self, key: str) -> None:
        """Remove an object; it may be gone."""
        self.store.call("DELETE", f"/{self.name}/{key}", accept=(404,))


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """What a copy keeps of an object besides its content: type, encoding and the user's own metadata."""
    named = ("content-type", "content-encoding", "cache-control", "content-disposition")
    return {name: value for name, value in headers.items() if name in named or name.startswith(META)}


def copy(item: Item, source: Bucket, target: Bucket, key: str) -> None:
    """Copy an object, part by part where it is large. One that changes meanwhile is refused: the next run takes it."""
    path = f"/{source.name}/{item.key}"
    if item.size <= PART:
        answer = source.store.call("GET", path)
        target.put(key, answer.body, kept(answer.headers))
        return
    about = source.store.call("HEAD", path).headers
    upload(target, key, _parts(source, item, about["etag"]), kept(about))


def send(file: Path, target: Bucket, key: str) -> None:
    """Write a file as an object, part by part where it is large."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= PART:
            target.put(key, opened.read())
        else:
            upload(target, key, iter(lambda: opened.read(_part(size)), b""), {})


def fetch(item: Item, source: Bucket, file: Path) -> None:
    """Write an object that is not empty into a file. One that changes meanwhile is refused."""
    with file.open("wb") as opened:
        for part in _parts(source, item, f'"{item.etag}"'):
            opened.write(part)


def _part(size: int) -> int:
    """Bytes of the parts of an object."""
    return max(PART, -(-size // MOST_PARTS))


def _parts(source: Bucket, item: Item, etag: str) -> Iterator[bytes]:
    """The content of an object, as long as it is the one of this etag."""
    size = _part(item.size)
    for start in range(0, item.size, size):
        span = {"range": f"bytes={start}-{min(start + size, item.size) - 1}", "if-match": etag}
        yield source.store.call("GET", f"/{source.name}/{item.key}", None, b"", span).body


def upload(target: Bucket, key: str, parts: Iterable[bytes], headers: Mapping[str, str]) -> None:
    """Write an object of several parts; what fails leaves nothing behind."""
    destination = f"/{target.name}/{key}"
    begun = target.store.call("POST", destination, {"uploads": ""}, b"", headers)
    begun_as = next(e.text or "" for e in ET.fromstring(begun.body).iter() if e.tag.endswith("UploadId"))  # noqa: S314  as above
    etags = []
    try:
        for number, piece in enumerate(parts, 1):
            done = target.store.call("PUT", destination, {"partNumber": str(number), "uploadId": begun_as}, piece)
            etags.append(done.headers["etag"])
        ended = target.store.call("POST", destination, {"uploadId": begun_as}, _whole(etags), accept=(404,))
        if ended.status == 404 and _is_of(etags, target.store.call("HEAD", destination).headers["etag"]):
            return  # it had ended, and the answer was lost
        if ended.status == 404 or b"<Error>" in ended.body:
            # An error is said with status 200 where the answer began before the end was known.
            raise S3Error(f"POST {destination}", 500, ended.body.decode(errors="replace"))
    except BaseException:
        target.store.call("DELETE", destination, {"uploadId": begun_as}, accept=(404,))
        raise


def _whole(etags: Iterable[str]) -> bytes:
    """What ends an upload of these parts."""
    parts = (f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in enumerate(etags, 1))
    return f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()


def _is_of(etags: Sequence[str], etag: str) -> bool:
    """Whether an object is made of these parts: its etag is the sum of their sums, and their number."""
    sums = "".join(one.strip('"') for one in etags)
    try:
        found = hashlib.md5(bytes.fromhex(sums), usedforsecurity=False).hexdigest()
    except ValueError:  # not sums: a store that encrypts
        return False
    return etag.strip('"') == f"{found}-{len(etags)}"
