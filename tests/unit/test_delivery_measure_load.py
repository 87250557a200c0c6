"""Requests and load against real servers that behave well and badly, over real sockets."""

import datetime
import ipaddress
import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apps.delivery.measure import connection
from apps.delivery.measure.connection import Connection, Server
from apps.delivery.measure.load import Offered, Problem, offer
from apps.delivery.measure.samples import Sample

CLASSES = ("Bread", "Egg", "Soup")
SAMPLES = tuple(Sample(str(i), json.dumps({"n": i}).encode(), CLASSES[i % 3]) for i in range(200))


@dataclass
class Model:
    """What a stand-in for a model server says and does; a test spoils it in one way."""

    version: str = '{"model_version": "7"}'
    test: str = "Soup"
    memory: Callable[[], str] = lambda: "process_resident_memory_bytes 1.5e+08\n"
    predict: Callable[["Model", "Handler", int], None] | None = None
    """Answers instead of `right`; given the number of the prediction."""
    asked: list[int] = field(default_factory=list)
    """The samples that came, in order."""
    at_once: int = 0
    most_at_once: int = 0
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def right(self, handler: "Handler", label: str | None = None) -> None:
        handler.say(200, json.dumps({"label": label or CLASSES[handler.sample % 3], "probability": 0.9}))


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 and keeps connections."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    model: Model
    sample: int

    def setup(self) -> None:
        super().setup()
        with self.model.lock:
            self.model.connections += 1

    def log_message(self, *_: Any) -> None:
        pass

    def say(self, status: int, text: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(text.encode())

    def hang_up(self) -> None:
        self.close_connection = True

    def do_GET(self) -> None:
        model = self.model
        texts = {"/version": lambda: model.version, "/test": lambda: model.test, "/metrics": model.memory}
        text = texts[self.path]()
        self.say(200 if text else 503, text)

    def do_POST(self) -> None:
        model = self.model
        self.sample = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["n"]
        with model.lock:
            model.asked.append(self.sample)
            number = len(model.asked)
            model.at_once += 1
            model.most_at_once = max(model.most_at_once, model.at_once)
        try:
            model.predict(model, self, number) if model.predict else model.right(self)
        except OSError:
            self.hang_up()  # the client did not wait
        with model.lock:
            model.at_once -= 1


class Quiet(ThreadingHTTPServer):
    """Ends at once."""

    request_queue_size = 64
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        pass


@contextmanager
def listening(kind: type[BaseHTTPRequestHandler], address: str = "127.0.0.1", port: int = 0) -> Iterator[Quiet]:
    server = Quiet((address, port), kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(model: Model, address: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    with listening(type("Bound", (Handler,), {"model": model}), address, port) as server:
        yield Server.at(address, server.server_address[1])


def every(nth: int, spoil: Callable[[Handler], None]) -> Callable[[Model, Handler, int], None]:
    """Each nth prediction is spoilt, from the first on."""
    return lambda model, handler, number: spoil(handler) if number % nth == 1 % nth else model.right(handler)


def error(handler: Handler) -> None:
    handler.say(500, "broken")


def late(seconds: float) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        time.sleep(seconds)
        handler.model.right(handler)

    return answer


def dripping(handler: Handler) -> None:
    """A byte every 20 ms: each read succeeds, the whole takes 2 s."""
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"X-Slow: 1\r\n" * 6:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.02)


def broken_off(handler: Handler) -> None:
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{"label": "Bread"')
    handler.hang_up()


def load(model: Model, requests: int = 40, concurrency: int = 4, seconds: float = 5.0, **changed: Any) -> Offered:
    until = time.monotonic() + changed.pop("for_seconds", 60.0)
    with serving(model) as server:
        return offer(server, SAMPLES, requests, concurrency, seconds=seconds, until=until, **changed)


def test_latencies_stand_in_the_order_of_starts() -> None:
    """In the order of ends the quick ones come first, and a gate that stops early never sees the slow ones."""
    offered = load(Model(predict=lambda m, h, n: late(0.15)(h) if n == 1 else m.right(h)))
    slow = [number for number, ms in enumerate(offered.requests) if ms is not None and ms >= 150]
    assert len(offered.requests) == 40
    assert slow
    assert slow[0] < 4


def test_so_many_requests_are_under_way_as_were_asked_for_and_no_more() -> None:
    """Fewer would be an easier test than the gate's, more a harder one. Connections are kept, as clients keep them."""
    model = Model(predict=every(1, late(0.02)))
    load(model, requests=24, concurrency=6)
    assert (model.most_at_once, model.connections) == (6, 6)


def test_samples_are_sent_in_turn_and_a_later_round_goes_on() -> None:
    """Else the second round would measure the first one's samples again."""
    model = Model()
    load(model, requests=5, concurrency=1, first=198)
    assert model.asked == [198, 199, 0, 1, 2]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (error, "status 500"),
        (Handler.hang_up, "Remote end closed connection without response"),
        (late(1.0), "it took too long"),
        (dripping, "it took too long"),
        (broken_off, "the answer broke off 383 bytes before its end"),
        (lambda handler: handler.say(200, "x" * 70_000), "the answer is longer than 65,536 bytes"),
        (lambda handler: handler.say(204, ""), "status 204"),
        (lambda handler: handler.say(301, "", Location="/elsewhere"), "status 301"),
        (lambda handler: handler.say(429, "", Retry_After="0"), "status 429"),
        (lambda handler: handler.wfile.write(b"hello\r\n\r\n"), "hello"),
    ],
)
def test_every_failure_counts_once_and_is_not_tried_again(spoil: Callable[[Handler], None], problem: str) -> None:
    """A client that tries again sees a server that fails 10 % of requests as one that fails 1 %."""
    model = Model(predict=every(10, spoil))
    offered = load(model, seconds=0.5)
    assert [ms is None for ms in offered.requests].count(True) == 4
    assert [(found.what.strip(), found.times) for found in offered.problems] == [(problem, 4)]
    assert len(model.asked) == 40


def test_an_answer_in_chunks_is_whole_only_with_its_last_chunk() -> None:
    """Servers that do not know an answer's length send it so, and one that dies in between must not pass."""

    def chunks(last: bytes) -> Callable[[Handler], None]:
        def answer(handler: Handler) -> None:
            time.sleep(0.1)  # or the first client is done before the second has begun
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + last)
            handler.close_connection = not last

        return answer

    whole, broken = Model(predict=every(1, chunks(b"0\r\n\r\n"))), Model(predict=every(1, chunks(b"")))
    assert None not in load(whole, requests=6, concurrency=2).requests
    assert whole.connections == 2
    assert load(broken, requests=6, concurrency=2).requests == (None,) * 6


def test_a_server_that_is_not_there_fails_every_request() -> None:
    """A refused connection is a failure like any other, not an error of the measurement."""
    with serving(Model()) as server:
        pass
    offered = offer(server, SAMPLES, 6, 2, seconds=1.0, until=time.monotonic() + 60)
    assert offered.requests == (None,) * 6
    assert offered.problems[0].what.endswith("Connection refused")


def test_no_request_takes_longer_than_it_may_however_its_bytes_come() -> None:
    """A server that sends a byte now and then would hold a client for ever, as each read succeeds."""
    with serving(Model(predict=every(1, dripping))) as server:
        reply = Connection(server).ask("POST", "/predict", b'{"n": 0}', seconds=0.2)
    assert (reply.status, reply.problem) == (None, "it took too long")
    assert 200 <= reply.ms < 5000


def test_no_request_begins_that_could_not_end_in_time() -> None:
    """Cut short, it would count as a failure of the server; and the whole must end."""
    began = time.monotonic()
    offered = load(Model(predict=every(1, late(0.05))), requests=1000, seconds=2.0, for_seconds=2.3)
    assert time.monotonic() - began < 20
    assert 4 <= len(offered.requests) <= 32
    assert None not in offered.requests


def test_a_connection_that_rested_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers end idle connections after seconds; the request that meets the end would count as a failure."""
    model = Model()
    with serving(model) as server:
        kept = Connection(server)
        for idle in (1.0, 1.0, 0.0):
            monkeypatch.setattr(connection, "IDLE_SECONDS", idle)
            assert kept.ask("GET", "/version", seconds=1).status == 200
        kept.close()
    assert model.connections == 2


def authority(folder: Path, name: str) -> tuple[str, ssl.SSLContext]:
    """File of a certificate for 127.0.0.1 that vouches for itself, and a server's use of it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / f"{name}.crt", folder / f"{name}.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return str(public), context


def test_a_server_is_believed_only_by_the_given_authority(tmp_path: Path) -> None:
    """The address behind a host name may be another environment's, or nobody's."""
    (ours, context), (others, _) = authority(tmp_path, "ours"), authority(tmp_path, "others")
    with listening(type("Bound", (Handler,), {"model": Model()})) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://127.0.0.1:{server.server_address[1]}"
        trusted, refused = (
            offer(Server(url, ca), SAMPLES, 6, 2, seconds=2.0, until=time.monotonic() + 60) for ca in (ours, others)
        )
    assert None not in trusted.requests
    assert refused.requests == (None,) * 6
    assert "certificate verify failed" in refused.problems[0].what


def test_problems_are_told_with_the_most_frequent_first() -> None:
    """Whoever reads why a release failed reads the first one."""
    numbers = itertools.count()

    def predict(_: Model, handler: Handler, __: int) -> None:
        error(handler) if next(numbers) % 4 else handler.say(503, "")

    offered = load(Model(predict=predict), requests=8, concurrency=1)
    assert offered.problems == (Problem("status 500", 6), Problem("status 503", 2))


@pytest.mark.parametrize(
    "url", ["ftp://host", "host:8000", "http://", "http://host/path", "http://user@host", "http://host?x", "http://h:0"]
)
def test_a_server_is_a_scheme_a_host_and_a_port_only(url: str) -> None:
    """A path or a password in it would be dropped without a word."""
    with pytest.raises(ValueError, match="must be http:// or https://"):
        Server(url)


def test_a_pod_may_have_an_address_of_either_family() -> None:
    """Colons of an address are none of a port."""
    assert [Server.at(ip, 8000).url for ip in ("10.0.0.7", "fd00::7")] == [
        "http://10.0.0.7:8000",
        "http://[fd00::7]:8000",
    ]
