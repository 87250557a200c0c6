"""`k3s server` and `k3s agent` as processes: signals, the end, and the exit status."""

import os
import signal
from collections.abc import Sequence

from . import agent, config, log, server
from .files import CommandError
from .log import Fatal
from .processes import Group, Stopped


def main(role: str, words: Sequence[str]) -> int:
    """Run until a signal or a failure; returns the exit status."""
    os.umask(0o077)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a client that goes away must not end a server
    group = Group()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: group.stopping.set())
    settings = config.load(role, words)
    log.info(f"Starting k3s stand-in {role}")
    try:
        run = server.run_server if role == "server" else agent.run_agent
        run(settings, group)
    except Stopped:
        pass
    except (Fatal, CommandError, OSError) as failure:
        group.failure = group.failure or str(failure)
    finally:
        group.shutdown()
    if group.failure:
        log.fatal(group.failure)
        return 1
    return 0
