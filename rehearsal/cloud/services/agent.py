"""The network agent: makes Neutron's tables true in the cloud's network namespace.

Started inside that namespace. Reads the tables directly, so one poll is a few queries and needs no token. Gives router
legs their addresses on the bridges, loads the packet filter, and sets the status of floating IPs.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

import pymysql
from leasehold_services import rules

INTERVAL = 0.3  # seconds between polls; a change is in force at most this long (plus the load) after the API call
# Bare-metal sites enforce no security groups: a port on one of their hosts (plan.py) is not filtered.
PORTS = """SELECT p.id, p.network_id, p.device_owner, p.device_id,
 COALESCE(s.port_security_enabled, 1) AND COALESCE(b.host, '') NOT LIKE 'bm-%'
 FROM ports p LEFT JOIN portsecuritybindings s ON s.port_id = p.id
 LEFT JOIN ml2_port_bindings b ON b.port_id = p.id ORDER BY p.id"""
ADDRESSES = """SELECT a.port_id, a.ip_address, n.cidr FROM ipallocations a JOIN subnets n ON n.id = a.subnet_id
 WHERE n.ip_version = 4 ORDER BY 1, 2"""
PAIRS = "SELECT port_id, ip_address FROM allowedaddresspairs ORDER BY 1, 2"
BINDINGS = "SELECT port_id, security_group_id FROM securitygroupportbindings ORDER BY 1, 2"
RULES = """SELECT security_group_id, direction, protocol, port_range_min, port_range_max, remote_ip_prefix,
 remote_group_id FROM securitygrouprules WHERE ethertype = 'IPv4' ORDER BY id"""
GROUPS = "SELECT id FROM securitygroups ORDER BY id"
ROUTERS = "SELECT id, gw_port_id FROM routers ORDER BY id"
FLOATING = """SELECT f.floating_ip_address, f.fixed_ip_address, s.cidr FROM floatingips f
 JOIN ipallocations a ON a.port_id = f.fixed_port_id AND a.ip_address = f.fixed_ip_address
 JOIN subnets s ON s.id = a.subnet_id ORDER BY 1"""
STATUS = """UPDATE floatingips SET status = IF(fixed_port_id IS NULL, 'DOWN', 'ACTIVE')
 WHERE status <> IF(fixed_port_id IS NULL, 'DOWN', 'ACTIVE')"""


def run(*args, stdin=None, check=True):
    """Run a program and return its output; a failure shows what it printed."""
    done = subprocess.run(args, input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{args[0]}: {done.stdout.strip()}")
    return done.stdout


def world(cursor, site):
    """What the tables say now."""

    def query(text):
        cursor.execute(text)
        return cursor.fetchall()

    addresses, pairs, bindings, groups = {}, {}, {}, {row[0]: [] for row in query(GROUPS)}
    for port, address, cidr in query(ADDRESSES):
        addresses.setdefault(port, []).append((address, cidr))
    for port, address in query(PAIRS):
        pairs.setdefault(port, []).append(address)
    for port, group in query(BINDINGS):
        bindings.setdefault(port, []).append(group)
    for group, direction, protocol, low, high, prefix, remote in query(RULES):
        groups.setdefault(group, []).append(
            rules.Rule(direction, protocol, low, high, str(prefix) if prefix else None, remote)
        )
    machines, legs = [], {}
    for port, network, owner, device, filtered in query(PORTS):
        found = addresses.get(port, [])
        if owner.startswith("network:router_interface"):
            legs.setdefault(device, []).extend(rules.Interface(network, *pair) for pair in found)
        elif not owner.startswith("network:"):
            machines.append(
                rules.Port(
                    port,
                    network,
                    tuple(a for a, _ in found),
                    tuple(pairs.get(port, ())),
                    bool(filtered),
                    tuple(bindings.get(port, ())),
                )
            )
    routers = tuple(
        rules.Router(router, next((a for a, _ in addresses.get(gateway, [])), None), tuple(legs.get(router, ())))
        for router, gateway in query(ROUTERS)
    )
    floating = tuple(rules.FloatingIp(*row) for row in query(FLOATING))
    return rules.World(site, tuple(machines), {k: tuple(v) for k, v in groups.items()}, routers, floating)


def settle_bridges(now):
    """Give each router leg its address on its network's bridge, and take away those that are gone."""
    want = {}
    for router in now.routers:
        for leg in router.interfaces:
            bits = leg.cidr.split("/")[1]
            want.setdefault(rules.bridge(leg.network), set()).add(f"{leg.address}/{bits}")
    have = {
        link["ifname"]: {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["family"] == "inet"}
        for link in json.loads(run("ip", "-j", "addr"))
        if link["ifname"].startswith("br-")
    }
    used = {rules.bridge(port.network) for port in now.ports} | set(want)
    for name in want:
        if name not in have:
            run("ip", "link", "add", name, "type", "bridge", check=False)
            run("ip", "link", "set", name, "up")
    for name in set(have) | set(want):
        for address in have.get(name, set()) - want.get(name, set()):
            run("ip", "addr", "del", address, "dev", name, check=False)
        for address in want.get(name, set()) - have.get(name, set()):
            run("ip", "addr", "add", address, "dev", name, check=False)
    for name in set(have) - used:
        if not os.listdir(f"/sys/class/net/{name}/brif"):
            run("ip", "link", "del", name, check=False)


def prepare():
    """Forward packets, and show bridged ones to the filter, in this namespace only."""
    for key, value in (
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("bridge/bridge-nf-call-iptables", "1"),
        ("bridge/bridge-nf-call-ip6tables", "1"),
    ):
        pathlib.Path("/proc/sys/net", key).write_text(value)


def main():
    """Poll until ended. A database that restarts is waited for."""
    site = rules.Site(os.environ["LEASEHOLD_HOST_ADDRESS"], os.environ["LEASEHOLD_OPERATOR_ADDRESS"])
    prepare()
    run("nft", "-f", "-", stdin=rules.render(rules.World(site)))
    last = None
    while True:
        try:
            connection = pymysql.connect(
                unix_socket=os.environ["LEASEHOLD_SOCKET"], user="root", database="neutron", autocommit=True
            )
            cursor = connection.cursor()
            while True:
                now = world(cursor, site)
                if now != last:
                    settle_bridges(now)
                    run("nft", "-f", "-", stdin=rules.render(now))
                    last = now
                    print(
                        time.strftime("%T"),
                        len(now.ports),
                        "ports",
                        len(now.floating_ips),
                        "addresses",
                        flush=True,
                    )
                cursor.execute(STATUS)
                time.sleep(INTERVAL)
        except (pymysql.err.Error, OSError, RuntimeError) as error:
            print(error, file=sys.stderr, flush=True)
            last = None
            time.sleep(1)


if __name__ == "__main__":
    main()
