"""Stands in for the executor of Argo Workflows: when the step has ended, it tells what the step left.

Kubernetes ends it when the step has ended. It sees the step's files where the step has a volume, and nowhere else.
Parameters are written to its log, which the controller's stand-in reads; artifacts go to the object store.
"""

import io
import json
import os
import signal
import tarfile
import threading
from pathlib import Path
from typing import Any

READY = Path("/dev/shm/ready")  # noqa: S108  the container's own


def left(outputs: dict[str, Any]) -> dict[str, str]:
    """Parameters of a step, by `parameters.NAME`."""
    found = {}
    for entry in outputs.get("parameters") or []:
        source = entry["valueFrom"]
        file = Path(source["path"])
        if not file.exists() and "default" not in source:
            return {"error": f"{file}: is not there, or on no volume"}
        found[f"parameters.{entry['name']}"] = file.read_text().rstrip("\n") if file.exists() else source["default"]
    return found


def packed(path: Path, *, plain: bool) -> bytes:
    """An artifact as it is stored."""
    if plain:
        return path.read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(path, path.name)
    return buffer.getvalue()


def keep(outputs: dict[str, Any], store: dict[str, Any], folder: str) -> None:
    """Put the artifacts of a step in the store."""
    import boto3  # noqa: PLC0415  few steps leave artifacts, and it is large

    scheme = "http" if store.get("insecure") else "https"
    client = boto3.client(
        "s3",
        endpoint_url=f"{scheme}://{store['endpoint']}",
        region_name=store.get("region") or None,
        aws_access_key_id=os.environ["ACCESS_KEY"],
        aws_secret_access_key=os.environ["SECRET_KEY"],
    )
    for entry in outputs["artifacts"]:
        path, plain = Path(entry["path"]), "none" in (entry.get("archive") or {})
        key = (entry.get("s3") or {}).get("key") or f"{folder}/{entry['name']}{'' if plain else '.tgz'}"
        client.put_object(Bucket=store["bucket"], Key=key, Body=packed(path, plain=plain))


def main() -> None:
    """Wait for the end of the step."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    READY.touch()
    ended.wait()
    outputs = json.loads(os.environ["OUTPUTS"])
    found = left(outputs)
    try:
        if outputs.get("artifacts") and "error" not in found:
            keep(outputs, json.loads(os.environ["STORE"]), os.environ["FOLDER"])
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    print("outputs: " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
