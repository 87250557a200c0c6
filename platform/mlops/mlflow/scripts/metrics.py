"""Hand MLflow's metrics to Prometheus, which has no account there: MLflow shows them to administrators only.

The server's processes count in files of a folder that both containers see. Where the server does not answer, neither
does this: a server that hangs is a target that is down.
"""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

HEALTH = "http://127.0.0.1:5000/health"
SECONDS = 3.0
PORT = 9000


class Metrics(BaseHTTPRequestHandler):
    """One answer, whatever the path."""

    def do_GET(self) -> None:
        """Gather the counts of every process."""
        folder = Path(os.environ["METRICS_FOLDER"])
        try:
            with urlopen(HEALTH, timeout=SECONDS):
                registry = CollectorRegistry()
                MultiProcessCollector(registry, str(folder))
                status, body = 200, generate_latest(registry)
        except (OSError, ValueError) as problem:
            status, body = 503, f"{problem}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST if status == 200 else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of each scrape."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), Metrics).serve_forever()
