# What must hold before k3s is touched, and what a failing k3s says in one sentence.
k3s_data=/var/lib/rancher/k3s
etc=/etc/rancher/k3s
binary=/usr/local/bin/k3s
service=k3s
[ "$role" = server ] || service=k3s-agent
own_kubeconfig=$k3s_data/agent/kubelet.kubeconfig
admin_kubeconfig=$etc/k3s.yaml

# The kubelet's own credential: it may read its Node and evict its pods, and is there on agents too.
own() { timeout 30 "$binary" kubectl --kubeconfig "$own_kubeconfig" --request-timeout 20s "$@"; }
admin() { timeout 60 "$binary" kubectl --kubeconfig "$admin_kubeconfig" --request-timeout 20s "$@"; }

installed_version() {
  [ -x "$binary" ] || return 0
  # An artifact that is no k3s says nothing here, and is replaced.
  "$binary" --version 2>/dev/null | sed -n 's/^k3s version \([^ ]*\).*/\1/p' || true
}

# minor vX.Y.Z+k3sN: X and Y as one number that can be compared.
minor() {
  local numbers
  IFS=. read -r -a numbers <<<"${1#v}"
  echo $((numbers[0] * 1000 + numbers[1]))
}

check_version_step() {
  local from
  from=$(installed_version)
  if [ -z "$from" ] || ! is_node; then return; fi
  local step_size=$(($(minor "$version") - $(minor "$from")))
  ((step_size <= 1)) ||
    stop "k3s $from cannot become $version in one step: Kubernetes is upgraded one minor version at a time; nothing was changed"
  ((step_size >= 0)) ||
    stop "k3s $from cannot go back to $version: Kubernetes has no way to an older minor version; nothing was changed"
}

# It ran here, and has its own credentials: what it needs from now on is on its disk.
is_node() { [ -f "$own_kubeconfig" ] && [ -f "$etc/config.yaml" ]; }

# What a restore that was cut left behind is no data.
has_etcd() { [ -d "$k3s_data/server/db/etcd/member" ] && [ ! -f "$root/k3s.restoring" ]; }

# A machine that was another cluster's would show that cluster's certificates to ours.
check_no_other_cluster() {
  local token file expected found
  token=$(joining_token)
  case $token in K10*::*) expected=${token#K10} expected=${expected%%::*} ;; *) return 0 ;; esac
  file=$k3s_data/server/tls/server-ca.crt
  [ "$role" = server ] || file=$k3s_data/agent/server-ca.crt
  [ -f "$file" ] || return 0
  found=$(sha256_of "$file")
  [ "$found" = "$expected" ] ||
    stop "this machine holds the state of another cluster (CA ${found:0:12}, ours is ${expected:0:12}):" \
      "remove it with /usr/local/bin/$service-uninstall.sh, or replace the machine; nothing was changed"
}

joining_token() {
  if [ "$role" = server ]; then secret token; else secret agent_token; fi
}

# From the last start on.
journal() { journalctl -q --no-pager -o cat -u "$service" --since "@${1:-0}" 2>/dev/null || true; }

# sentence JOURNAL: why k3s cannot go on, in our words; nothing when nothing known is in it.
sentence() {
  case $1 in
    *"token CA hash does not match"*)
      echo "the token is not this cluster's: its CA hash differs from the server's CA; is $(server_of_host) the right cluster?" ;;
    *"encrypted with different token"*)
      echo "the token is not the one that this cluster's data was encrypted with; after a rotation, use the newest" ;;
    *"401 Unauthorized"* | *"not authorized"* | *"failed to validate token"*"nauthorized"* | *"nvalid token"*)
      echo "the server refused the token: it was rotated or replaced; run \`pulumi up\` again, servers come first" ;;
    *"duplicate node name found"* | *"Node password rejected"*)
      echo "the cluster already has a node $host that is another machine: delete it first: kubectl delete node $host" ;;
    *"critical configuration value mismatch"*)
      echo "its settings differ from those of the other servers: $(last_word "$1" "mismatch between servers: ")" ;;
    *"invalid kernel flag"*)
      echo "kubelet refuses the kernel settings: $(last_word "$1" "invalid kernel flag: ")" ;;
    *level=fatal*)
      printf '%s\n' "$1" | sed -n 's/.*level=fatal msg="\(.*\)"$/k3s stopped: \1/p' | tail -n 1 ;;
  esac
}

last_word() { printf '%s\n' "$1" | sed -n "s/.*$2\([^\"]*\).*/\1/p" | tail -n 1; }

# What waiting does not change. A taken name does: it is freed when the old Node is deleted.
is_permanent() {
  case $1 in
    *"token CA hash does not match"* | *"encrypted with different token"* | *"401 Unauthorized"* | *"not authorized"* | \
      *"nvalid token"* | *"critical configuration value mismatch"* | *"invalid kernel flag"*) return 0 ;;
  esac
  return 1
}
