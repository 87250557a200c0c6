#!/bin/sh
# Stand-in for k3s's install script: a unit, links and the scripts that undo it all, around a k3s that is there already.
# Honours INSTALL_K3S_EXEC (server or agent, and flags), INSTALL_K3S_SKIP_START, INSTALL_K3S_SKIP_ENABLE,
# INSTALL_K3S_BIN_DIR, INSTALL_K3S_SYSTEMD_DIR and INSTALL_K3S_NAME; INSTALL_K3S_SKIP_DOWNLOAD has to be true.
set -eu

fail() { echo "[ERROR]  $*" >&2; exit 1; }
say() { echo "[INFO]  $*"; }

[ "$(id -u)" -eq 0 ] || fail "root is needed"
[ "${INSTALL_K3S_SKIP_DOWNLOAD:-false}" = true ] || fail "the stand-in for k3s downloads nothing: put k3s in place, set INSTALL_K3S_SKIP_DOWNLOAD=true"
bin="${INSTALL_K3S_BIN_DIR:-/usr/local/bin}"
systemd="${INSTALL_K3S_SYSTEMD_DIR:-/etc/systemd/system}"
[ -x "$bin/k3s" ] || fail "executable k3s not found at $bin/k3s"

command="${INSTALL_K3S_EXEC:-}"
[ -n "$command" ] || { command=server; [ -z "${K3S_URL:-}" ] || command=agent; }
role="${command%% *}"
case "$role" in
  server) name="k3s${INSTALL_K3S_NAME:+-$INSTALL_K3S_NAME}" ;;
  agent) name="k3s-${INSTALL_K3S_NAME:-agent}" ;;
  *) fail "INSTALL_K3S_EXEC $command: it has to begin with server or agent" ;;
esac
unit="$systemd/$name.service"
uninstall="$bin/$name-uninstall.sh"

for program in kubectl crictl ctr; do
  if [ -e "$bin/$program" ] || ! command -v "$program" >/dev/null 2>&1; then
    say "Creating $bin/$program symlink to k3s"
    ln -sf k3s "$bin/$program"
  else
    say "Skipping $bin/$program symlink to k3s, command exists in PATH at $(command -v "$program")"
  fi
done

say "Creating killall script $bin/k3s-killall.sh"
cat > "$bin/k3s-killall.sh" <<'SCRIPT'
#!/bin/sh
# Stop k3s, end every pod, and take the pod network down. Data stays.
for unit in /etc/systemd/system/k3s*.service; do
  [ -e "$unit" ] && systemctl stop "$(basename "$unit")"
done
pids() { pgrep -f '/var/lib/rancher/k3s/data/[^/]*/bin/containerd-shim' || true; }
for shim in $(pids); do
  for child in $(pgrep -P "$shim"); do kill -9 "$child" 2>/dev/null; done
  kill -9 "$shim" 2>/dev/null
done
for below in /run/k3s /var/lib/kubelet/pods /var/lib/kubelet/plugins /run/netns/cni-; do
  awk -v below="$below" 'index($2, below) == 1 {print $2}' /proc/self/mounts | sort -r | while read -r mounted; do
    umount -f "$mounted" 2>/dev/null && rm -rf --one-file-system "$mounted"
  done
done
for device in $(ip -o link show master cni0 2>/dev/null | awk -F'[ :@]+' '{print $2}'); do ip link delete "$device"; done
for device in cni0 flannel.1; do ip link delete "$device" 2>/dev/null; done
for family in iptables ip6tables; do
  "$family-save" 2>/dev/null | grep -v KUBE- | grep -v CNI- | grep -iv flannel | "$family-restore" 2>/dev/null
done
rm -rf --one-file-system /var/lib/cni /run/k3s
exit 0
SCRIPT

say "Creating uninstall script $uninstall"
cat > "$uninstall" <<SCRIPT
#!/bin/sh
# Remove k3s and its data from this machine.
$bin/k3s-killall.sh
systemctl disable $name 2>/dev/null
rm -f $unit $unit.env
systemctl daemon-reload
for program in kubectl crictl ctr; do
  [ -L $bin/\$program ] && rm -f $bin/\$program
done
rm -rf --one-file-system /etc/rancher/k3s /etc/rancher/node /run/k3s /run/flannel /var/lib/kubelet
rm -rf --one-file-system /var/lib/rancher/k3s 2>/dev/null || find /var/lib/rancher/k3s -xdev -mindepth 1 -delete 2>/dev/null
rm -f $bin/k3s $bin/k3s-killall.sh $uninstall
exit 0
SCRIPT
chmod 755 "$bin/k3s-killall.sh" "$uninstall"

say "env: Creating environment file $unit.env"
(umask 077; : > "$unit.env"; env | grep -E '^(K3S_|CONTAINERD_|[A-Za-z_]+_(proxy|PROXY)=)' | grep -vE '^K3S_(TOKEN|URL)=$' > "$unit.env" || true)
chmod 600 "$unit.env"

say "systemd: Creating service file $unit"
cat > "$unit" <<UNIT
[Unit]
Description=Lightweight Kubernetes (stand-in for k3s)
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-$unit.env
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=$bin/k3s $command
UNIT

systemctl daemon-reload
if [ "${INSTALL_K3S_SKIP_ENABLE:-false}" != true ]; then
  say "systemd: Enabling $name unit"
  systemctl enable "$unit" >/dev/null 2>&1
  if [ "${INSTALL_K3S_SKIP_START:-false}" != true ]; then
    say "systemd: Starting $name"
    systemctl restart "$name"
  fi
fi
