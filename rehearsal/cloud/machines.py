"""The containers and loop devices of a cloud, seen from outside: how they are found again and ended."""

import json
from collections.abc import Mapping
from pathlib import Path

from rehearsal.cloud import network
from rehearsal.cloud.errors import CloudError
from rehearsal.cloud.process import run
from rehearsal.cloud.state import write_private

REMOVALS = 12


def legacy_runtime() -> str | None:
    """The OCI runtime to ask for; None where podman's default will do. crun refuses hosts that mix cgroup kinds."""
    return None if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "runc"


def configure(folder: Path) -> dict[str, str]:
    """Environment that gives podman a store of its own below `folder`: nothing of it is in the computer's own."""
    store = folder / "machines"
    (store / "tmp").mkdir(mode=0o700, parents=True, exist_ok=True)
    storage, engine = folder / "etc" / "storage.conf", folder / "etc" / "containers.conf"
    write_private(storage, f'[storage]\ndriver = "overlay"\nrunroot = "{store}/run"\ngraphroot = "{store}/root"\n')
    # Locks in shared memory are shared by all stores of the computer, and a new store frees all of them.
    runtime = f'runtime = "{legacy_runtime()}"\n' if legacy_runtime() else ""
    write_private(
        engine,
        "[containers]\nlog_size_max = 4194304\n[engine]\n"
        f'lock_type = "file"\ntmp_dir = "{store / "tmp"}"\nevents_logger = "none"\n{runtime}',
    )
    return {"CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(engine)}


def containers(name: str, env: Mapping[str, str], running: bool = False) -> list[str]:
    """Ids of this cloud's machines."""
    state = ["--filter", "status=running"] if running else ["-a"]
    label = f"label=leasehold={network.namespace(name)}"
    return run(["podman", "ps", "-q", "--filter", label, *state], env=env).split()


def stop(name: str, env: Mapping[str, str]) -> int:
    """Stop the machines but keep them, so that they can be started again; returns how many ran."""
    ids = containers(name, env, running=True)
    if ids:
        run(["podman", "stop", "-t", "3", *ids], env=env, check=False)
    return len(ids)


def remove(name: str, env: Mapping[str, str]) -> None:
    """Remove the machines and what they wrote."""
    for _ in range(REMOVALS):
        ids = containers(name, env)
        if not ids:
            return
        # One that is full of pods takes longer to die than podman waits, which is 10 s.
        run(["podman", "rm", "-f", "-v", "-t", "0", *ids], env=env, check=False)
    raise CloudError(f"{len(ids)} machines do not end: see `podman ps` with the rehearsal's store, then try again")


def release_loops(folder: Path) -> None:
    """Let go of loop devices on this cloud's volumes."""
    listed = json.loads(run(["losetup", "-l", "-J", "-O", "NAME,BACK-FILE"]) or '{"loopdevices": []}')
    for device in listed["loopdevices"]:
        if str(device.get("back-file") or "").startswith(f"{folder}/"):
            run(["losetup", "-d", device["name"]], check=False)


def unmount(folder: Path) -> None:
    """Undo mounts below the cloud's folder that a killed podman has left."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        run(["umount", "-l", mount], check=False)
