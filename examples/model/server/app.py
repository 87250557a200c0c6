"""The server's endpoints."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from digits import network, release
from digits.network import Network
from digits.picture import prepared
from digits.release import Release
from server.bounds import App, Bounds, Message, Receive, Send
from server.drain import Drain
from server.inputs import Inputs
from server.metrics import Measured, Metrics
from server.sample import SAMPLE
from server.schemas import Health, Picture, Prediction, Version

MOST_BYTES = 16 << 10
"""Of a request's body; a picture takes about 250."""
BODY_SECONDS = 10.0
"""Until a body must have come."""
PAGE = Path(__file__).with_name("page.html")
PAGE_HEADERS = {"content-security-policy": "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'"}


@dataclass(frozen=True)
class Served:
    """A model that is in memory."""

    release: Release
    network: Network


def load(folder: Path) -> Served:
    """Read a folder with a model; an error says what is wrong with it."""
    return Served(release.read(folder), network.load(folder / release.WEIGHTS))


def build(served: Served, drain: Drain) -> App:
    """The whole application."""
    metrics = Metrics(served.release, served.network.classes)
    bounded = Bounds(_endpoints(served, drain, metrics), MOST_BYTES, BODY_SECONDS)
    return Leaving(Measured(bounded, metrics), drain)


def _endpoints(served: Served, drain: Drain, metrics: Metrics) -> FastAPI:
    app = FastAPI(title=served.release.model, version=served.release.model_version, docs_url=None, redoc_url=None)
    inputs = Inputs(metrics.registry)
    version = Version(
        model_version=served.release.model_version, model=served.release.model, revision=served.release.revision
    )

    def predicted(pixels: list[int]) -> Prediction:
        pictures = prepared(pixels)
        inputs.observe(pictures[0])
        chances = served.network.probabilities(pictures)[0]
        best = int(np.argmax(chances))
        label = served.network.classes[best]
        metrics.predicted(label)
        return Prediction(
            label=label,
            probability=float(chances[best]),
            probabilities=dict(zip(served.network.classes, chances.tolist(), strict=True)),
            model_version=version.model_version,
        )

    # Predictions run in threads: however long one takes, health and metrics answer at once.
    @app.post("/predict")
    def predict(picture: Picture) -> Prediction:
        return predicted(picture.pixels)

    @app.get("/test", response_class=PlainTextResponse)
    def test() -> str:
        return predicted(list(SAMPLE)).label

    @app.get("/version")
    async def say_version() -> Version:
        return version

    @app.get("/healthz")
    async def health(response: Response) -> Health:
        response.status_code = 503 if drain.began else 200
        return Health(status="draining" if drain.began else "ready")

    @app.get("/metrics", include_in_schema=False)
    async def measurements() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    page = PAGE.read_text()

    @app.get("/", include_in_schema=False)
    async def show() -> HTMLResponse:
        return HTMLResponse(page, headers=PAGE_HEADERS)

    return app


class Leaving:
    """Asks clients to come back on another connection, and so to another server, once this one drains."""

    def __init__(self, app: App, drain: Drain) -> None:
        """Stand in front of an application."""
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.began:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, closing)
