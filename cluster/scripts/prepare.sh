# A machine becomes fit for Kubernetes. Given: address, gpu, api_forward, tailscale_*, the arrays volume_names,
# volume_devices, and toolkit_{paths,urls,sha256s}.

cloud_init_has_ended() {
  command -v cloud-init >/dev/null || return 0
  case $(cloud-init status 2>/dev/null) in *running* | *"not run"*) return 1 ;; esac
}

# Certificates are not valid in the past; etcd's lease times need clocks that agree.
clock_is_right() {
  [ "$(timedatectl show -p NTPSynchronized --value)" = yes ]
}

check_time() {
  if [ "$(timedatectl show -p CanNTP --value 2>/dev/null)" != yes ]; then
    log "warning: $host has no time service; its clock is taken as it is"
    return
  fi
  timedatectl set-ntp true
  within 120 clock_is_right || retry_later "the clock is not synchronised after 2 minutes; see: timedatectl timesync-status"
}

check_name() {
  [ "$(hostname)" = "$host" ] || stop "the machine calls itself $(hostname), not $host"
  getent hosts "$host" >/dev/null || printf '%s %s\n' "$address" "$host" >>/etc/hosts
}

set_kernel() {
  local module
  printf '%s\n' overlay br_netfilter vxlan >"$work/modules"
  put "$work/modules" /etc/modules-load.d/leasehold.conf && did "kernel modules"
  # One by one: in a container none can be loaded, and it is enough that the kernel has what they bring.
  for module in overlay br_netfilter vxlan; do
    modprobe "$module" 2>/dev/null || log "modprobe $module: not possible here"
  done
  grep -qw overlay /proc/filesystems || stop "the kernel has no overlayfs, which containers need"
  [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] ||
    stop "the kernel has no br_netfilter, which Services need: install the distribution's full kernel modules"
  # vm.* and kernel.*: what kubelet's protect-kernel-defaults asks for. inotify: one machine watches many files.
  cat >"$work/sysctl" <<'SYSCTL'
vm.overcommit_memory = 1
vm.panic_on_oom = 0
kernel.panic = 10
kernel.panic_on_oops = 1
net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1
fs.inotify.max_user_instances = 8192
fs.inotify.max_user_watches = 524288
SYSCTL
  put "$work/sysctl" /etc/sysctl.d/90-leasehold.conf && did "kernel settings"
  local name value
  while IFS=' =' read -r name value; do
    [ "$(sysctl -n "$name" 2>/dev/null)" = "$value" ] || sysctl -qw "$name=$value" ||
      log "warning: $name stays $(sysctl -n "$name" 2>/dev/null || echo unknown): $value is not possible here"
  done <"$work/sysctl"
}

turn_swap_off() {
  local swapping
  swapping=$(tail -n +2 /proc/swaps)
  if [ -n "$swapping" ]; then
    swapoff -a
    did "swap off"
  fi
  if grep -qsE '^[^#].*[[:space:]]swap[[:space:]]' /etc/fstab; then
    sed -E 's/^([^#].*[[:space:]]swap[[:space:]].*)$/# by leasehold: \1/' /etc/fstab >"$work/fstab"
    cat "$work/fstab" >/etc/fstab
    did "swap out of fstab"
  fi
}

# Their rules and Kubernetes' rewrite each other; the site's security groups, or our nftables, are the firewall.
stop_other_firewalls() {
  local service
  for service in firewalld ufw; do
    if systemctl is-enabled -q "$service" 2>/dev/null || systemctl is-active -q "$service"; then
      [ "$service" != ufw ] || ufw --force disable >/dev/null
      systemctl disable -q --now "$service"
      did "$service off"
    fi
  done
}

leave_pod_network_alone() {
  [ -d /etc/NetworkManager ] || return 0
  printf '[keyfile]\nunmanaged-devices=interface-name:cni*;interface-name:flannel*;interface-name:veth*\n' >"$work/nm"
  put "$work/nm" /etc/NetworkManager/conf.d/leasehold.conf || return 0
  did "NetworkManager ignores the pod network"
  if systemctl is-active -q NetworkManager; then systemctl reload NetworkManager; fi
}

check_gpu() {
  local listed
  [ -n "$gpu" ] || return 0
  listed=$(nvidia-smi -L 2>&1) || true
  case $listed in
    *GPU\ [0-9]*) log "$listed" ;;
    *) stop "nvidia-smi lists no GPU (${listed%%$'\n'*}): take an image with NVIDIA's driver, or remove gpu from the node" ;;
  esac
}

# Before k3s starts: it looks for the runtime then, and only then.
install_gpu_toolkit() {
  local i file files=()
  for i in "${!toolkit_paths[@]}"; do
    file=$root/artifacts/${toolkit_paths[i]##*/}
    if ! package_is_installed "${toolkit_paths[i]##*/}"; then
      fetch "${toolkit_paths[i]}" "${toolkit_urls[i]}" "${toolkit_sha256s[i]}" "$file"
      files+=("$file")
    fi
  done
  [ ${#files[@]} -gt 0 ] || return 0
  DEBIAN_FRONTEND=noninteractive dpkg -i "${files[@]}"
  rm -f "${files[@]}"
  did "NVIDIA container toolkit"
}

# package_is_installed NAME_VERSION_ARCH.deb
package_is_installed() {
  local name=${1%%_*} rest=${1#*_}
  [ "$(dpkg-query -W -f '${Version} ${db:Status-Status}' "$name" 2>/dev/null)" = "${rest%%_*} installed" ]
}

join_vpn() {
  [ -n "$tailscale_path" ] || return 0
  local file=$root/artifacts/${tailscale_path##*/} version
  version=${file##*/tailscale_}
  version=${version%_*}
  if [ "$(tailscale version 2>/dev/null | head -n 1)" != "$version" ]; then
    fetch "$tailscale_path" "$tailscale_url" "$tailscale_sha256" "$file"
    tar -xzf "$file" -C "$work" --strip-components 1 --no-same-owner
    put "$work/tailscale" /usr/local/bin/tailscale 755
    put "$work/tailscaled" /usr/local/sbin/tailscaled 755
    rm -f "$file"
    did "Tailscale $version"
  fi
  cat >"$work/unit" <<'UNIT'
[Unit]
Description=Tailscale
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart=/usr/local/sbin/tailscaled --state=/var/lib/tailscale/tailscaled.state --socket=/run/tailscale/tailscaled.sock
RuntimeDirectory=tailscale
StateDirectory=tailscale
StateDirectoryMode=0700
Restart=on-failure

[Install]
WantedBy=multi-user.target
UNIT
  put "$work/unit" /etc/systemd/system/tailscaled.service && systemctl daemon-reload
  systemctl enable -q --now tailscaled
  tailscale up --auth-key="file:$secrets/tailscale_auth_key" --hostname="$host" --advertise-tags="$tailscale_tag" \
    --accept-dns=false --timeout=90s ||
    retry_later "tailscale up failed: is the auth key valid, and may it give $tailscale_tag?"
}

# The bastion is no server: its port 6443 leads to the balancer of its own k3s agent, over all servers.
forward_api() {
  [ -n "$api_forward" ] || return 0
  local proxy=/usr/lib/systemd/systemd-socket-proxyd
  [ -x "$proxy" ] || proxy=/lib/systemd/systemd-socket-proxyd
  cat >"$work/leasehold-api.socket" <<'UNIT'
[Unit]
Description=leasehold: the Kubernetes API at this machine's address

[Socket]
ListenStream=6443

[Install]
WantedBy=sockets.target
UNIT
  cat >"$work/leasehold-api.service" <<UNIT
[Unit]
Description=leasehold: the Kubernetes API by the k3s agent's balancer
Requires=leasehold-api.socket
After=leasehold-api.socket

[Service]
ExecStart=$proxy 127.0.0.1:6444
DynamicUser=yes
UNIT
  put "$work/leasehold-api.service" /etc/systemd/system/leasehold-api.service || true
  if put "$work/leasehold-api.socket" /etc/systemd/system/leasehold-api.socket; then
    systemctl daemon-reload
    systemctl enable -q --now leasehold-api.socket
    did "API forwarded"
  fi
}

within 300 cloud_init_has_ended || retry_later "cloud-init is still running after 5 minutes; see: cloud-init status --long"
check_name
check_gpu
check_time
turn_swap_off
stop_other_firewalls
set_kernel
leave_pod_network_alone
prepare_volumes
install_gpu_toolkit
join_vpn
forward_api
# The VPN's address is the last line of what the step tells.
if [ -n "$tailscale_path" ]; then tailscale ip -4 | head -n 1 >"$work/address"; fi
touch "$work/address"
finish "$work/address"
