"""MLflow: who is let in, where its secrets are, and in which order its databases, users and server change."""

import configparser
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import pytest
import yaml

import versions
from config import Images
from mlops import mlflow
from mlops.mlflow import values
from mlops.services import S3
from rehearsal.paths import PROJECT
from tests.unit import graph, platforms

RELEASE, JOB, SECRET = "kubernetes:helm.sh/v3:Release", "kubernetes:batch/v1:Job", "kubernetes:core/v1:Secret"
MIDDLEWARE, ROUTE = "kubernetes:traefik.io/v1alpha1:Middleware", "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute"
STORE = S3("http://object-store.object-store.svc:9000", "us-east-1", path_style=True, buckets={"mlflow": "mlflow"})
CHART = PROJECT / "rehearsal" / "charts" / "mlflow"


def given(form: str = "shipped") -> dict[str, Any]:
    return values.values(platforms.platform(form), Images(), STORE, "scripts")


def environment(variables: list[dict[str, Any]]) -> dict[str, Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in variables}


def test_every_request_from_outside_is_asked_of_mlflow_itself() -> None:
    """Its pages of health, version, settings and static files know no users: alone they would answer strangers."""
    recorded = platforms.recorded("shipped")
    asked = graph.unwrapped(recorded.one(MIDDLEWARE, "mlflow-mlflow-guard").inputs)["spec"]["forwardAuth"]
    assert asked["address"] == "http://mlflow.mlflow.svc:5000/api/2.0/mlflow/users/current"
    assert "Authorization" in asked["authRequestHeaders"]
    [rule] = graph.unwrapped(recorded.one(ROUTE, "mlflow-mlflow-route").inputs)["spec"]["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    assert [f for f in rule["filters"] if f["type"] == "ExtensionRef"]


def test_the_answering_hosts_are_the_ingress_and_the_names_inside() -> None:
    """Any other name is a web page's attempt to use a visitor's browser."""
    hosts = given()["server"]["value_options"]["allowed_hosts"].split(",")
    assert hosts == [
        "mlflow.dev.mlops.example.org",
        *("mlflow.mlflow:5000", "mlflow.mlflow.svc:5000", "mlflow.mlflow.svc.cluster.local:5000"),
    ]
    assert "*" not in given()["server"]["value_options"]["cors_allowed_origins"]


def test_jobs_of_the_server_are_off_and_nothing_is_reported_to_anybody() -> None:
    """They run code that users sent; and a closed network would only log the attempts."""
    variables = environment(given()["env"])
    assert variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert variables["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_values_hold_no_secret() -> None:
    """A release keeps its values in the cluster, in its history too."""
    release = platforms.recorded("external").one(RELEASE, "mlflow")
    text = json.dumps(graph.unwrapped(release.inputs["values"]))
    assert not [canary for canary in platforms.TEXTS.values() if canary in text]
    assert "password-" not in text
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_FLASK_SERVER_SECRET_KEY"):
        assert name not in text


def test_everything_that_a_secret_of_ours_holds_is_marked_as_one() -> None:
    """What is not marked is shown in previews and stored in clear."""
    for name in ("mlflow-mlflow-accounts", "mlflow-mlflow-database", "mlflow-mlflow-users", "mlflow-mlflow-server"):
        data = platforms.recorded("shipped").one(SECRET, name).inputs["stringData"]
        assert all(graph.is_secret(value) for value in data.values()) or graph.is_secret(data), name


def test_users_see_nothing_of_others_by_default_and_are_in_a_database_of_their_own() -> None:
    """A file in the pod would lose them with it; and the account of runs need not read hashes."""
    text = values.accounts("postgresql://mlflow_auth:a%b@postgres-rw.postgres.svc:5432/mlflow_auth?sslmode=require")
    read = configparser.ConfigParser()
    read.read_string(text)
    assert read["mlflow"]["default_permission"] == "NO_PERMISSIONS"
    assert ":a%b@postgres-rw.postgres.svc:5432/mlflow_auth?sslmode=require&" in read["mlflow"]["database_uri"]
    assert read["mlflow"]["admin_username"] == "admin"
    assert "admin_password" not in read["mlflow"]


def test_a_connection_to_a_database_that_is_gone_ends_in_seconds() -> None:
    """A node that lost its power answers nothing: without this a request waits for minutes, and so do its retries."""
    uri = values.with_driver("postgresql://u:p@h:5432/d?sslmode=require")
    parts = urlsplit(uri)
    asked = {key: int(value) for key, value in parse_qsl(parts.query) if key != "sslmode"}
    assert parts.scheme == "postgresql+psycopg2"
    assert asked["connect_timeout"] <= 5
    assert asked["tcp_user_timeout"] <= 10_000
    assert asked["keepalives_idle"] + asked["keepalives_interval"] * asked["keepalives_count"] <= 15


def test_the_databases_are_prepared_before_a_server_of_the_version_starts() -> None:
    """It refuses another version's schema, and its administrator must have the present password."""
    recorded = platforms.recorded("shipped")
    release = recorded.one(RELEASE, "mlflow")
    assert any(urn.endswith("::mlflow-prepare") for urn in release.request.dependencies)


def prepared(**changes: Any) -> str:
    tree = platforms.tree("shipped")
    tree["platform"] = {**tree["platform"], **changes}
    job = graph.record(tree, preview=False, **platforms.TEXTS).one(JOB, "mlflow-prepare")
    return str(graph.unwrapped(job.inputs)["metadata"]["name"])


def test_a_rotation_or_a_restore_prepares_the_databases_again() -> None:
    """MLflow ignores the administrator's password once it is made; a restored database has the old one."""
    before = prepared()
    assert prepared() == before
    names = {before, prepared(rotation=2), prepared(backups={"archive": 2, "restore": 1})}
    assert len(names) == 3


def test_a_preparation_that_failed_is_made_again_by_the_next_run() -> None:
    """A failed Job stays failed: every later run would wait for it in vain."""
    metadata = graph.unwrapped(platforms.recorded("shipped").one(JOB, "mlflow-prepare").inputs)["metadata"]
    assert metadata["annotations"] == {"pulumi.com/replaceUnready": "true"}


def test_a_new_generation_of_passwords_starts_the_server_again() -> None:
    """It reads them when it starts."""
    one = given()["podAnnotations"]
    two = values.values(platforms.platform("shipped").model_copy(update={"rotation": 2}), Images(), STORE, "scripts")
    assert one != two["podAnnotations"]


@pytest.mark.parametrize("form", sorted(platforms.CHANGES))
def test_a_change_of_version_fits_the_quota(form: str) -> None:
    """For a while there is a server more, and the Job: refused by the quota, the change would never end."""
    wanted, chosen = platforms.platform(form), given(form)
    containers = [chosen, *chosen["extraContainers"]]
    server = sum(int(c["resources"]["limits"]["memory"].removesuffix("Mi")) for c in containers)
    job = values.prepare("image", "scripts")["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    pods = chosen["replicaCount"] + (0 if chosen.get("deploymentStrategy") else 1)
    [space] = mlflow.spaces(wanted)
    assert pods * server + int(job.removesuffix("Mi")) <= int(space.memory.removesuffix("Mi"))


def test_the_loss_of_a_node_leaves_a_server_and_the_small_profile_has_one_at_a_time() -> None:
    """A node's pods are replaced after five minutes by default; a node of 4 GiB has no room for a second server."""
    assert given()["replicaCount"] == 2
    assert {item["tolerationSeconds"] for item in given()["tolerations"]} == {30}
    assert given("small")["replicaCount"] == 1
    assert given("small")["deploymentStrategy"] == {"type": "Recreate"}


def test_no_part_writes_outside_its_own_folder() -> None:
    """The root file system is read-only, and chart 0.1.0 need not have a writable /tmp."""
    chosen = given()
    variables = environment(chosen["env"])
    assert {variables["TMPDIR"], variables["HOME"]} == {values.WORK}
    assert chosen["server"]["value_options"]["expose_prometheus"].startswith(f"{values.WORK}/")
    assert chosen["securityContext"]["readOnlyRootFilesystem"]
    assert {m["mountPath"] for m in chosen["extraVolumeMounts"] if not m.get("readOnly")} == {values.WORK}


def test_the_stand_in_chart_takes_the_same_values_and_refuses_others() -> None:
    """It refuses what it does not honour, so that a rehearsal never ignores a key."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["name"], about["version"]) == (versions.MLFLOW_CHART.name, versions.MLFLOW_CHART.version)
    schema = json.loads((CHART / "values.schema.json").read_text())
    default = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(default) == set(schema["properties"]) - {"global"}
    for form in platforms.CHANGES:
        jsonschema.validate(given(form), schema)
    with pytest.raises(jsonschema.ValidationError, match="probes"):
        jsonschema.validate({**given(), "probes": {}}, schema)
