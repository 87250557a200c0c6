"""The processes of a rehearsal's cloud, as the kernel shows them."""

import subprocess
import sys
from pathlib import Path

from rehearsal.cloud import process

LEADERLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("begun", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_is_gone_when_its_last_thread_is() -> None:
    """The first may end before the others: its port still answers, and whoever waits for the next process is misled."""
    started = subprocess.Popen([sys.executable, "-c", LEADERLESS], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "begun\n"
    try:
        while state(started.pid) != "Z":
            pass
        assert not process._gone(started.pid)
    finally:
        process.end([started.pid])
    assert process._gone(started.pid)


def state(pid: int) -> str:
    """The letter of its first thread."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
