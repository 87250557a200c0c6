"""What a machine finds when it boots: its first program, its device files, and a stand-in for the GPU's driver."""

import os
import pathlib
import shutil
import uuid

HERE = pathlib.Path(__file__).resolve().parent
INSIDE = "/usr/lib/rehearsal"
GPU_SPEC = "leasehold:gpus"
GPU_HOSTS = os.environ.get("LEASEHOLD_GPU_HOSTS", "").split()
DRIVER_IMAGES = "CUDA"  # images with this in their name bring NVIDIA's driver
NULL = (1, 3)  # numbers of the device file that stands in for a GPU's: /dev/null's


def gpus(flavor, host):
    """How many GPUs a machine of this flavor has on this host."""
    return 1 if host in GPU_HOSTS else int((flavor.extra_specs or {}).get(GPU_SPEC, 0))


def prepare(folder, count, image):
    """Write a machine's folder; returns podman's options that show it to the machine."""
    os.makedirs(folder, mode=0o755, exist_ok=True)
    shutil.copy(HERE / "machine-init", folder)
    options = ["-v", f"{folder}:{INSIDE}:ro"]
    pathlib.Path(folder, "gpus").write_text(str(count))
    if DRIVER_IMAGES in (image or ""):
        seed = uuid.uuid5(uuid.NAMESPACE_URL, str(folder))
        uuids = " ".join(f"GPU-{uuid.uuid5(seed, str(index))}" for index in range(count))
        program = pathlib.Path(folder, "nvidia-smi")
        program.write_text((HERE / "nvidia-smi").read_text().replace("@UUIDS@", uuids))
        program.chmod(0o755)
        options += ["-v", f"{program}:/usr/bin/nvidia-smi:ro"]
    return options


def write_devices(folder, disks):
    """List the device files for the next boot; `disks` are tuples of major, minor, path and link."""
    lines = [f"b {major} {minor} {path} {link}" for major, minor, path, link in disks]
    if pathlib.Path(folder, "nvidia-smi").exists():
        count = int(pathlib.Path(folder, "gpus").read_text())
        names = [*(f"nvidia{index}" for index in range(count)), *(["nvidiactl", "nvidia-uvm"] if count else [])]
        lines += [f"c {NULL[0]} {NULL[1]} /dev/{name}" for name in names]
    os.makedirs(folder, exist_ok=True)  # a machine of an earlier version of the driver has none
    pathlib.Path(folder, "devices").write_text("".join(line + "\n" for line in lines))
