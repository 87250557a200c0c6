"""Releases whose operation was cut off or failed: one `up` heals them, under the helm that is kept and a real API."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal.paths import PROJECT
from rehearsal.protocol import Call, Unfinished
from rehearsal.providers.kubernetes.release import Release
from tests.rehearsal import api_server
from tests.rehearsal.cluster import Kubectl, until
from tests.rehearsal.services import Platform

SPACE = "held"
QUIET = 5
"""Seconds after which a test takes an operation for cut off."""
PROGRAM = f"""
    import json, os, pulumi, pulumi_kubernetes as kubernetes
    from pulumi_kubernetes.helm.v3 import Release
    from cluster.held import HeldReleases

    given = json.loads(os.environ["RELEASES_TEST"])
    text = open(given["kubeconfig"]).read()
    provider = kubernetes.Provider("k", kubeconfig=text, cluster_identifier="x", skip_update_unreachable=True)
    under = pulumi.ResourceOptions(provider=provider)
    space = kubernetes.core.v1.Namespace("space", metadata={{"name": "{SPACE}"}}, opts=under)
    held = HeldReleases("held", text, ["{SPACE}"])
    Release("web", name="web", chart=given["chart"], namespace=space.metadata.apply(lambda m: m.name),
            values={{"pods": given["pods"]}}, timeout=given["seconds"], max_history=5,
            description=held.description("{SPACE}", "web"), replace=True, opts=under)
"""
RUN = f"""
    import sys
    from pathlib import Path
    from cluster import held
    from rehearsal.cli import PROVIDERS
    from rehearsal.engine import Engine, Silent
    from rehearsal.paths import Root

    held.QUIET_SECONDS = {QUIET}
    folder = Path(sys.argv[1])
    root, file = Root(folder / "root"), folder / "Pulumi.dev.yaml"
    summary = Engine(root, "dev", file, folder / "program", PROVIDERS, {{}}, "correct horse", Silent()).up()
    print("\\n".join(str(failure) for failure in summary.failures))
    sys.exit(2 if summary.failures else 3 if summary.changed else 0)
"""
POD = """
    {{- range .Values.pods }}
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: {{ . }}}
    spec: {containers: [{name: main, image: nowhere.invalid/x}]}
    {{- end }}
"""
FAILED, CHANGED, SAME = 2, 3, 0


def text(block: str) -> str:
    return textwrap.dedent(block).strip() + "\n"


def write_chart(folder: Path) -> Path:
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "web", "version": "1.0.0"}))
    (folder / "values.yaml").write_text("pods: []\n")
    (folder / "templates" / "pods.yaml").write_text(text(POD))
    return folder


@dataclass
class Program:
    """A stack of one release, driven by our engine in a process of its own."""

    folder: Path
    kubectl: Kubectl

    def start(self, pods: list[str], seconds: int = 300) -> "subprocess.Popen[str]":
        given = {"kubeconfig": str(self.kubectl.kubeconfig), "chart": str(self.folder / "chart"), "pods": pods}
        path = os.pathsep.join([str(PROJECT), str(PROJECT / "platform")])
        return subprocess.Popen(
            [sys.executable, "-c", text(RUN), str(self.folder)],
            env={**os.environ, "PYTHONPATH": path, "RELEASES_TEST": json.dumps({**given, "seconds": seconds})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def up(self, pods: list[str], code: int, seconds: int = 300) -> str:
        process = self.start(pods, seconds)
        out = process.communicate(timeout=180)[0]
        assert process.returncode == code, out
        return out

    def kill(self, pods: list[str], status: str) -> None:
        """Start an `up`, and kill all of it while helm waits for a pod."""
        process = self.start(pods)
        try:
            until(f"the release to be {status}", lambda: process.poll() or self.statuses()[-1:] == [status], 180)
        finally:
            with suppress(ProcessLookupError):  # it ended by itself, which its output explains
                os.killpg(process.pid, signal.SIGKILL)
            out = process.communicate(timeout=60)[0]
        assert self.statuses()[-1:] == [status], out

    def statuses(self) -> list[str]:
        """Of every revision."""
        found = self.kubectl.get("secrets", "-n", SPACE, "-l", "owner=helm")["items"]
        found.sort(key=lambda secret: int(secret["metadata"]["labels"]["version"]))
        return [secret["metadata"]["labels"]["status"] for secret in found]

    def ready(self, pod: str) -> None:
        """What a kubelet would say."""
        until("the pod", lambda: self.kubectl.get("pod", pod, "-n", SPACE), 60)
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        words = ["patch", "pod", pod, "-n", SPACE, "--subresource=status", "--type=merge"]
        self.kubectl.run(*words, "-p", json.dumps({"status": status}))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("releases")
    (folder / "program").mkdir()
    about: dict[str, Any] = {"name": "p", "runtime": "python", "options": {"refresh": "always"}}
    (folder / "program" / "Pulumi.yaml").write_text(yaml.safe_dump(about))
    (folder / "program" / "__main__.py").write_text(text(PROGRAM))
    (folder / "Pulumi.dev.yaml").write_text("config: {}\n")
    write_chart(folder / "chart")
    with api_server.running() as kubectl:
        yield Program(folder, kubectl)


def test_a_killed_install_is_healed_by_one_up(program: Program) -> None:
    """Helm alone would refuse the name for ever: the state does not know the release, and the cluster does."""
    program.kill(["one"], "pending-install")
    program.ready("one")
    program.up(["one"], CHANGED)
    assert program.statuses() == ["deployed"]
    program.up(["one"], SAME)


@pytest.mark.long
def test_a_killed_upgrade_is_healed_by_one_up_and_the_old_revision_was_never_touched(program: Program) -> None:
    """What ran before the upgrade is what the next one starts from."""
    program.kill(["one", "two"], "pending-upgrade")
    assert program.statuses() == ["deployed", "pending-upgrade"]
    program.ready("two")
    program.up(["one", "two"], CHANGED)
    assert program.statuses() == ["superseded", "deployed"]
    program.up(["one", "two"], SAME)


def test_a_failed_upgrade_names_its_pod_and_is_healed_by_one_up(program: Program) -> None:
    """The timeout is the release's own; the next run changes it again, until it is whole."""
    said = program.up(["one", "four"], FAILED, seconds=5)
    assert "Pod four" in said
    assert program.statuses()[-1] == "failed"
    program.ready("four")
    program.up(["one", "four"], CHANGED)
    assert program.statuses()[-1] == "deployed"
    program.up(["one", "four"], SAME)


def test_a_pod_that_never_becomes_ready_is_named_with_its_last_event(platform: Platform, tmp_path: Path) -> None:
    """On real nodes: within the release's timeout, with what its container waits for and what the kubelet said last."""
    space = "release-test"
    platform.kubectl.run("create", "namespace", space)
    chart = write_chart(tmp_path / "chart")
    inputs = {"name": "web", "chart": str(chart), "namespace": space, "timeout": 20, "values": {"pods": ["never"]}}
    call = Call("urn:pulumi:dev::p::kubernetes:helm.sh/v3:Release::web", {"kubeconfig": kubeconfig(platform)}, 60)
    try:
        with pytest.raises(Unfinished, match=r"Pod never: container main: .*nowhere\.invalid.*last event: \w+: "):
            Release().create(call, Release().check(call, inputs))
    finally:
        platform.kubectl.run("delete", "namespace", space, "--wait=false")


def kubeconfig(platform: Platform) -> str:
    return platform.kubectl.kubeconfig.read_text()
