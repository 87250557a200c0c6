"""What machines share because they share this computer's kernel."""

import contextlib
import shutil
from pathlib import Path

from rehearsal.cloud.process import run

MODULES = ("overlay", "br_netfilter", "vxlan", "nf_conntrack", "ip_tables", "iptable_nat", "xfs")
LIMITS = {"fs/inotify/max_user_instances": 8192, "fs/inotify/max_user_watches": 524288}
"""Counted for each user, and root is the same user in all machines: a default is used up by two nodes with pods."""


def prepare() -> None:
    """Load the modules that machines need, and raise limits that all machines share; both stay so.

    A kernel without loadable modules has them built in, or the machine's own steps say what is missing.
    """
    if shutil.which("modprobe"):
        for module in MODULES:
            run(["modprobe", "-q", module], check=False)
    for name, least in LIMITS.items():
        file = Path("/proc/sys", name)
        with contextlib.suppress(OSError, ValueError):
            if int(file.read_text()) < least:
                file.write_text(str(least))
