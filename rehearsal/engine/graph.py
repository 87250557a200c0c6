"""Order among resources: what needs what, and work in that order, side by side."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from rehearsal.engine.state import Resource


def topological(resources: Iterable[Resource]) -> list[Resource]:
    """Order resources after what they need; needs outside the set, as after a crash, do not count."""
    known = {resource.urn: resource for resource in resources}
    done: dict[str, Resource] = {}
    for start in known:
        stack = [(start, False)]
        while stack:
            urn, expanded = stack.pop()
            if expanded:
                done.setdefault(urn, known[urn])
            elif urn not in done:
                stack.append((urn, True))
                stack.extend((need, False) for need in sorted(known[urn].needs()) if need in known and need not in done)
    return list(done.values())


def in_reverse(
    resources: Sequence[Resource], action: Callable[[Resource], bool], parallel: int, stop: Callable[[], bool]
) -> None:
    """Call `action` on each resource once all that need it had theirs and said True; independent ones in parallel."""
    numbers: dict[str, list[int]] = {}
    for number, resource in enumerate(resources):
        numbers.setdefault(resource.urn, []).append(number)
    needs = [
        [n for urn in resource.needs() for n in numbers.get(urn, ()) if n != number]
        for number, resource in enumerate(resources)
    ]
    users = [0] * len(resources)
    for below in needs:
        for number in below:
            users[number] += 1
    ready = [number for number, count in enumerate(users) if count == 0]
    running: dict[Future[bool], int] = {}
    with ThreadPoolExecutor(parallel) as pool:
        while ready or running:
            while ready and not stop():
                number = ready.pop(0)
                running[pool.submit(action, resources[number])] = number
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                done = running.pop(future)
                if not future.result():
                    continue
                for freed in needs[done]:
                    users[freed] -= 1
                    if users[freed] == 0:
                        ready.append(freed)


def side_by_side(
    resources: Sequence[Resource], action: Callable[[Resource], None], parallel: int, cancel: threading.Event
) -> None:
    """Call `action` on each resource, in parallel, until cancelled."""
    with ThreadPoolExecutor(parallel) as pool:
        waiting = [pool.submit(action, resource) for resource in resources]
        for future in waiting:
            if not cancel.is_set():
                future.result()
            else:
                future.cancel()
