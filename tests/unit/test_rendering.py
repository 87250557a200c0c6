"""What machines are given: host keys, user data, firewall, the ready script. Pure text, tried on real programs."""

import json
import os
import shutil
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

from infra.cloud_init import host_firewall, user_data
from infra.host_keys import host_key
from infra.reach import hosts_lines, ready_script


def test_openssh_reads_a_derived_host_key_and_finds_its_public_half(tmp_path: Path) -> None:
    """The format is written by hand, because the library's has random bytes in it."""
    key = host_key("secret", "kvm", "192.168.1.11")
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(key.private)
    found = subprocess.run(["ssh-keygen", "-y", "-f", str(file)], capture_output=True, text=True, check=True).stdout
    assert found.split() == key.public.split()


def test_a_host_key_is_the_same_in_every_run_and_another_in_every_place() -> None:
    """Another user data would replace the server; one machine must not be able to speak for another."""
    places = [("kvm", "192.168.1.11"), ("kvm", "192.168.1.12"), ("uc", "192.168.1.11")]
    keys = [host_key("secret", *place) for place in places]
    assert keys == [host_key("secret", *place) for place in places]
    assert len({key.private for key in keys} | {host_key("other", *places[0]).private}) == 4


def test_user_data_is_cloud_config_with_the_host_key_and_no_password() -> None:
    """Keys only, and only the key that is pinned."""
    key = host_key("secret", "kvm", "192.168.1.11")
    text = user_data(key, login_key="ssh-ed25519 LOGIN\n")
    assert text.startswith("#cloud-config\n")
    config = json.loads(text.removeprefix("#cloud-config\n"))
    assert config["ssh_keys"] == {"ed25519_private": key.private, "ed25519_public": key.public}
    assert config["ssh_authorized_keys"] == ["ssh-ed25519 LOGIN"]
    assert config["ssh_pwauth"] is False
    assert config["disable_root"] is True


def test_the_host_firewall_is_closed_but_for_what_security_groups_would_open() -> None:
    """Same result with and without security groups; nft itself checks the text."""
    rules = host_firewall(
        private=IPv4Network("10.20.0.0/24"),
        admin=[IPv4Network("203.0.113.0/24")],
        public=[IPv4Network("0.0.0.0/0")],
    )
    assert "policy drop" in rules
    accepted = [line.strip() for line in rules.splitlines() if "saddr" in line]
    assert accepted == [
        "ip saddr 10.20.0.0/24 accept",
        "ip saddr 203.0.113.0/24 tcp dport 22 accept",
        "ip saddr 0.0.0.0/0 tcp dport { 80, 443 } accept",
    ]


def test_the_ready_script_is_valid_shell_and_quotes_what_people_write(tmp_path: Path) -> None:
    """A comment in a public key must not become a command."""
    script = ready_script("node1", ["ssh-ed25519 AAAA it's; touch /tmp/pwned"])
    subprocess.run(["sh", "-n", "-c", script], check=True)
    people = subprocess.run(
        ["sh", "-c", "\n".join(script.splitlines()[:3]) + '\nprintf %s "$people"'],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    assert people == "ssh-ed25519 AAAA it's; touch /tmp/pwned\n"


def test_neighbours_are_lines_of_etc_hosts_in_a_stable_order() -> None:
    """The order of a map must not be a change."""
    assert hosts_lines({"b": "10.0.0.2", "a": "10.0.0.1"}) == "10.0.0.1 a\n10.0.0.2 b\n"


def test_the_host_firewall_lets_pods_in_and_stands_before_address_translation(tmp_path: Path) -> None:
    """A node port is redirected before the input chain sees it: there, a closed port would be open."""
    rules = host_firewall(
        private=IPv4Network("10.20.0.0/24"), admin=[IPv4Network("203.0.113.0/24")], public=[], admin_ports=(22, 6443)
    )
    assert "hook prerouting" in rules
    assert "203.0.113.0/24 tcp dport { 22, 6443 } accept" in rules
    for name in ("cni0", "flannel.1", "cali*", "tailscale0"):
        assert f'iifname "{name}" accept' in rules
    file = tmp_path / "rules"
    file.write_text(rules)
    if shutil.which("nft") and os.geteuid() == 0:
        subprocess.run(["unshare", "--net", "nft", "-c", "-f", str(file)], check=True)
