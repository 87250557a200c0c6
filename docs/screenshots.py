"""Takes the pictures of docs/delivery.md from a deployed stack, with a headless browser.

Needs Debian's chromium and playwright, which are no part of the project's own environment:

    pip install --target FOLDER playwright
    python -m rehearsal outputs --json --show-secrets | PYTHONPATH=FOLDER python docs/screenshots.py
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rehearsal.outside import services  # noqa: E402  the project is no package of that environment

PICTURES = {"mlflow-model": ("mlflow", "/#/models/GourmetGramFood11Model")}
"""File to the service and the page."""
SIZE: Any = {"width": 1280, "height": 800}
SECONDS, DRAWN_SECONDS = 60, 10


def take(browser: Browser, known: services.Services, name: str, service: str, path: str) -> None:
    """One picture."""
    user, password = known.password(service)
    # The stack's own authority is not the browser's, and the password goes to this stack only.
    page = browser.new_page(
        viewport=SIZE, ignore_https_errors=True, http_credentials={"username": user, "password": password}
    )
    page.goto(f"{known.url(service)}{path}", timeout=SECONDS * 1000)
    page.wait_for_timeout(DRAWN_SECONDS * 1000)  # these pages ask for ever, so that none is ever idle
    page.screenshot(path=str(ROOT / "docs" / "pictures" / f"{name}.png"))
    page.close()


def main() -> None:
    """All of them."""
    outputs = json.load(sys.stdin)
    with (
        tempfile.TemporaryDirectory() as folder,
        services.of(outputs, Path(folder)) as known,
        sync_playwright() as playwright,
    ):
        names = f"--host-resolver-rules=MAP *.{known.domain} {known.address}"
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[names, "--no-sandbox"])
        for name, (service, path) in PICTURES.items():
            take(browser, known, name, service, path)
        browser.close()


if __name__ == "__main__":
    main()
