"""The machines' image: a Debian root file system by debootstrap, as one archive, kept in the cache."""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rehearsal.cloud.errors import CloudError
from rehearsal.cloud.process import run
from rehearsal.paths import alone, cache

SUITE = "bookworm"
# python3-cffi-backend: debootstrap does not resolve the virtual package by which cloud-init needs it.
PACKAGES = (
    *(
        "systemd",
        "systemd-sysv",
        "dbus",
        "openssh-server",
        "cloud-init",
        "sudo",
        "iproute2",
        "iptables",
        "nftables",
    ),
    *(
        "kmod",
        "curl",
        "ca-certificates",
        "python3",
        "python3-yaml",
        "e2fsprogs",
        "procps",
        "util-linux",
        "netbase",
    ),
    *("python3-cffi-backend", "iputils-ping", "conntrack", "ethtool", "socat", "openssl", "zstd", "rsync", "less"),
    # What a Kubernetes node needs of its distribution, and file systems other than ext4.
    *("runc", "containernetworking-plugins", "ipset", "xfsprogs", "inotify-tools", "busybox"),
)
USER = "cc"
CLOUD_CONFIG = f"""\
datasource_list: [ConfigDrive, None]
datasource: {{ConfigDrive: {{dsmode: local}}}}
network: {{config: disabled}}
manage_etc_hosts: true
locale: false
apt_preserve_sources_list: true
system_info:
  default_user:
    name: {USER}
    gecos: {USER}
    lock_passwd: true
    groups: [adm, sudo]
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
"""
# Units that have nothing to do, or do harm, in a container.
MASKED = (
    *("systemd-networkd.service", "systemd-networkd.socket", "systemd-networkd-wait-online.service"),
    *(
        "systemd-resolved.service",
        "systemd-timesyncd.service",
        "systemd-udevd.service",
        "systemd-modules-load.service",
    ),
    *(
        "getty.target",
        "console-getty.service",
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "e2scrub_all.timer",
    ),
    *(
        "dpkg-db-backup.timer",
        "systemd-journald-audit.socket",
        "sys-kernel-debug.mount",
        "sys-kernel-tracing.mount",
    ),
)
EXCLUDED = (
    *(
        "./var/cache/apt/*",
        "./var/lib/apt/lists/*",
        "./usr/share/doc/*",
        "./usr/share/man/*",
        "./usr/share/locale/*",
    ),
    *("./var/log/*.log", "./etc/ssh/ssh_host_*"),
)
# udev's links to disks by their file system, which mounts are named after; udevd itself would see the disks of all
# machines. A program that closes a disk that it wrote to (mkfs, wipefs) changes them.
DISKS_SCRIPT = """\
#!/bin/sh
cd /dev || exit 1
mkdir -p disk/by-uuid
link() {
  for old in disk/by-uuid/*; do [ "$(readlink "$old")" != "/dev/$1" ] || rm -f "$old"; done
  uuid=$(blkid -p -s UUID -o value "$1") && [ -n "$uuid" ] && ln -sfn "/dev/$1" "disk/by-uuid/$uuid"
}
inotifywait -q -m -e create,delete,close_write --format '%f' . | {
  for disk in vd?; do [ ! -b "$disk" ] || link "$disk"; done
  systemd-notify --ready
  while read -r disk; do case $disk in vd?) link "$disk" ;; esac; done
}
"""
DISKS_UNIT = """\
[Unit]
Description=Links to disks by their file system
DefaultDependencies=no
Before=local-fs-pre.target
Wants=local-fs-pre.target
[Service]
Type=notify
NotifyAccess=all
ExecStart=/usr/lib/disk-links
Restart=always
[Install]
WantedBy=local-fs-pre.target sysinit.target
"""
VERSION = 1  # raise it to rebuild although nothing above changed


def recipe() -> str:
    """Identifies the image's content: equal recipes are built once."""
    parts = (SUITE, *PACKAGES, USER, CLOUD_CONFIG, *MASKED, *EXCLUDED, DISKS_SCRIPT, DISKS_UNIT, str(VERSION))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def mirrors(texts: Iterable[str]) -> list[str]:
    """Debian mirrors in apt's own source files, in the order found; both formats are read."""
    found: list[str] = []
    for text in texts:
        for stanza in re.split(r"\n\s*\n", text):
            for line in stanza.splitlines():
                one = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)\s+.*\bmain\b", line)
                if one and one[2] == SUITE:
                    found.append(one[1])
            fields = dict(re.findall(r"^(URIs|Suites|Types):\s*(.+)$", stanza, re.MULTILINE))
            if SUITE in fields.get("Suites", "").split() and "deb" in fields.get("Types", "deb").split():
                found += fields.get("URIs", "").split()[:1]
    return list(dict.fromkeys(found))


def mirror() -> str:
    """The first mirror of Debian that this computer itself uses. Raises CloudError without one."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    found = mirrors(file.read_text() for file in files if file.is_file())
    if not found:
        raise CloudError(f"no mirror with Debian {SUITE} in /etc/apt: add one to sources.list, then try again")
    return found[0]


def _finish(root: Path) -> None:
    """What makes a root file system a machine."""
    (root / "etc/cloud/cloud.cfg.d/99-leasehold.cfg").write_text(CLOUD_CONFIG)
    (root / "etc/fstab").write_text("")
    (root / "etc/hostname").write_text("machine\n")
    (root / "etc/machine-id").write_text("")  # empty: each machine gets its own, and it is no first boot
    (root / "usr/lib/disk-links").write_text(DISKS_SCRIPT)
    (root / "usr/lib/disk-links").chmod(0o755)
    (root / "etc/systemd/system/disk-links.service").write_text(DISKS_UNIT)
    for target in ("local-fs-pre.target", "sysinit.target"):
        wants = root / f"etc/systemd/system/{target}.wants"
        wants.mkdir(exist_ok=True)
        (wants / "disk-links.service").symlink_to("../disk-links.service")
    for unit in MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")


def _build(archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="image-") as folder:
        root = Path(folder, "root")
        run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root, mirror()],
            timeout=1800,
            log=archive.parent / "debootstrap.log",
        )
        _finish(root)
        plain = Path(folder, "image.tar")
        excludes = [f"--exclude={pattern}" for pattern in EXCLUDED]
        run(["tar", "-C", root, *excludes, "--xattrs", "--numeric-owner", "-cf", plain, "."])
        packed = Path(folder, "image.tar.zst")
        run(["zstd", "-q", "-1", "-T0", plain, "-o", packed])
        packed.replace(archive)


def build(fallback: Path) -> Path:
    """The archive: from the cache, else built there, or below `fallback` where there can be no cache."""
    folder = cache()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        folder = fallback
    archive = folder / f"machine-{recipe()}.tar.zst"
    with alone(archive):
        if not archive.exists():
            if not shutil.which("debootstrap"):
                raise CloudError("debootstrap is not installed: apt-get install debootstrap, then try again")
            _build(archive)
    return archive
