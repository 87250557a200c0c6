"""What a client loses when a part of the platform is killed under its hands: nothing that it was told is kept."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import requests
from mlflow import MlflowClient

from tests.rehearsal.cluster import until
from tests.rehearsal.services import Platform

RECOVERY = 60.0
"""Seconds until it answers again; after the loss of a node, from when that is on again."""


def kill_mlflow(platform: Platform) -> None:
    names = platform.kubectl.run("get", "pods", "-n", "mlflow", "-l", "app.kubernetes.io/name=mlflow", "-o", "name")
    platform.kubectl.run("delete", "-n", "mlflow", names.split()[0], "--force", "--grace-period=0")


def kill_postgres(platform: Platform) -> None:
    platform.kubectl.run("delete", "pod", "-n", "postgres", "postgres-1", "--force", "--grace-period=0")


def cut_the_power_of_the_databases_node(platform: Platform) -> None:
    node = platform.kubectl.get("pod", "postgres-1", "-n", "postgres")["spec"]["nodeName"]
    name = node.removeprefix(f"{platform.stack.name}-")
    platform.machines.kill(name)
    platform.machines.reboot(name)
    # How long a site takes to switch it on again is the site's.
    until("the machine to be on", lambda: platform.machines.run(name, "echo on"), 120)


NODE = "the node of PostgreSQL"
KILLS: Mapping[str, Callable[[Platform], None]] = {
    "a server of MLflow": kill_mlflow,
    "PostgreSQL": kill_postgres,
    NODE: cut_the_power_of_the_databases_node,
}


@dataclass
class Writer:
    """Logs a metric's steps, one after another, by the client's own retries only."""

    client: MlflowClient
    run: str
    acknowledged: list[tuple[float, int]] = field(default_factory=list)
    """When, and which step."""
    failures: list[Exception] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        done = threading.Event()
        thread = threading.Thread(target=self._write, args=(done,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(timeout=2 * RECOVERY)

    def _write(self, done: threading.Event) -> None:
        step = 0
        while not done.is_set() and not self.failures:
            try:
                self.client.log_metric(self.run, "kept", float(step), step=step)
            except Exception as failure:
                self.failures.append(failure)
            else:
                self.acknowledged.append((time.monotonic(), step))
            step += 1

    @property
    def longest(self) -> float:
        """The longest time between two answers, seconds."""
        times = [at for at, _ in self.acknowledged]
        return max(later - earlier for earlier, later in pairwise(times))


def answers(platform: Platform) -> bool:
    """Whether MLflow reads from its database, for whoever asks once."""
    path = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    session = platform.session("mlflow")
    try:
        return session.get(f"{platform.url('mlflow')}{path}", timeout=5).status_code == 200
    except requests.RequestException:
        return False


# A node starts all of its pods at once: on two cores for four machines that takes most of the minute.
@pytest.mark.parametrize("victim", [pytest.param(name, marks=[pytest.mark.long] * (name == NODE)) for name in KILLS])
def test_nothing_acknowledged_is_lost_when_it_is_killed(platform: Platform, victim: str) -> None:
    """Statement 4: it answers within a minute, and the retries of the client's library carry a writer over that.

    The library waits twice as long each time, so a writer may see up to double the time.
    """
    with platform.mlflow() as client:
        run = client.create_run(client.create_experiment(f"killed-{time.time_ns()}")).info.run_id
        writer = Writer(client, run)
        with writer.running():
            until("the first writes", lambda: len(writer.acknowledged) > 5, 30)
            KILLS[victim](platform)
            killed = time.monotonic()
            time.sleep(5)  # a machine takes seconds to be gone
            until("an answer", lambda: answers(platform), 2 * RECOVERY)
            recovered = time.monotonic() - killed
            before = len(writer.acknowledged)
            until("writes after it", lambda: writer.failures or len(writer.acknowledged) > before + 5, 2 * RECOVERY)
        print(f"measured: {victim} killed, answered after {recovered:.1f} s; writes paused for {writer.longest:.1f} s")
        assert not writer.failures
        assert recovered <= RECOVERY
        kept = {metric.step for metric in client.get_metric_history(run, "kept")}
        assert {step for _, step in writer.acknowledged} <= kept
    platform.recovered()
