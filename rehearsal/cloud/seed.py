"""What the operator of the site provides: flavors, images, networks, hosts to lease. Every step asks before it acts."""

# ruff: noqa: S608  (statements are made of our own constants, ids and quoted names; nothing comes from outside)

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openstack.connection import Connection

from rehearsal.cloud.daemons import HOST, Settings
from rehearsal.cloud.database import Database
from rehearsal.cloud.errors import CloudError
from rehearsal.cloud.plan import SitePlan

FREEPOOL = "freepool"
HOST_WAIT = 90.0


def flavors(admin: Connection, plan: SitePlan) -> None:
    """Public flavors of the plan's sizes. Blazar copies the extra specs of a flavor that it reserves."""
    have = {flavor.name: flavor for flavor in admin.compute.flavors()}
    for flavor in plan.flavors:
        made = have.get(flavor.name) or admin.compute.create_flavor(
            name=flavor.name, vcpus=flavor.vcpus, ram=flavor.ram_mb, disk=flavor.disk_gb
        )
        if flavor.gpus:
            admin.compute.create_flavor_extra_specs(made, {"leasehold:gpus": str(flavor.gpus)})


def volume_types(admin: Connection, plan: SitePlan) -> None:
    """Public volume types, and the default one."""
    have = {kind.name for kind in admin.block_storage.types()}
    for name in ("__DEFAULT__", *plan.volume_types):
        if name not in have:
            admin.block_storage.create_type(name=name)


def networks(admin: Connection, plan: SitePlan, external_cidr: str) -> None:
    """The external network, and shared networks with a router to it."""
    have = {network.name: network for network in admin.network.networks()}
    prefix = external_cidr.rsplit(".", 1)[0]
    for index, name in enumerate(plan.external_networks):
        if name in have:
            continue
        have[name] = admin.network.create_network(
            name=name,
            is_router_external=True,
            provider_network_type="flat",
            provider_physical_network=f"ext{index}",
            is_port_security_enabled=False,
        )
        # Several external networks share the one /24 that is routed to this computer.
        size = 240 // len(plan.external_networks)
        pool = {"start": f"{prefix}.{10 + index * size}", "end": f"{prefix}.{9 + (index + 1) * size}"}
        admin.network.create_subnet(
            network_id=have[name].id,
            name=f"{name}-subnet",
            ip_version=4,
            cidr=external_cidr,
            gateway_ip=f"{prefix}.1",
            is_dhcp_enabled=False,
            allocation_pools=[pool],
        )
    for name, cidr in plan.shared_networks:
        if name in have:
            continue
        shared = admin.network.create_network(name=name, is_shared=True)
        subnet = admin.network.create_subnet(network_id=shared.id, name=f"{name}-subnet", ip_version=4, cidr=cidr)
        gateway = {"network_id": have[plan.external_networks[0]].id}
        router = admin.network.create_router(name=f"{name}-router", external_gateway_info=gateway)
        admin.network.add_interface_to_router(router, subnet=subnet.id)


def _reuse(database: Database, store: Path, first: str, other: str) -> None:
    """Give a queued image the content of another: a hard link, and the rows that an upload would have written."""
    os.link(store / first, store / other)
    statements = (
        "USE glance; "
        "INSERT INTO image_locations (image_id, value, created_at, updated_at, deleted, meta_data, status) "
        f"SELECT '{other}', REPLACE(value, '{first}', '{other}'), created_at, updated_at, 0, meta_data, status "
        f"FROM image_locations WHERE image_id = '{first}' AND deleted = 0; "
        "UPDATE images a JOIN images b SET a.size = b.size, a.virtual_size = b.virtual_size, a.status = 'active', "
        "a.checksum = b.checksum, a.os_hash_algo = b.os_hash_algo, a.os_hash_value = b.os_hash_value "
        f"WHERE a.id = '{other}' AND b.id = '{first}'; "
        "INSERT INTO image_properties (image_id, name, value, created_at, updated_at, deleted) "
        "SELECT a.id, b.name, b.value, b.created_at, b.updated_at, 0 FROM images a JOIN image_properties b "
        f"WHERE a.id = '{other}' AND b.image_id = '{first}' AND b.deleted = 0 AND b.name = 'stores' "
        f"AND NOT EXISTS (SELECT 1 FROM image_properties c WHERE c.image_id = '{other}' AND c.name = b.name)"
    )
    database.sql(statements)


def images(admin: Connection, plan: SitePlan, archive: Path, database: Database, store: Path) -> None:
    """One upload of the machines' image; the other names share its content."""
    have = {image.name: image.id for image in admin.image.images()}
    first = next((have[name] for name in plan.images if name in have), None)
    for name in plan.images:
        if name in have:
            continue
        known: dict[str, Any] = {"disk_format": "raw", "container_format": "bare", "visibility": "public"}
        if first is None:
            made = admin.image.create_image(name=name, filename=str(archive), wait=True, **known)
            first = made.id
        else:
            queued = admin.image.create_image(name=name, **known)
            _reuse(database, store, first, queued.id)


def _map_hosts(database: Database, hosts: list[str]) -> None:
    """Wait until each host has registered, and put it into the cell.

    Nova's own discovery is a periodic task whose first turn may be a minute away.
    """
    end = time.monotonic() + HOST_WAIT
    while time.monotonic() < end:
        known = {row[0] for row in database.sql("SELECT host FROM nova.compute_nodes WHERE deleted = 0")}
        if known >= set(hosts):
            break
        time.sleep(0.1)
    else:
        raise CloudError(
            f"Nova has not registered its hosts after {HOST_WAIT:.0f} s: see nova.log in the cloud's log folder"
        )
    database.sql(
        "INSERT INTO nova_api.host_mappings (created_at, cell_id, host) SELECT UTC_TIMESTAMP(), c.id, n.host "
        "FROM nova.compute_nodes n JOIN nova_api.cell_mappings c ON c.name = 'cell1' WHERE n.deleted = 0 "
        "AND n.host NOT IN (SELECT host FROM nova_api.host_mappings); "
        "UPDATE nova.compute_nodes SET mapped = 1 WHERE deleted = 0"
    )


def hosts(admin: Connection, settings: Settings, database: Database) -> None:
    """Zones, and hosts that Blazar may lease."""
    plan = settings.plan
    _map_hosts(database, settings.hosts)
    aggregates = {a.name: a for a in admin.compute.aggregates()}
    if FREEPOOL not in aggregates:
        admin.compute.create_aggregate(name=FREEPOOL)
    for zone in plan.zones:
        if zone not in aggregates:
            made = admin.compute.create_aggregate(name=zone, availability_zone=zone)
            admin.compute.add_host_to_aggregate(made.id, f"zone-{zone}")
    blazar = f"http://127.0.0.1:{settings.state.port('blazar')}/v1/os-hosts"
    answer = admin.session.get(blazar)
    known = {host["hypervisor_hostname"] for host in answer.json()["hosts"]}
    wanted: dict[str, dict[str, str]] = {HOST: {}}
    wanted.update({host.name: {"node_type": host.node_type} for host in plan.metal_hosts})
    for name, properties in wanted.items():
        if name not in known:
            admin.session.post(blazar, json={"name": name, **properties})


def quota(admin: Connection, plan: SitePlan, project: str) -> None:
    """The project's quotas."""
    values = asdict(plan.quota)
    compute = {"instances": values["instances"], "cores": values["cores"], "ram": values["ram_mb"]}
    storage = {"volumes": values["volumes"], "gigabytes": values["gigabytes"]}
    network = {
        "networks": values["networks"],
        "subnets": values["networks"] * 2,
        "ports": values["ports"],
        "routers": values["routers"],
        "floating_ips": values["floating_ips"],
        "security_groups": values["security_groups"],
        "security_group_rules": values["security_group_rules"],
    }
    admin.compute.update_quota_set(project, **compute)
    admin.block_storage.update_quota_set(project, **storage)
    admin.network.update_quota(project, **network)


def content_key(plan: SitePlan, archive: Path) -> str:
    """Identifies what is seeded."""
    return hashlib.sha256(f"{plan.to_json()} {archive.name} 1".encode()).hexdigest()


def seed(  # noqa: PLR0917
    connect: Callable[[], Connection],
    settings: Settings,
    archive: Path,
    database: Database,
    folder: Path,
    project: Callable[[Connection], str],
) -> None:
    """Everything of the plan. Services are filled side by side, each with a connection of its own."""
    plan = settings.plan
    steps: list[Callable[[Connection], None]] = [
        lambda c: images(c, plan, archive, database, folder / "state/glance/images"),
        lambda c: hosts(c, settings, database),
        lambda c: networks(c, plan, settings.state.network),
        lambda c: quota(c, plan, project(c)),
        lambda c: flavors(c, plan),
        lambda c: volume_types(c, plan),
    ]

    def perform(step: Callable[[Connection], None]) -> None:
        step(connect())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(perform, steps))
