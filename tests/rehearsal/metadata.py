"""A cloud's metadata service as a stand-in: outside the machine that asks, as the real one is."""

ADDRESS, BESIDE = "169.254.169.254", "169.254.169.253"
"""The service's own address, and a second one beside it that no policy names."""
PORT = 80
PAGE = "open"
START = f"""
set -e
ip netns add metadata
ip link add metadata0 type veth peer name inside netns metadata
ip address add 169.254.169.1/24 dev metadata0
ip link set metadata0 up
ip -n metadata link set inside up
ip -n metadata address add {ADDRESS}/24 dev inside
ip -n metadata address add {BESIDE}/24 dev inside
mkdir -p /run/metadata && echo {PAGE} > /run/metadata/index.html
systemd-run -q --unit=metadata ip netns exec metadata python3 -m http.server -d /run/metadata {PORT}
"""
"""Run on a machine: its pods can then ask."""
STOP = "systemctl stop metadata; ip netns delete metadata; rm -r /run/metadata"
