#!/usr/bin/python3
"""Stand-in for the NVIDIA container runtime: runc, and before that the driver's files for containers that ask for them.

A container asks by NVIDIA_VISIBLE_DEVICES in its environment: `all`, indexes or UUIDs, `none` for the driver alone.
Runs on the machines, with Python's standard library only.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DRIVER = "/usr/bin/nvidia-smi"
QUERY = (DRIVER, "--query-gpu=index,uuid", "--format=csv,noheader")
ASKED = "NVIDIA_VISIBLE_DEVICES"


def bundle(words: Sequence[str]) -> Path | None:
    """The bundle that a command line of runc makes a container of; None for other commands."""
    if not {"create", "run"} & set(words):
        return None
    for index, word in enumerate(words):
        if word in ("--bundle", "-b") and index + 1 < len(words):
            return Path(words[index + 1])
        if word.startswith("--bundle="):
            return Path(word.partition("=")[2])
    return Path.cwd()


def asked(spec: Mapping[str, Any]) -> str | None:
    """What the container asks for; None for nothing."""
    environment = dict(entry.partition("=")[::2] for entry in spec.get("process", {}).get("env") or [])
    value = environment.get(ASKED, "")
    return None if value in ("", "void") else value


def chosen(wanted: str, gpus: Mapping[str, str]) -> list[str]:
    """Indexes of the GPUs asked for; `gpus` maps index to UUID. Raises LookupError for one that is not there."""
    if wanted == "none":
        return []
    if wanted == "all":
        return list(gpus)
    by_name = {**{uuid: index for index, uuid in gpus.items()}, **{index: index for index in gpus}}
    missing = [name for name in wanted.split(",") if name not in by_name]
    if missing:
        raise LookupError(f"no such GPU: {', '.join(missing)}")
    return [by_name[name] for name in wanted.split(",")]


def edit(spec: dict[str, Any], indexes: Sequence[str], numbers: Mapping[str, tuple[int, int]]) -> None:
    """Add nvidia-smi and device files to a container; `numbers` are each file's major and minor numbers."""
    mounts = spec.setdefault("mounts", [])
    if all(mount.get("destination") != DRIVER for mount in mounts):
        options = ["bind", "ro", "nosuid", "nodev"]
        mounts.append({"destination": DRIVER, "source": DRIVER, "type": "bind", "options": options})
    linux = spec.setdefault("linux", {})
    devices = linux.setdefault("devices", [])
    allowed = linux.setdefault("resources", {}).setdefault("devices", [])
    there = {device["path"] for device in devices}
    names = [f"/dev/nvidia{index}" for index in indexes] + (["/dev/nvidiactl", "/dev/nvidia-uvm"] if indexes else [])
    for name in names:
        if name in there or name not in numbers:
            continue
        kind = {"type": "c", "major": numbers[name][0], "minor": numbers[name][1]}
        devices.append({"path": name, **kind, "fileMode": 0o666, "uid": 0, "gid": 0})
        allowed.append({"allow": True, **kind, "access": "rw"})


def driver() -> dict[str, str]:
    """Index to UUID of the machine's GPUs. Raises OSError without a driver that answers."""
    done = subprocess.run(QUERY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stdout.strip())
    return dict(line.split(", ") for line in done.stdout.splitlines())


def device_numbers() -> dict[str, tuple[int, int]]:
    """Numbers of the machine's device files."""
    found = {}
    for file in Path("/dev").glob("nvidia*"):
        number = file.stat().st_rdev
        found[str(file)] = (os.major(number), os.minor(number))
    return found


def prepare(folder: Path) -> None:
    """Rewrite a bundle's config.json, where its container asks for GPUs."""
    file = folder / "config.json"
    spec = json.loads(file.read_text())
    wanted = asked(spec)
    if wanted is None:
        return
    edit(spec, chosen(wanted, driver()), device_numbers())
    new = file.with_suffix(".new")
    new.write_text(json.dumps(spec))
    new.replace(file)


def main(words: Sequence[str]) -> None:
    """Prepare, then become runc."""
    folder = bundle(words)
    if folder is not None:
        try:
            prepare(folder)
        except (OSError, LookupError) as error:
            sys.exit(f"nvidia-container-runtime (stand-in): {error}")
    os.execvp("runc", ["runc", *words])  # noqa: S606  the same arguments to the real runtime


if __name__ == "__main__":
    main(sys.argv[1:])
