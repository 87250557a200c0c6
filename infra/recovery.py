"""What a site holds of a stack and its state does not know: listed, written as a file for `pulumi import`, or removed.

    python -m infra.recovery --stack dev --site kvm --cloud NAME --region KVM@TACC --state export.json [--remove]

`export.json` is what `pulumi stack export` writes. Objects are told by their marks, and nothing that has another
stack's mark is ever in a list. Volumes and floating IPs are not removed: they hold data and addresses that others know.
"""

import argparse
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException, raise_from_response

from infra import login, marked
from infra.marked import Marked

KEPT = ("openstack:blockstorage/volume:Volume", "openstack:networking/floatingIp:FloatingIp")


def unknown(connection: Connection, stack: str, known: Collection[str]) -> list[Marked]:
    """Objects of the stack whose ids are not known, in the order in which they can be removed."""
    return [one for one in marked.of_stack(connection, stack) if one.id not in known]


def remove(connection: Connection, objects: Iterable[Marked], *, data: bool = False) -> Iterator[tuple[Marked, str]]:
    """Remove what may go, each on its own; yields what is left, with the reason. `data`: volumes and addresses too."""
    for one in objects:
        if one.type in KEPT and not data:
            yield one, "it holds data or an address that others know: remove it yourself, or import it"
            continue
        try:
            marked.remove(connection, one)
        except (ClientException, SDKException, marked.StillThere) as error:
            yield one, " ".join(str(error).split())


def command(one: Marked) -> str:
    """What a person types to remove an object."""
    words = {
        "Instance": "server",
        "FloatingIp": "floating ip",
        "SecGroup": "security group",
        "SecGroupRule": "security group rule",
    }
    noun = one.type.rpartition(":")[2]
    return f"openstack {words.get(noun, noun.lower())} delete {one.id}"


def import_file(site: str, objects: Sequence[Marked], ties: Iterable[tuple[str, str, str]], state: Any) -> Any:
    """Render what `pulumi import --file` takes; every object under the parent that its mark names, by its site.

    `ties`: type, name and id of what connects objects and cannot be marked; under the machines of the site.
    """
    urns = {resource["urn"]: resource for resource in state["deployment"]["resources"]}
    parents = {_chain(urn): urn for urn in urns if urn.endswith(f"::{site}") and "pulumi:providers" not in urn}
    provider = next((u for u in urns if "pulumi:providers:openstack" in u and u.endswith(f"::{site}")), None)
    names = {f"parent{n}": urn for n, urn in enumerate(parents.values())} | ({"provider": provider} if provider else {})
    by_urn = {urn: name for name, urn in names.items()}
    rows: list[tuple[str, str, str, str]] = []
    for one in objects:
        rows.append((one.type, one.logical, one.id, _chain(one.urn).rpartition("$")[0]))
    rows += [(type_, name, id_, "leasehold:infra:Infra$leasehold:infra:Nodes") for type_, name, id_ in ties]
    return {
        "nameTable": names,
        "resources": [
            {"type": type_, "name": name, "id": id_}
            | ({"parent": by_urn[parents[chain]]} if chain in parents else {})
            | ({"provider": "provider"} if provider else {})
            for type_, name, id_, chain in rows
        ],
    }


def attachments(connection: Connection, objects: Iterable[Marked]) -> Iterator[tuple[str, str, str]]:
    """Ties of the servers among these objects to volumes of the same stack, as `import_file` takes them."""
    storage: Any = connection.block_storage
    servers = {one.id for one in objects if one.type.endswith(":Instance")}
    answer = storage.get("/volumes/detail")
    raise_from_response(answer)
    for raw in answer.json()["volumes"] if servers else ():
        urn = str((raw.get("metadata") or {}).get("leasehold-urn"))
        for held in raw.get("attachments", []):
            if held["server_id"] in servers and urn.startswith("urn:pulumi:"):
                yield marked.ATTACHMENT, f"{urn.rpartition('::')[2]}-attach", f"{held['server_id']}/{raw['id']}"


def _chain(urn: str) -> str:
    return urn.split("::")[2]


def ids(state: Mapping[str, Any]) -> set[str]:
    """Ids in an exported state."""
    return {resource.get("id", "") for resource in state["deployment"].get("resources") or ()}


def main(words: Sequence[str] | None = None) -> int:
    """List what is not known, write the import file, or remove; 1 if something is left that could not be removed."""
    top = argparse.ArgumentParser(prog="python -m infra.recovery", description=__doc__)
    top.add_argument("--stack", required=True)
    top.add_argument("--site", required=True, help="name of the site in the environment file")
    top.add_argument("--cloud", help="entry of clouds.yaml (default: OS_CLOUD or OS_*)")
    top.add_argument("--region", required=True)
    top.add_argument("--state", type=Path, required=True, help="what `pulumi stack export` wrote")
    top.add_argument("--import-file", type=Path, help="write what `pulumi import --file` takes")
    top.add_argument("--remove", action="store_true", help="remove what may go")
    options = top.parse_args(words)
    state = json.loads(options.state.read_text())
    try:
        connection = login.connect(options.cloud, options.region)
        found = unknown(connection, options.stack, ids(state))
        ties = list(attachments(connection, found))
    except (ClientException, SDKException) as error:
        print(f"error: the site does not answer: {error}; check clouds.yaml and the credential", file=sys.stderr)
        return 1
    for one in found:
        print(f"{one.type} {one.logical}: {one.id} is not in the state ({command(one)})")
    if options.import_file:
        options.import_file.write_text(json.dumps(import_file(options.site, found, ties, state), indent=1))
    left = list(remove(connection, found)) if options.remove else []
    for one, reason in left:
        print(f"left: {one.type} {one.logical} ({one.id}): {reason} ({command(one)})", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
