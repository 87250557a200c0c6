"""An agent that sits on a lease of its own empties itself before the site deletes it: by a timer on the machine.

Nothing of ours has to run elsewhere then. Servers do not leave: with their lease the cluster ends.
"""

from collections.abc import Sequence
from datetime import timedelta

from cluster import step
from infra import blazar
from infra.hosts import Host

BEFORE = timedelta(minutes=20)
"""From when the machine takes no more pods to the end of its lease."""
EVICT_SECONDS = 15 * 60
"""For pods to leave: as long as disruption budgets and their grace periods need, and shorter than BEFORE."""
MINUTES = 5
"""Bound of the step, which only sets the timer."""
UNIT = "/etc/systemd/system/leasehold-empty"


def leaves(host: Host, servers: Sequence[Host]) -> bool:
    """Whether a machine's lease ends without that of the servers."""
    return host.lease is not None and host.lease not in {server.lease for server in servers}


def script(host: str, end: str) -> str:
    """Render the command for a lease that ends at "YYYY-MM-DD HH:MM", UTC; a later end takes it back."""
    at = blazar.format_time(blazar.parse_time(end) - BEFORE)
    return step.command(
        host=host,
        step="leave",
        minutes=MINUTES,
        variables={"at": at},
        texts={f"{UNIT}.service": _service(host), f"{UNIT}.timer": _timer(at)},
        programs={name: step.read(name) for name in ("leave-now.sh", "evict.py")},
        parts=("leave.sh",),
    )


def _service(host: str) -> str:
    return f"""[Unit]
Description=leasehold: empty this node, its lease ends
After=network-online.target

[Service]
Type=exec
Environment=EVICT_SECONDS={EVICT_SECONDS}
ExecStart=/usr/local/lib/leasehold/leave-now.sh {host}
Restart=on-failure
RestartSec=20
SyslogIdentifier=leasehold
"""


def _timer(at: str) -> str:
    return f"""[Unit]
Description=leasehold: empty this node before its lease ends

[Timer]
OnCalendar={at}:00 UTC
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
