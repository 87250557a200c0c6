"""The object store: who reaches which bucket, what each kind is told, and what a copy keeps."""

import json
from typing import Any

import pytest

from mlops.objectstore import contract, jobs, minio, seaweedfs
from mlops.objectstore.scripts import mirror, provision
from mlops.objectstore.scripts.s3 import Item, signature
from tests.unit import graph, platforms

JOB, CRON = "kubernetes:batch/v1:Job", "kubernetes:batch/v1:CronJob"
SECRET, CLAIM = "kubernetes:core/v1:Secret", "kubernetes:core/v1:PersistentVolumeClaim"
SET = "kubernetes:apps/v1:StatefulSet"


def plan(form: str, name: str) -> dict[str, Any]:
    """What a script is told."""
    data = platforms.recorded(form).one(SECRET, f"object-store-{name}").inputs
    found: dict[str, Any] = json.loads(graph.unwrapped(data)["stringData"][jobs.KEY])
    return found


def test_a_request_is_signed_as_the_protocol_says() -> None:
    """The published example of AWS: Signature Version 4 for GET of an object with a range."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    headers = {
        "host": "examplebucket.s3.amazonaws.com",
        "range": "bytes=0-9",
        "x-amz-content-sha256": empty,
        "x-amz-date": "20130524T000000Z",
    }
    found = signature(("GET", "/test.txt", ""), headers, "us-east-1", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    assert found == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


def test_an_application_reaches_its_own_bucket_only() -> None:
    """One that leaks its keys, or mixes names up, harms no other."""
    for purpose, user in plan("shipped", "object-store-plan")["users"].items():
        statements = provision.policy(user["buckets"], user["actions"])["Statement"]
        resources = [name for statement in statements for name in statement.get("Resource", [])]
        if purpose == contract.METRICS_USER:
            assert (resources, user["actions"]) == ([], ["admin:Prometheus"])
        else:
            assert sorted(resources) == [f"arn:aws:s3:::{purpose}", f"arn:aws:s3:::{purpose}/*"]
    identities = json.loads(seaweedfs.identities("root", dict.fromkeys(contract.BUCKETS, "key"), contract.buckets()))
    for identity in identities["identities"][1:]:
        assert {action.partition(":")[2] for action in identity["actions"]} == {identity["name"]}


@pytest.mark.parametrize("form", ["shipped", "full", "external"])
def test_every_kind_makes_the_same_buckets(form: str) -> None:
    """Applications see one contract; only a store that strangers share has a prefix."""
    prefix = "dev-" if form == "external" else ""
    told = plan(form, "object-store-plan")
    assert told["buckets"] == [f"{prefix}{purpose}" for purpose in contract.BUCKETS]
    assert bool(told["users"]) is (form == "shipped")


def test_keys_are_handed_on_when_their_bucket_is_there() -> None:
    """A release that starts before would crash until the Job is done."""
    for form in ("shipped", "external"):
        recorded = platforms.recorded(form)
        [keys] = [one.request for name, one in recorded.of(SECRET).items() if "postgres-archive-keys" in name]
        assert any(urn.endswith("::object-store-buckets") for urn in keys.dependencies) is (form == "shipped")


def test_data_is_protected_and_goes_with_its_cluster() -> None:
    """Nothing but an explicit word deletes it; with the machines gone there is nothing left to ask."""
    claim = platforms.recorded("shipped").one(CLAIM, contract.CLAIM).request
    assert claim.protect


def test_new_passwords_restart_what_reads_them_once() -> None:
    """A pod that keeps the old root password would refuse the next provisioning."""
    pods = [minio.stateful_set("image", "https://x", generation, small=False)["template"] for generation in (1, 2)]
    assert pods[0]["metadata"] != pods[1]["metadata"]
    values = [seaweedfs.values("image", generation, small=False)["allInOne"] for generation in (1, 2)]
    assert values[0]["podAnnotations"] != values[1]["podAnnotations"]


def test_a_job_is_made_anew_when_it_would_do_something_else() -> None:
    """A Job's pod cannot change in place, and a finished Job does nothing more."""
    one, other = ({"s3.py": "a", "rotation": number} for number in ("1", "2"))
    assert jobs.digest(one) != jobs.digest(other)
    assert jobs.digest(one) == jobs.digest(dict(reversed(one.items())))
    assert set(jobs.scripts()) == {"s3.py", "provision.py", "mirror.py"}


def test_buckets_are_copied_out_where_there_is_a_store_outside() -> None:
    """Into a folder of the stack and its archive; the databases' own backups are there by themselves."""
    assert not platforms.recorded("shipped").of(CRON).keys() & {"object-store-backup"}
    told = plan("full", "object-store-backup")
    assert (told["bucket"], told["folder"]) == ("leasehold-backups", "test/1/buckets")
    assert set(told["buckets"]) == set(contract.COPIED)
    cron = graph.unwrapped(platforms.recorded("full").one(CRON, "object-store-backup").inputs)["spec"]
    assert cron["concurrencyPolicy"] == "Forbid"


def test_a_restore_comes_before_anybody_uses_a_bucket_and_before_the_next_copy() -> None:
    """A copy of buckets that are still empty would note all of it as deleted."""
    tree = platforms.tree("full")
    tree["platform"]["backups"] |= {"archive": 2, "restore": 1}
    recorded = graph.record(tree, preview=False, **platforms.TEXTS)
    text = graph.unwrapped(recorded.one(SECRET, "object-store-object-store-restore").inputs)["stringData"][jobs.KEY]
    assert json.loads(text)["folder"] == "test/1/buckets"
    for kind, name in ((CRON, "object-store-backup"), (SECRET, "mlflow-mlflow-store")):
        if name in recorded.of(kind):
            dependencies = recorded.one(kind, name).request.dependencies
            assert any(urn.endswith("::object-store-restore") for urn in dependencies), name


def test_a_copy_is_the_same_by_sum_or_by_size() -> None:
    """The sum of an upload in parts says nothing of the whole."""
    whole = Item("a", 5, "0" * 32)
    assert mirror.same(whole, Item("a", 5, "0" * 32))
    assert not mirror.same(whole, Item("a", 5, "1" * 32))
    assert mirror.same(whole, Item("a", 5, f"{'1' * 32}-2"))
    assert not mirror.same(whole, Item("a", 6, "0" * 32))
    assert not mirror.same(whole, None)


def test_the_time_since_when_an_object_is_missing_is_kept() -> None:
    """Else each copy would begin its days anew, and nothing would ever end; what came back is not missing."""
    assert mirror.missing({"old": 1.0, "back": 1.0}, {"back"}, {"old", "back", "new"}, 9.0) == {"old": 1.0, "new": 9.0}


def test_metrics_are_read_by_a_token_of_a_user_who_may_do_nothing_else() -> None:
    """The token is in Prometheus' hands; MinIO takes it as signed by that user's secret."""
    head, body, proof = minio.metrics_token("secret").split(".")
    assert all((head, body, proof))
    assert minio.metrics_token("other").split(".")[2] != proof


def test_pods_of_the_store_are_restricted() -> None:
    """No root, no capabilities, a root file system that nobody writes to, no account's token."""
    specs = [minio.stateful_set("image", "https://x", 1, small=True)["template"]["spec"]]
    specs.append(jobs.provision("image", "plan", "x")["template"]["spec"])
    specs.append(jobs.mirror("image", "plan", "x", "0 1 * * *")["jobTemplate"]["spec"]["template"]["spec"])
    for spec in specs:
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"]
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= set(container["resources"])
