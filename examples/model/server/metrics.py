"""What Prometheus is told."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector

from digits.release import Release
from server.bounds import App, Message, Receive, Send

HANDLERS = ("/", "/predict", "/test", "/version")
"""Counted each; what machines ask (/healthz, /metrics) is not counted, and anything else is `other`."""
UNCOUNTED = ("/healthz", "/metrics")
METHODS = ("GET", "HEAD", "POST")
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """The server's counters, in a registry of their own."""

    def __init__(self, release: Release, classes: tuple[str, ...]) -> None:
        """Begin at zero, with every class named."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "http_requests", "Requests by outcome", ("handler", "method", "status"), registry=self.registry
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "Until the answer was sent",
            ("handler",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._predictions = Counter("model_predictions", "Predictions by class", ("class",), registry=self.registry)
        for name in classes:
            self._predictions.labels(name)
        served = {"model": release.model, "model_version": release.model_version, "revision": release.revision}
        Info("model", "What is served", registry=self.registry).info(served)

    def predicted(self, label: str) -> None:
        """Count a prediction."""
        self._predictions.labels(label).inc()


class Measured:
    """Counts and times every request that passes, refused and failed ones too."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        """Stand in front of an application."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            return await self._app(scope, receive, send)
        status = 500  # what the server says for an application that raises

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        began = time.perf_counter()
        try:
            return await self._app(scope, receive, noting)
        finally:
            handler = scope["path"] if scope["path"] in HANDLERS else "other"
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.duration.labels(handler).observe(time.perf_counter() - began)
            self._metrics.requests.labels(handler, method, str(status)).inc()
