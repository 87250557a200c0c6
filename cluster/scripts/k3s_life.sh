# Joining, restoring, rotating, and the waits around a start.
host_file=$etc/config.yaml.d/10-host.yaml

interface_of_address() { ip -4 -o addr show | awk -v a="$address" '{ split($4, p, "/"); if (p[1] == a) print $2 }' | head -n 1; }

server_of_host() { sed -n 's/^server: //p' "$host_file" 2>/dev/null || true; }

# Any HTTP answer counts: it is k3s's port, and who may speak there is the token's matter.
answers() { curl -sk -o /dev/null --connect-timeout 3 --max-time 5 "https://$1:6443/ping"; }

first_that_answers() {
  local peer
  for peer in "${peers[@]}"; do
    if answers "$peer"; then
      server="https://$peer:6443"
      return
    fi
  done
  return 1
}

# A first server begins the cluster when nobody answers; it asks for some seconds: another one may be restarting.
choose_server() {
  local seconds=150
  [ -z "$first" ] || seconds=6
  if [ ${#peers[@]} -gt 0 ]; then
    within "$seconds" first_that_answers || [ -n "$first" ] ||
      stop "no server answers at ${peers[*]} (port 6443) for $seconds seconds: is k3s up there, and do the security groups allow it?"
  fi
  [ -n "$server" ] || [ -n "$first" ] || stop "there is no other server to join"
  [ -n "$server" ] || begin_or_restore
}

# What only this machine knows: who answers, which interface holds the address. Chosen once: a node that has joined
# learns of all servers by itself.
decide_on_host() {
  local server=''
  if [ -f "$host_file" ] && { is_node || has_etcd; }; then
    server=$(server_of_host)
  else
    choose_server
  fi
  {
    if [ -n "$server" ]; then echo "server: $server"; else echo "cluster-init: true"; fi
    if [ -z "$interface" ]; then
      interface=$(interface_of_address)
      [ -n "$interface" ] || stop "no interface of this machine holds the address $address"
      echo "flannel-iface: $interface"
    fi
  } >"$work/texts/host"
  [ "$role" = server ] || sed -i '/^cluster-init/d' "$work/texts/host"
}

# Another server deleted this Node. An agent registers anew when it starts; a server's data are a removed member's, so
# it joins as a new one.
rejoin_if_removed() {
  local server=''
  is_node && node_is_gone || return 0
  touch "$pending" "$root/k3s.rejoining"
  [ "$role" = server ] && [ ${#peers[@]} -gt 0 ] && within 6 first_that_answers || return 0
  systemctl stop "$service"
  rm -rf "$k3s_data/server/db/etcd" "$host_file"
  did "gave up a membership that was ended elsewhere"
}

# A Node that is made anew gets another range of pods' addresses, and the bridge that has the old one refuses it: no pod
# would start there any more (cloudnativelabs/kube-router#496 is the same plugin).
forget_pod_network() {
  local link
  [ -f "$root/k3s.rejoining" ] || return 0
  systemctl stop "$service"
  for link in cni0 flannel.1; do ip link delete "$link" 2>/dev/null || true; done
  rm -rf /var/lib/cni/networks/cbr0
  rm -f "$root/k3s.rejoining"
}

newest_snapshot() {
  find "$snapshots" -maxdepth 1 -type f -printf '%T@ %p\n' 2>/dev/null | sort -n | tail -n 1 | cut -d ' ' -f 2- || true
}

# A first server without data and without others: a new cluster, unless the volume remembers an earlier one.
begin_or_restore() {
  local newest
  newest=$(newest_snapshot)
  if [ -z "$restore" ]; then
    [ -z "$newest" ] ||
      stop "$snapshots holds snapshots of an earlier cluster, and no server answers: \`pulumi up --config leasehold:restore=latest\`" \
        "restores the newest (${newest##*/}); to begin anew, move that folder away; nothing was changed"
    return
  fi
  snapshot=$newest
  # One that is not here is looked for in the bucket, by k3s.
  if [ "$restore" != latest ]; then
    snapshot=$snapshots/$restore
    if [ ! -f "$snapshot" ]; then snapshot=$restore; fi
  fi
  if [ ! -f "$snapshot" ] && { [ -z "$s3" ] || [ "$snapshot" != "$restore" ]; }; then
    stop "there is no snapshot $restore in $snapshots: nothing was changed"
  fi
  touch "$root/k3s.restoring"
}

# The file says that what is in server/db may be half a restore: then it is done again, from the same snapshot.
restore_snapshot() {
  [ -f "$root/k3s.restoring" ] || return 0
  local words=("--cluster-reset" "--cluster-reset-restore-path=$snapshot")
  [ -z "$s3" ] || [ "${snapshot#/}" = "$snapshot" ] || words+=("--etcd-s3=false")
  systemctl stop "$service" 2>/dev/null || true
  rm -rf "$k3s_data/server/db/etcd" "$k3s_data/server/db/reset-flag"
  timeout 600 "$binary" server "${words[@]}" || retry_later "k3s cannot restore ${snapshot##*/}; see: journalctl -u leasehold-$step"
  rm -f "$root/k3s.restoring"
  touch "$root/k3s.restored"
  did "restored ${snapshot##*/}"
}

# Nodes of the lost servers, and this machine's own password under its old name, would refuse their successors.
forget_lost_servers() {
  [ -f "$root/k3s.restored" ] || return 0
  local node
  within 180 admin get --raw /readyz >/dev/null 2>&1 || retry_later "the restored API is not ready after 3 minutes; see: journalctl -u $service"
  admin -n kube-system delete secret "$host.node-password.k3s" --ignore-not-found
  for node in $(admin get nodes -l node-role.kubernetes.io/control-plane -o name); do
    [ "$node" = "node/$host" ] || admin delete "$node" --ignore-not-found --timeout=50s
  done
  rm -f "$root/k3s.restored"
}

generation() { sed -n "s/^$1=//p" "$root/k3s.generations" 2>/dev/null || true; }

remember_generation() {
  { grep -v "^$1=" "$root/k3s.generations" 2>/dev/null || true; echo "$1=$2"; } >"$work/generations"
  put "$work/generations" "$root/k3s.generations" 600 || true
}

# raised NAME VALUE: the counter rose since this node last saw it; a new node has nothing to renew.
raised() {
  local had
  had=$(generation "$1")
  [ -n "$had" ] && [ "$2" -gt "$had" ]
}

# The first server changes the token in the cluster, while the old one still holds in its files.
rotate_token() {
  [ -n "$first" ] && is_node && raised token "$token_generation" || return 0
  secret token >"$work/token"
  if [ "$(password_of "$k3s_data/server/token")" != "$(password_of "$work/token")" ]; then
    systemctl is-active -q "$service" || retry_later "the token cannot be rotated while k3s is down; see: journalctl -u $service"
    python3 "$work/programs/rotate_token.py" "$k3s_data/server" "$work/token" ||
      retry_later "k3s did not take the new token; see: journalctl -u leasehold-$step"
    did "token rotated to generation $token_generation"
  fi
}

password_of() { sed 's/.*://' "$1" 2>/dev/null || true; }

rotate_certificates() {
  is_node && raised certificates "$certificates_generation" || return 0
  systemctl stop "$service"
  "$binary" certificate rotate >/dev/null || retry_later "k3s did not rotate its certificates; see: journalctl -u leasehold-$step"
  remember_generation certificates "$certificates_generation"
  touch "$pending"
  did "certificates rotated to generation $certificates_generation"
}

# start_and_wait: k3s runs with what is on disk now, and its Node is Ready.
start_and_wait() {
  local begin deadline
  begin=$(date +%s)
  deadline=$((SECONDS + 600))
  systemctl reset-failed "$service" 2>/dev/null || true
  forget_pod_network
  systemctl restart --no-block "$service"
  forget_lost_servers
  until node_is_ready "$begin"; do
    give_up_if_hopeless "$begin"
    ((SECONDS < deadline)) || not_ready "$begin"
    sleep 1
  done
  did "$service $version runs"
}

# Ready, in the new version, and said so after the restart: an old status stays until kubelet writes the next.
node_is_ready() {
  systemctl is-active -q "$service" && [ -f "$own_kubeconfig" ] || return 1
  own get node "$host" -o json 2>/dev/null | BEGIN=$1 VERSION=$version python3 -c '
import json, os, sys
from datetime import datetime
node = json.load(sys.stdin)
ready = next((c for c in node["status"]["conditions"] if c["type"] == "Ready"), {})
beat = datetime.fromisoformat(ready.get("lastHeartbeatTime", "1970-01-01T00:00:00Z").replace("Z", "+00:00")).timestamp()
wanted = os.environ["VERSION"]
# Some builds tell the version of Kubernetes only.
same = node["status"]["nodeInfo"]["kubeletVersion"] in (wanted, wanted.partition("+")[0])
sys.exit(not (same and ready.get("status") == "True" and beat >= int(os.environ["BEGIN"])))
' 2>/dev/null || return 1
  [ "$role" = agent ] || admin get --raw /readyz >/dev/null 2>&1
}

give_up_if_hopeless() {
  local said
  ((++asked % 5 == 0)) || return 0
  said=$(journal "$1")
  is_permanent "$said" || return 0
  # A node that never joined is left as it was found: quiet.
  [ -f "$root/k3s.joined" ] || systemctl disable -q --now "$service"
  stop "$(sentence "$said")"
}

not_ready() {
  local why
  why=$(sentence "$(journal "$1")")
  retry_later "${why:-k3s is $(systemctl is-active "$service"), and its Node is not Ready after 10 minutes}; see: journalctl -u $service"
}
asked=0
