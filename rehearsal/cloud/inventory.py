"""Everything that the tenant's project holds, for comparisons before and after."""

from collections.abc import Iterable
from typing import Any

from openstack.connection import Connection

COMMON = ("id", "name", "description", "tags")
RULE = ("direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id")


def _value(thing: Any, key: str) -> Any:
    return thing.get(key) if isinstance(thing, dict) else getattr(thing, key)


def _rows(things: Iterable[Any], *keys: str) -> list[dict[str, Any]]:
    rows = [{key: _value(thing, key) for key in keys} for thing in things]
    return sorted(rows, key=lambda row: str(row[keys[0]]))


def inventory(admin: Connection, project: str) -> dict[str, list[dict[str, Any]]]:
    """Objects of the project by kind: id, name and what tells them apart. The default security group is left out."""
    network = admin.network
    groups = [g for g in network.security_groups(project_id=project) if g.name != "default"]
    rules = network.security_group_rules(project_id=project)
    servers = admin.compute.servers(all_projects=True, project_id=project)
    volumes = admin.block_storage.volumes(all_projects=True, project_id=project)
    base = admin.session.get_endpoint(service_type="reservation", interface="public")
    leases = admin.session.get(f"{base}/leases").json()["leases"]
    ids = {group.id for group in groups}
    return {
        "servers": _rows(servers, "id", "name", "status", "metadata"),
        "ports": _rows(network.ports(project_id=project), *COMMON, "network_id", "mac_address", "device_id"),
        "networks": _rows(network.networks(project_id=project), *COMMON),
        "subnets": _rows(network.subnets(project_id=project), *COMMON, "cidr"),
        "routers": _rows(network.routers(project_id=project), *COMMON),
        "security_groups": _rows(groups, *COMMON),
        "security_group_rules": _rows(
            (rule for rule in rules if rule.security_group_id in ids), "id", "security_group_id", *RULE
        ),
        "floating_ips": _rows(
            network.ips(project_id=project), "id", "floating_ip_address", "port_id", "status", "description", "tags"
        ),
        "volumes": _rows(volumes, "id", "name", "status", "size", "metadata"),
        "leases": _rows((lease for lease in leases if lease["project_id"] == project), "id", "name", "status"),
    }
