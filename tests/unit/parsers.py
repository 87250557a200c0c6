"""Every parser of ours: what it reads, which errors are its own, and texts that it takes."""

import hmac
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import asyncssh

import config
from apps.delivery.gate import Answer, Contract, Decision
from apps.delivery.gate.integration import violation
from apps.delivery.measure import cluster_api, resources, samples
from apps.delivery.releases import Evidence, RecordError, Release, read, read_state, release_path, written
from apps.delivery.repository.failures import said
from apps.delivery.repository.message import line
from apps.delivery.steps import made, settings, web
from apps.delivery.steps.errors import StepError
from apps.git.scripts import serve
from cluster import kubeconfig
from mlops.monitoring.scripts import log_analysis
from rehearsal import protocol
from rehearsal.arguments import key_values
from rehearsal.engine import BadInput
from rehearsal.engine.program import load_config
from rehearsal.engine.run import seconds
from rehearsal.engine.secrets import Crypter, Redactor
from rehearsal.engine.state import State
from rehearsal.engine.values import parse_path
from rehearsal.environment import EnvironmentFile, Unreadable
from rehearsal.kubernetes.k3s import config as k3s
from rehearsal.kubernetes.k3s import tokens
from rehearsal.kubernetes.k3s.log import Fatal
from rehearsal.programs.argo import applications_spec, cron, expressions, hooks, retries, triggers, variables
from rehearsal.programs.argo.web import Request
from rehearsal.programs.monitoring import states
from rehearsal.programs.postgres import schedule
from rehearsal.providers import ssh
from rehearsal.providers.clock import Clock
from rehearsal.providers.kubernetes import api, helm, objects
from tests.environments import as_file, dev
from tests.unit import graph
from tests.unit.graph import RULES
from tests.unit.test_delivery_steps import given
from tests.unit.test_engine_toys import PASSPHRASE, SALT


@dataclass(frozen=True)
class Parser:
    """One of them."""

    read: Callable[[str], object]
    errors: tuple[type[Exception], ...] = ()
    """Its own; none where every text means something."""
    seeds: tuple[str, ...] = ()
    """Texts that it takes, which are changed."""


def of_file(work: Callable[[Path], object]) -> Callable[[str], object]:
    """What reads a file, for a text."""

    def through(text: str) -> object:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "file")
            file.write_bytes(text.encode(errors="surrogatepass"))
            return work(file)

    return through


def environment(file: Path) -> object:
    """An environment file, with all that is wrong in it."""
    found = EnvironmentFile.read(file)
    return [str(problem) for problem in found.problems()], found.needs_cloud


def field(path: str) -> Callable[[str], object]:
    """A value of the environment."""

    def through(text: str) -> object:
        *parents, last = path.split(".")
        tree: Any = {last: text}
        for parent in reversed(parents):
            tree = {parent: tree}
        return [str(problem) for problem in config.validate(tree, RULES)[1]]

    return through


def record(kind: type) -> Callable[[str], object]:
    """A file of the releases repository, which is written again as it was."""
    return lambda text: written(read(kind, text, "file")).encode()


def hook(kind: str) -> Callable[[str], object]:
    """A posted body, by who may post it."""
    secret = "word"

    def through(text: str) -> object:
        body = text.encode(errors="surrogatepass")
        mac = hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = {
            "Authorization": f"Bearer {secret}",
            "Content-Type": "application/json",
            "X-Hub-Signature-256": f"sha256={mac}",
        }
        request, one = Request("POST", "/x", headers, body), hooks.Hook("e", kind, "/x", 1, "POST", 10**6, ("a", "b"))
        refused = hooks.admitted(request, one, secret)
        return refused.status if refused else triggers.passes(FILTERS, hooks.data(request, one))

    return through


def login(name: str) -> Callable[[str], object]:
    """A key, as the rehearsal logs in with it."""
    clock = Clock(protocol.Call("urn"), "test", 1)
    return lambda text: ssh._options(ssh.Host.of({"host": "h", name: text}), clock, "")


FILTERS = {"filters": {"data": [{"path": "body.ref", "type": "string", "value": ["^refs/heads/main$"]}]}}
RELEASE = Release("sha256:" + "5" * 64, "7", "a" * 40, "run-1")
ACT = '{"who": "me", "why": "so", "time": "2026-01-31T02:00:00Z"}'
EVIDENCE = f'{{"release": {written(RELEASE)}, "decision": {{"verdicts": []}}, "act": {ACT}}}'
PIPELINE = '{"number": 0, "candidate": null, "awaiting": null, "built": null, "runs": []}'
STATE = json.dumps(
    {"version": 1, "resources": [{"urn": "urn:pulumi:a::b::c::d", "type": "c", "custom": True}], "pending": []}
)
POD = json.dumps(
    {"metadata": {"uid": "u", "name": "n"}, "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"}}
)
GITHUB = '{"ref": "refs/heads/main", "repository": {"full_name": "a/b"}}'
SUMMARY = '{"choices": [{"message": {"content": "It ran out of memory."}}]}'
ALIASES = '{"registered_model": {"aliases": [{"alias": "a", "version": "1"}]}}'
TRAINED = json.dumps(
    {"passed": True, "model": "m", "model_version": "7", "revision": "a" * 40, "reason": "", "sha256": "5" * 64}
)
PRIVATE = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFtIbAVpCLbcl4LqrcTwkPhvcvMFkPpSx8z8wKLqGTlm"
SEALED = Crypter(PASSPHRASE, SALT, "test").encrypt("canary")
NOW = datetime(2026, 1, 31, tzinfo=UTC)

PARSERS = {
    # -- configuration
    "environment file": Parser(of_file(environment), (Unreadable,), (as_file(dev()),)),
    "environment file, for the program": Parser(
        of_file(lambda file: load_config(file, "leasehold", PASSPHRASE, Redactor())),
        (BadInput,),
        (f"encryptionsalt: {SALT}\n{as_file(dev())}", f"encryptionsalt: {SALT}\nconfig: {{a: {{secure: '{SEALED}'}}}}"),
    ),
    "schedule of the environment": Parser(field("platform.backups.schedule"), (), ("*/15 * * * *", "0 1-5,7 1 */2 0")),
    "URL": Parser(field("artifacts.source"), (), ("https://mirror.example.org:8443/files",)),
    "network": Parser(field("cluster.pod_cidr"), (), ("10.42.0.0/16",)),
    "release of k3s": Parser(field("cluster.version"), (), ("v1.36.4+k3s1",)),
    "time": Parser(field("infra.leases.gpu.end"), (), ("2026-01-31 02:00",)),
    "domain": Parser(field("platform.domain"), (), ("mlops.example.org",)),
    "chart mirror": Parser(field("charts.mirror"), (), ("oci://registry.example.org/charts", "/srv/charts")),
    "words of --config": Parser(lambda text: key_values([text]), (Unreadable,), ("leasehold:restore=latest",)),
    "kubeconfig": Parser(kubeconfig.check, (), (graph.KUBECONFIG,)),
    "kubeconfig of a provider": Parser(
        api.parse, (protocol.ProviderError,), (graph.KUBECONFIG.replace("canary-key", "a2V5"),)
    ),
    # -- the way to production
    "release": Parser(record(Release), (RecordError,), (written(RELEASE),)),
    "evidence": Parser(record(Evidence), (RecordError,), (EVIDENCE,)),
    "decision": Parser(record(Decision), (RecordError,), ('{"verdicts": []}',)),
    "state of the pipeline": Parser(
        lambda text: read_state({"pipeline.json": text}, ["a", "b"]), (RecordError,), (PIPELINE,)
    ),
    "release of an environment": Parser(
        lambda text: read_state({"pipeline.json": PIPELINE, release_path("a"): text}, ["a", "b"]),
        (RecordError,),
        ('{"release": null, "evidence": null, "passed": []}',),
    ),
    "settings of the steps": Parser(
        lambda text: settings.read_settings(text, "file"), (RecordError,), (written(given(Path("/r"))),)
    ),
    "trainer's result": Parser(of_file(lambda file: made.trained(file, "m")), (RecordError, StepError), (TRAINED,)),
    "metadata of a build": Parser(
        of_file(lambda file: made.image(file, "r/models/m")),
        (RecordError, StepError),
        (json.dumps({"containerimage.digest": RELEASE.digest, "image.name": "r/models/m:1"}),),
    ),
    "line of a commit": Parser(line, (), ("why",)),
    "words of git": Parser(said, (), ("remote: declined\nfatal: no",)),
    "labelled samples": Parser(
        of_file(lambda file: samples.read(file, {"cat"})),
        (samples.SamplesError,),
        ('{"body": {"image": "aa"}, "truth": "cat"}\n{"body": 1, "truth": "cat"}',),
    ),
    "class in an answer": Parser(lambda text: samples.label(text, "label"), (), ('{"label": "cat"}',)),
    "answer of a model": Parser(
        lambda text: violation(Contract(frozenset({"cat"})), Answer("1", HTTPStatus.OK, text)),
        (),
        ('{"label": "cat", "probability": 0.5}',),
    ),
    "metrics of a model": Parser(
        resources.resident, (), ("process_resident_memory_bytes 1.5e+08\n", 'process_resident_memory_bytes{a="b"} 12\n')
    ),
    "quantity of memory": Parser(cluster_api.in_bytes, (cluster_api.ApiError,), ("256Mi", "1e9", "1.5G")),
    "list of pods": Parser(
        lambda text: cluster_api.listed(text, "c", "url"), (cluster_api.ApiError,), (f'{{"items": [{POD}]}}',)
    ),
    "answer of MLflow": Parser(lambda text: web.Reply(200, text).object(), (web.WebError,), (ALIASES,)),
    # -- programs in pods
    "login of the Git server": Parser(serve.login, (), ("Basic YTpi",)),
    "request of the Git server": Parser(
        lambda text: serve.wanted("GET", text), (), ("/model.git/info/refs?service=git-upload-pack",)
    ),
    "body in chunks": Parser(
        lambda text: b"".join(serve.chunks(io.BytesIO(text.encode(errors="surrogatepass")))),
        (ValueError,),
        ("3\r\nabc\r\n0\r\n\r\n",),
    ),
    "answer of a language model": Parser(
        lambda text: log_analysis.said(text.encode(errors="surrogatepass"), "m"), (ValueError,), (SUMMARY,)
    ),
    # -- the rehearsal's engine and its stand-ins
    "state": Parser(
        of_file(lambda file: State(file, PASSPHRASE, SALT, readonly=True).resources), (BadInput,), (STATE,)
    ),
    "path of a property": Parser(parse_path, (), ('a.b[0]["c"].*',)),
    "timeout": Parser(seconds, (BadInput,), ("1h20m", "90s")),
    "waitFor": Parser(objects.conditions, (protocol.ProviderError,), ('["condition=Ready", "jsonpath={.a}=b"]',)),
    "manifest of a chart": Parser(
        helm.resource_names, (protocol.ProviderError,), ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n",)
    ),
    "configuration of k3s": Parser(
        lambda text: k3s.merge_file({}, text, "file"), (Fatal,), ("node-ip: [10.0.0.1]\ntls-san+: a\n",)
    ),
    "token of k3s": Parser(tokens.parse, (Fatal,), (f"K10{'a' * 64}::server:secret",)),
    "private key": Parser(login("privateKey"), (protocol.ProviderError,), (PRIVATE,)),
    "host key": Parser(login("hostKey"), (protocol.ProviderError,), (PUBLIC,)),
    "condition of a step": Parser(
        expressions.holds, (expressions.ExpressionError,), ("a == b && !(1 < 2 || 'x' != y)",)
    ),
    "expression of a retry": Parser(
        lambda text: expressions.holds(text, retries.FIRST),
        (expressions.ExpressionError,),
        ("asInt(lastRetry.exitCode) > 1 and not (lastRetry.status == 'Error')", "string(retries) != '0'"),
    ),
    "duration of Argo": Parser(variables.seconds, (ValueError,), ("1m30s", "90")),
    "duration of Argo CD": Parser(applications_spec.duration, (ValueError,), ("1m30s", "0")),
    "pattern of Argo CD": Parser(
        lambda text: applications_spec.glob(text, "https://a/b"), (), ("https://{a,b}/[a-z]*?",)
    ),
    "schedule of Argo": Parser(cron.parsed, (cron.ScheduleError,), ("*/15 0-5 1,2 * ?", "@daily")),
    "time zone of Argo": Parser(lambda text: cron.parsed("@daily", text), (cron.ScheduleError,), ("Europe/Berlin",)),
    "schedule of CloudNativePG": Parser(
        lambda text: schedule.due(text, NOW, NOW), (ValueError,), ("0 */15 1 * * 1-5",)
    ),
    "webhook": Parser(hook("webhook"), (), (GITHUB,)),
    "webhook of GitHub": Parser(hook("github"), (), (GITHUB,)),
    "quantity of a metric": Parser(states.quantity, (), ("250m", "1.5Gi")),
}
