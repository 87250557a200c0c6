"""User data: what a machine must know before anybody can reach it. Pure text.

It holds the host key and nothing that changes when other nodes come or go: new user data means a new machine.
"""

import json
from collections.abc import Sequence
from ipaddress import IPv4Network

from infra.host_keys import HostKey

SSHD = """\
# leasehold: keys only, and only the host key that every connection pins
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
"""


INSIDE = ("lo", "cni0", "flannel.1", "cilium_*", "lxc*", "cali*", "vxlan.calico", "tailscale0")
"""Interfaces of pods (flannel, Cilium, Calico) and of the VPN, as their programs name them."""


def user_data(key: HostKey, *, login_key: str, firewall: str | None = None) -> str:
    """Render cloud-config: SSH host key, login key, sshd's settings, and the host's own firewall.

    The host name is not in it: a renamed node stays the machine that it is (see reach.py).

    JSON is YAML, and is written 30 times faster than PyYAML would.

    `login_key` is one line of OpenSSH public key.
    """
    files = [{"path": "/etc/ssh/sshd_config.d/10-leasehold.conf", "permissions": "0644", "content": SSHD}]
    config: dict[str, object] = {
        "preserve_hostname": True,
        "manage_etc_hosts": "localhost",
        "disable_root": True,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": key.private, "ed25519_public": key.public},
        "ssh_authorized_keys": [login_key.strip()],
        "write_files": files,
    }
    if firewall is not None:
        # At every boot, and before sshd starts; write_files and runcmd come later than that.
        load = 'umask 077; printf %s "$1" >/etc/nftables.conf; nft -f /etc/nftables.conf'
        config["bootcmd"] = [["sh", "-c", load, "sh", firewall]]
        config["runcmd"] = [["systemctl", "enable", "nftables"]]
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def host_firewall(
    *,
    private: IPv4Network,
    admin: Sequence[IPv4Network],
    public: Sequence[IPv4Network],
    admin_ports: Sequence[int] = (22,),
) -> str:
    """Render nftables rules equal to the security groups, for sites that have none.

    They stand before address translation: a node port of a cluster is redirected there, and never reaches the
    input chain. What comes from the host's own pods and VPN is not outside.
    """
    ports = f"{{ {', '.join(str(port) for port in admin_ports)} }}" if len(admin_ports) > 1 else admin_ports[0]
    rules = [
        "ct state established,related accept",
        "ct state invalid drop",
        *(f'iifname "{name}" accept' for name in INSIDE),
        "ip protocol icmp accept",
        f"ip saddr {private} accept",
        *(f"ip saddr {network} tcp dport {ports} accept" for network in admin),
        *(f"ip saddr {network} tcp dport {{ 80, 443 }} accept" for network in public),
    ]
    body = "\n".join(f"    {rule}" for rule in rules)
    return f"""\
#!/usr/sbin/nft -f
table inet leasehold
delete table inet leasehold
table inet leasehold {{
  chain incoming {{
    type filter hook prerouting priority mangle; policy drop;
{body}
  }}
}}
"""
