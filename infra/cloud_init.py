"""User data: what a machine must know before anybody can reach it. Pure text.

It holds the host key and nothing that changes when other nodes come or go: new user data means a new machine.
"""

import json
from collections.abc import Sequence
from ipaddress import IPv4Network

SSHD = """\
# leasehold: keys only, and only the host key that every connection pins
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
"""


def user_data(*, name: str, host_key: str, host_public_key: str, login_key: str, firewall: str | None = None) -> str:
    """Render cloud-config: host name, SSH host key, login key, sshd's settings, and the host's own firewall.

    JSON is YAML, and is written 30 times faster than PyYAML would.

    `host_key` is OpenSSH private key text, the two others are public key lines.
    """
    files = [{"path": "/etc/ssh/sshd_config.d/10-leasehold.conf", "permissions": "0644", "content": SSHD}]
    config: dict[str, object] = {
        "hostname": name,
        "preserve_hostname": False,
        "manage_etc_hosts": False,
        "disable_root": True,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": host_key, "ed25519_public": host_public_key.strip()},
        "ssh_authorized_keys": [login_key.strip()],
        "write_files": files,
    }
    if firewall is not None:
        files.append({"path": "/etc/nftables.conf", "permissions": "0600", "content": firewall})
        config["bootcmd"] = [["sh", "-c", "test ! -s /etc/nftables.conf || nft -f /etc/nftables.conf"]]
        config["runcmd"] = [["systemctl", "enable", "--now", "nftables"]]
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def host_firewall(*, private: IPv4Network, admin: Sequence[IPv4Network], public: Sequence[IPv4Network]) -> str:
    """Render nftables rules equal to the security groups, for sites that have none."""
    rules = [
        "ct state established,related accept",
        "ct state invalid drop",
        'iifname "lo" accept',
        "ip protocol icmp accept",
        f"ip saddr {private} accept",
        *(f"ip saddr {network} tcp dport 22 accept" for network in admin),
        *(f"ip saddr {network} tcp dport {{ 80, 443 }} accept" for network in public),
    ]
    body = "\n".join(f"    {rule}" for rule in rules)
    return f"""\
#!/usr/sbin/nft -f
table inet leasehold
delete table inet leasehold
table inet leasehold {{
  chain input {{
    type filter hook input priority filter; policy drop;
{body}
  }}
}}
"""
