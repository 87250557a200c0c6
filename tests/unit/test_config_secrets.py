"""Secrets of the environment: there, and stored as secrets."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

import config
from tests.environments import changed, complete, dev, existing, hosts

BUCKET = {"cluster.snapshots.s3": {"endpoint": "https://s3.test", "bucket": "snapshots"}}


@pytest.fixture(autouse=True)
def _no_configuration_left() -> Iterator[None]:
    yield
    pulumi.runtime.config.set_all_config({}, [])


def load(tree: dict[str, Any], secret: dict[str, str] | None = None, clear: dict[str, str] | None = None) -> None:
    """Load an environment with texts given as secrets, and texts given in the clear."""
    texts = {name: json.dumps(value) for name, value in tree.items()} | (clear or {}) | (secret or {})
    keys = {f"{config.PROJECT}:{name}": text for name, text in texts.items()}
    pulumi.runtime.config.set_all_config(keys, [f"{config.PROJECT}:{name}" for name in secret or {}])
    config.load()


CASES = {
    "ssh_private_key": changed(hosts(), {"infra.private_key_file": None}),
    "kubeconfig": existing(),
    "tailscale_auth_key": changed(complete(dev()), {"cluster.vpn": {"tag": "tag:leasehold"}}),
    "snapshot_access_key": changed(complete(dev()), BUCKET),
}


@pytest.mark.parametrize("name", CASES)
def test_a_secret_that_is_needed_and_missing_is_named_with_the_command_that_sets_it(name: str) -> None:
    """Otherwise the first machine would be made before anybody notices."""
    with pytest.raises(config.BadEnvironment, match=rf"{name} = \(missing\)") as refused:
        load(CASES[name])
    assert f"pulumi config set --secret {name} < FILE" in str(refused.value)


@pytest.mark.parametrize("name", CASES)
def test_a_secret_in_the_clear_is_refused_and_not_shown(name: str) -> None:
    """The file is in Git."""
    with pytest.raises(config.BadEnvironment) as refused:
        load(CASES[name], clear={name: "canary"})
    assert f"{name} = [withheld]: a secret is never stored in clear" in str(refused.value)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("name", CASES)
def test_a_secret_stored_as_one_is_accepted(name: str) -> None:
    """With both halves of the bucket's key."""
    both = {"snapshot_access_key": "a", "snapshot_secret_key": "b"} if name.startswith("snapshot") else {name: "text"}
    load(CASES[name], secret=both)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A wrong path is the user's most likely mistake."""
    with pytest.raises(config.BadEnvironment, match=r"cluster.kubeconfig_file = .*: not a readable file"):
        load(changed(existing(), {"cluster.kubeconfig_file": str(tmp_path / "none")}))


def test_the_name_of_a_snapshot_is_plain_text() -> None:
    """`--config leasehold:restore=latest` is not JSON."""
    pulumi.runtime.config.set_all_config(
        {f"leasehold:{k}": json.dumps(v) for k, v in complete(dev()).items()} | {"leasehold:restore": "latest"}, []
    )
    assert config.load().environment.restore == "latest"
