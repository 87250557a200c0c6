# k3s on this machine, from whatever is there to what is wanted. Given: role, first, address, interface, peers,
# version, restore, s3, snapshots, token_generation, certificates_generation, and path, url and sha256 of binary,
# images and install script.
pending=$root/k3s.pending
images_file=$k3s_data/agent/images/k3s-airgap-images-amd64.tar.zst
installer=$root/artifacts/k3s-install.sh
staged_binary=$binary.leasehold-new
staged_images=$k3s_data/agent/.images.leasehold-new

# What is in place already is not fetched; what an earlier, other run staged is not used.
fetch_artifacts() {
  stage "$binary" "$staged_binary" "$binary_path" "$binary_url" "$binary_sha256"
  stage "$images_file" "$staged_images" "$images_path" "$images_url" "$images_sha256"
  fetch "$install_path" "$install_url" "$install_sha256" "$installer"
}

# stage FILE STAGED PATH URL SHA256
stage() {
  if [ -f "$1" ] && [ "$(sha256_of "$1")" = "$5" ]; then
    rm -f "$2"
  else
    fetch "$3" "$4" "$5" "$2"
  fi
}

# The whole set is staged and compared first: k3s restarts once, or not at all.
stage_files() {
  local file
  decide_on_host
  joining_token | pin_ca >"$work/texts/token"
  if [ "$role" = server ]; then
    # k3s wants a server's agent token bare; joiners get the form with the CA's hash.
    secret agent_token | sed 's/.*://' >"$work/texts/agent-token"
  fi
  if [ -n "$s3" ]; then
    S3=$secrets python3 -c '
import json, os, pathlib
folder = pathlib.Path(os.environ["S3"])
keys = {"etcd-s3-access-key": "snapshot_access_key", "etcd-s3-secret-key": "snapshot_secret_key"}
print(json.dumps({k: (folder / f).read_text() for k, f in keys.items() if (folder / f).exists()}))' >"$work/texts/s3"
  fi
  for file in "$work"/texts/*; do
    target_of "${file##*/}"
    # Whom it joined by does not matter to a node that runs.
    [ "${file##*/}" = host ] && is_node && continue
    cmp -s "$file" "$target" || touch "$pending"
  done
}

# Where a staged text goes, and who may read it.
target_of() {
  mode=600
  case $1 in
    host) target=$host_file ;;
    s3) target=$etc/config.yaml.d/20-snapshots.yaml ;;
    token | agent-token) target=$etc/$1 ;;
    *) target=$etc/${1#etc_rancher_k3s_} ;;
  esac
}

# A first server that joins has a bare token; the CA's hash was kept on its volume, so the CA is pinned all the same.
pin_ca() {
  local token hash
  token=$(cat)
  hash=$(cat "$root/data/cluster-ca.sha256" 2>/dev/null) || true
  case $token in K10*) hash= ;; esac
  if [ -n "$hash" ] && [ "$role" = server ] && [ -z "$restore" ] && grep -q ^server: "$work/texts/host"; then
    token=K10$hash::server:$token
  fi
  printf '%s\n' "$token"
}

install_files() {
  local file
  folder 755 "$etc"
  folder 700 "$etc/config.yaml.d"
  [ "$role" = agent ] || folder 700 "$k3s_data/server" "$k3s_data/server/logs"
  for file in "$work"/texts/*; do
    target_of "${file##*/}"
    put "$file" "$target" "$mode" || true
  done
}

# A binary or unit that is not the wanted one; also after an install that was cut short.
install_k3s() {
  [ -f "$staged_images" ] && mkdir -p "${images_file%/*}" && mv -f "$staged_images" "$images_file"
  if [ -f "$staged_binary" ] || [ ! -f "/etc/systemd/system/$service.service" ] || [ -f "$root/k3s.installing" ]; then
    touch "$root/k3s.installing"
    if [ -f "$staged_binary" ]; then
      chmod 755 "$staged_binary"
      mv -f "$staged_binary" "$binary"
    fi
    INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_SKIP_START=true INSTALL_K3S_EXEC=$role sh "$installer" ||
      retry_later "k3s's install script failed; see: journalctl -u leasehold-$step"
    rm -f "$root/k3s.installing"
    did "installed k3s $version"
  fi
}

# k3s.yaml speaks to 127.0.0.1; where it is reached from outside is for the stack to say.
print_access() {
  [ "$role" = server ] || return 0
  FOLDER=$k3s_data/server KUBECONFIG_FILE=$admin_kubeconfig python3 -c '
import json, os, pathlib
folder = pathlib.Path(os.environ["FOLDER"])
kubeconfig = pathlib.Path(os.environ["KUBECONFIG_FILE"]).read_text()
token, agent = (folder / "token").read_text().strip(), (folder / "agent-token").read_text().strip()
print(json.dumps({"kubeconfig": kubeconfig, "token": token, "agent_token": agent}))'
}

keep_on_volume() {
  [ "$role" = server ] || return 0
  sha256_of "$k3s_data/server/tls/server-ca.crt" >"$work/ca"
  put "$work/ca" "$root/data/cluster-ca.sha256" || true
}

check_version_step
check_no_other_cluster
rejoin_if_removed
from=$(installed_version)
rotate_token
stage_files
fetch_artifacts
if is_node && [ -f "$staged_binary" ]; then
  touch "$pending"
  wait_for_servers
  [ "$from" = "$version" ] || cordon_and_drain
fi
systemctl is-enabled -q "$service" 2>/dev/null || touch "$pending"
install_files
install_k3s
restore_snapshot
rotate_certificates
if [ -f "$pending" ] || ! systemctl is-active -q "$service" || ! node_is_ready 0; then
  touch "$pending"
  start_and_wait
fi
uncordon
keep_on_volume
touch "$root/k3s.joined"
remember_generation token "$token_generation"
remember_generation certificates "$certificates_generation"
rm -f "$pending"
print_access >"$work/access"
finish "$work/access"
