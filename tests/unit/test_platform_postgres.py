"""PostgreSQL: who reaches which database, what an archive is, and what a restore begins with."""

from datetime import UTC, datetime
from typing import Any

import pulumi
import pytest

from config import Images
from mlops.backups import Place
from mlops.postgres import spec
from mlops.services import Keys
from rehearsal.programs.postgres import controller, known, schedule, settings
from tests.unit import graph, platforms

CLUSTER, STORE = "kubernetes:postgresql.cnpg.io/v1:Cluster", "kubernetes:barmancloud.cnpg.io/v1:ObjectStore"
ROLE, DATABASE = "kubernetes:postgresql.cnpg.io/v1:DatabaseRole", "kubernetes:postgresql.cnpg.io/v1:Database"
SECRET, RELEASE = "kubernetes:core/v1:Secret", "kubernetes:helm.sh/v3:Release"


def inputs(recorded: graph.Graph, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = graph.unwrapped(recorded.one(kind, name).inputs)
    return found


def store(recorded: graph.Graph, begins: str) -> dict[str, Any]:
    """The spec of the ObjectStore whose name begins so."""
    [name] = [name for name in recorded.of(STORE) if name.startswith(f"postgres-objectstore-{begins}")]
    found: dict[str, Any] = inputs(recorded, STORE, name)["spec"]
    return found


def restored(form: str = "full") -> graph.Graph:
    """An environment that begins with what an archive has."""
    tree = platforms.tree(form)
    tree["platform"]["backups"] = {**tree["platform"]["backups"], "archive": 3, "restore": 2}
    return graph.record(tree, preview=False, **platforms.TEXTS)


def test_an_application_has_a_database_and_a_user_of_its_own() -> None:
    """Both have one name: that is what the server's admission lets in, by TLS only."""
    recorded = platforms.recorded("shipped")
    apps = ("mlflow", "mlflow-auth", "argo-workflows")
    for app in apps:
        name = spec.identifier(app)
        role = inputs(recorded, ROLE, f"postgres-databaserole-{app}")["spec"]
        database = inputs(recorded, DATABASE, f"postgres-database-{app}")["spec"]
        assert (role["name"], database["name"], database["owner"]) == (name, name, name)
        assert not {"superuser", "createdb", "createrole", "replication", "inRoles"} & set(role)
    assert spec.HBA == ["hostssl sameuser all all scram-sha-256", "host all all all reject"]


def test_what_a_mistake_removes_from_the_program_stays_in_the_data() -> None:
    """An application that is left out for a moment finds its rows again."""
    assert spec.database("x")["databaseReclaimPolicy"] == "retain"
    assert spec.role("x", "y")["databaseRoleReclaimPolicy"] == "retain"
    assert platforms.recorded("shipped").one(CLUSTER, "postgres-cluster-postgres").request.protect


def test_a_password_is_handed_on_when_the_database_is_there() -> None:
    """Whoever uses it, waits for it; and a new one reaches the user through the Secret that the operator follows."""
    recorded = platforms.recorded("shipped")
    labels = inputs(recorded, SECRET, "postgres-mlflow-login")["metadata"]["labels"]
    assert labels["cnpg.io/reload"] == "true"
    role = recorded.one(ROLE, "postgres-databaserole-mlflow")
    assert role.inputs["metadata"]["annotations"] == {"pulumi.com/waitFor": "jsonpath={.status.applied}=true"}
    database = recorded.one(DATABASE, "postgres-database-mlflow").request
    assert any(urn.endswith("::postgres-databaserole-mlflow") for urn in database.dependencies)


@pytest.mark.parametrize(("form", "instances"), [("shipped", 1), ("full", 3)])
def test_what_was_acknowledged_is_on_another_instance_where_there_is_one(form: str, instances: int) -> None:
    """Whoever takes over has every commit that a client was told of."""
    wanted = inputs(platforms.recorded(form), CLUSTER, "postgres-cluster-postgres")["spec"]
    assert wanted["instances"] == instances
    synchronous = wanted["postgresql"].get("synchronous")
    assert (synchronous or {}).get("dataDurability") == ("required" if instances == 3 else None)
    assert wanted["enablePDB"] is (instances == 3)


def test_a_restore_loses_a_minute_at_most() -> None:
    """The log is archived after half of that, whether a segment is full or not."""
    assert spec.parameters(small=False)["archive_timeout"] == f"{spec.ARCHIVE_SECONDS}s"
    assert spec.ARCHIVE_SECONDS * 2 <= 60


@pytest.mark.parametrize("form", ["shipped", "full"])
def test_an_archive_is_written_outside_or_in_the_object_store(form: str) -> None:
    """Each stack and each archive has a folder of its own."""
    found = store(platforms.recorded(form), "archive")["configuration"]
    outside = form == "full"
    assert found["destinationPath"] == f"s3://{'leasehold-backups' if outside else 'backups'}/test/1"
    assert found["endpointURL"].startswith("https://s3.example.org" if outside else "http://object-store")


def test_another_store_is_begun_with_a_base_backup_as_another_archive_is() -> None:
    """Log alone restores nothing: until the next night the new store would be worth nothing. The store and its keys are
    other objects, too: of the same ones the sidecar would know for seconds what they were, and begin the old place.
    """

    found: list[str] = []

    def build() -> None:
        keys = Keys(pulumi.Output.from_input("a"), pulumi.Output.from_input("b"))
        for where in (("one", "dev/1"), ("one", "dev/1"), ("two", "dev/1"), ("one", "dev/2")):
            host, folder = where
            place = Place(f"https://{host}.example.org", "us-east-1", "backups", folder, keys)
            found.append(spec.of_place("x", place))

    graph.run(build)  # outputs need a running program, whatever ran before
    first, same, *others = found
    assert first == same
    assert len({first, *others}) == 3


def test_the_store_and_its_keys_are_named_by_their_place() -> None:
    """By the same word as the ScheduledBackup, and the keys are there before the store."""
    recorded = platforms.recorded("full")
    [schedule] = recorded.of(f"{CLUSTER.rpartition(':')[0]}:ScheduledBackup")
    place = schedule.rpartition("-")[2]
    [made] = [name for name in recorded.of(STORE) if "archive" in name]
    keys = f"postgres-postgres-archive-keys-{place}"
    assert made.endswith(f"-{place}")
    assert any(urn.endswith(f"::{keys}") for urn in recorded.one(STORE, made).request.dependencies)
    credentials = store(recorded, "archive")["configuration"]["s3Credentials"]
    assert {one["name"] for one in credentials.values()} == {f"postgres-archive-keys-{place}"}
    [plugin] = inputs(recorded, CLUSTER, "postgres-cluster-postgres")["spec"]["plugins"]
    assert plugin["parameters"]["barmanObjectName"] == f"archive-{place}"


def test_a_restore_reads_one_archive_and_writes_another() -> None:
    """What is restored from can never be overwritten by what went wrong."""
    recorded = restored()
    urls = [store(recorded, name)["configuration"]["destinationPath"] for name in ("restored", "archive")]
    assert urls == ["s3://leasehold-backups/test/2", "s3://leasehold-backups/test/3"]
    wanted = inputs(recorded, CLUSTER, "postgres-cluster-postgres")["spec"]
    assert wanted["bootstrap"] == {"recovery": {"source": "restored"}}
    [outside] = wanted["externalClusters"]
    assert outside["plugin"]["parameters"] == {"barmanObjectName": "restored", "serverName": "postgres"}
    assert "initdb" in inputs(platforms.recorded("full"), CLUSTER, "postgres-cluster-postgres")["spec"]["bootstrap"]


def test_the_plugin_waits_for_the_kind_of_its_certificates_only() -> None:
    """The operator and the plugin do not use each other to be installed."""
    recorded = platforms.recorded("shipped")
    plugin, operator = (recorded.one(RELEASE, name).request for name in ("plugin-barman-cloud", "cloudnative-pg"))
    assert any(urn.endswith("::cert-manager") for urn in plugin.dependencies)
    assert not any(urn.endswith("::plugin-barman-cloud") for urn in operator.dependencies)
    assert not any(urn.endswith("::cloudnative-pg") for urn in plugin.dependencies)


@pytest.mark.parametrize("form", sorted(platforms.CHANGES))
def test_the_stand_in_honours_every_field_that_we_write(form: str) -> None:
    """And refuses any other by its name, as no API server would with its definitions."""
    recorded = platforms.recorded(form)
    kinds = {CLUSTER: known.CLUSTER, STORE: known.STORE, ROLE: known.ROLE, DATABASE: known.DATABASE}
    for kind, fields in kinds.items():
        for item in recorded.of(kind).values():
            assert not known.refusal(graph.unwrapped(item.inputs)["spec"], fields)
    assert not known.refusal(restored().of(CLUSTER)["postgres-cluster-postgres"].inputs["spec"], known.CLUSTER)
    assert not known.refusal(spec.scheduled("0 1 * * *"), known.SCHEDULED)
    wrong = {"instances": 1, "storage": {"size": "1Gi", "siez": 1}}
    assert known.refusal(wrong, known.CLUSTER).endswith("does not know spec.storage.siez")


def test_a_rehearsed_schedule_is_due_as_cron_says() -> None:
    """Six fields, the first of them seconds; Sunday is 0 and 7."""
    start, end = (datetime(2026, 11, 28, 0, 59, tzinfo=UTC), datetime(2026, 11, 28, 1, 1, tzinfo=UTC))
    assert schedule.due("0 0 1 * * *", start, end)
    assert not schedule.due("0 0 2 * * *", start, end)
    assert schedule.due("30 */5 * * * 6", start, end)
    assert not schedule.due("0 0 1 * * 7", start, end)
    assert not schedule.due("0 0 1 * * *", end, end)


def test_a_rehearsed_standby_takes_over_when_one_that_answers_must_have_it_all() -> None:
    """With two standbys, one of which had each commit, both must answer; the one with more log is chosen."""
    states = {"b": {"standby": True, "position": 5}, "c": {"standby": True, "position": 7}}
    assert controller.successor(states, 2, 1) == "c"
    assert controller.successor({"b": states["b"], "c": {}}, 2, 1) is None
    assert controller.successor({}, 0, 0) is None


def test_a_rehearsed_server_cannot_be_told_away_from_what_the_operator_fixes() -> None:
    """As with the real one, the user's parameters do not reach the socket or the archive command."""
    wanted = spec.cluster(platforms.platform("shipped"), Images(), "archive", None)
    wanted["postgresql"]["parameters"] |= {"port": "1", "archive_command": "true"}
    lines = settings.configuration(wanted, [], "", "postgres-1", "").splitlines()
    assert "port = '5432'" in lines
    assert any(line.startswith("archive_command = 'curl") for line in lines)
    assert settings.synchronous({"postgresql": {"synchronous": {"method": "any", "number": 1}}}, ["b", "a"]) == (
        'ANY 1 ("a", "b")'
    )
