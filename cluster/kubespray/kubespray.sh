# Kubespray, run from this machine over SSH to all the others. Given: forks, kubernetes (its version), and of the release
# release_path, release_url and release_sha256; carried: plan.py, wanted.json, variables.json, names, machines (a line
# each: name, address, port, user, role), known_hosts, ansible.lock. Secrets: ssh_key, variables.
folder=$root/kubespray
release=$folder/release-${release_sha256:0:16}
venv=$folder/ansible-$(sha256_of "$work/programs/ansible.lock" | cut -c -16)
server_kubectl="sudo -n /usr/local/bin/kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s"

# Kubespray takes from a release what it finds there: the whole tree comes from the archive that was checked.
unpack_release() {
  fetch "$release_path" "$release_url" "$release_sha256" "$folder/release.tar.gz"
  [ -e "$release/cluster.yml" ] && return
  rm -rf "$folder/unpacked"
  mkdir "$folder/unpacked"
  tar -xzf "$folder/release.tar.gz" -C "$folder/unpacked" --strip-components=1 --no-same-owner
  rm -rf "$release"
  mv "$folder/unpacked" "$release"
  did "unpacked $release_path"
}

# The release asserts its own range of Ansible versions, so it gets its own, apart from the system's.
install_ansible() {
  [ -e "$venv/installed" ] && return
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    within 300 apt-get -qq -o DPkg::Lock::Timeout=60 update >/dev/null || retry_later "cannot update the list of packages for python3-venv"
    apt-get -qq -y -o DPkg::Lock::Timeout=120 install python3-venv >/dev/null || retry_later "cannot install python3-venv"
  fi
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check --no-cache-dir --require-hashes --only-binary :all: \
    -r "$work/programs/ansible.lock" || retry_later "cannot install Ansible; is the package index reachable from $host?"
  touch "$venv/installed"
  did "installed Ansible"
}

# A name that nothing in the release mentions would be taken in silence, and do nothing.
refuse_unknown_names() {
  local unknown
  grep -rohE --include='*.yml' --include='*.yaml' --include='*.j2' '[a-z][a-z0-9_]+' "$release/roles" "$release/playbooks" |
    sort -u >"$work/known"
  unknown=$(sort -u "$work/programs/names" | comm -23 - "$work/known" | tr '\n' ' ')
  [ -z "$unknown" ] || stop "$release_path does not know: $unknown; it would ignore them in silence; choose another release"
  grep -rqwF -- "$kubernetes" "$release/roles/kubespray_defaults" ||
    stop "$release_path has no checksums for Kubernetes $kubernetes; choose one of its own versions"
}

write_settings() {
  mkdir -p "$folder/inventory/group_vars/all" "$folder/facts" "$folder/control"
  put "$work/programs/wanted.json" "$folder/wanted.json" 600 || true
  put "$work/programs/variables.json" "$folder/inventory/group_vars/all/settings.json" 600 || true
  put "$secrets/variables" "$folder/inventory/group_vars/all/secrets.json" 600 || true
  put "$secrets/ssh_key" "$folder/ssh_key" 600 || true
  put "$work/programs/known_hosts" "$folder/known_hosts" 600 || true
  # Nobody is believed at first sight: the keys are those that the stack gave the machines.
  ssh_options=(-i "$folder/ssh_key" -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes
    -o "UserKnownHostsFile=$folder/known_hosts" -o GlobalKnownHostsFile=/dev/null -o ConnectTimeout=15)
  cat >"$folder/ansible.cfg" <<CONFIG
[defaults]
roles_path = $release/roles
library = $release/library:$release/plugins/modules
host_key_checking = True
forks = $forks
timeout = 60
gathering = smart
fact_caching = jsonfile
fact_caching_connection = $folder/facts
force_valid_group_names = ignore
interpreter_python = auto_silent
nocows = True
[inventory]
enable_plugins = yaml
[privilege_escalation]
become = True
[ssh_connection]
pipelining = True
retries = 3
control_path_dir = $folder/control
ssh_args = ${ssh_options[*]} -o ControlMaster=auto -o ControlPersist=60s
CONFIG
}

# on NAME COMMAND: over SSH, as root asks for it there.
on() {
  local name address port user role
  while read -r name address port user role; do
    [ "$name" = "$1" ] || continue
    ssh "${ssh_options[@]}" -p "$port" "$user@$address" "$2" </dev/null
    return
  done <"$work/programs/machines"
}

names_of() { awk -v role="$1" 'role == "" || $5 == role { print $1 }' "$work/programs/machines"; }

# The cluster's own word, not our memory: who is a node already, and which machine is none yet.
ask_machines() {
  local name status jobs=0
  mkdir "$work/joined"
  for name in $(names_of ""); do
    {
      status=0
      on "$name" "test -e /etc/kubernetes/kubelet.conf" 2>"$work/joined/$name.error" || status=$?
      printf '%s' "$status" >"$work/joined/$name"
    } &
    ((++jobs % forks)) || wait
  done
  wait
  : >"$folder/fresh"
  : >"$folder/nodes.json"
  for name in $(names_of ""); do
    case $(cat "$work/joined/$name") in
      0) ;;
      1) printf '%s\n' "$name" >>"$folder/fresh" ;;
      *) retry_later "$name does not answer on SSH from $host: $(tail -n 1 "$work/joined/$name.error")" ;;
    esac
  done
  for name in $(names_of server); do
    grep -qxF "$name" "$folder/fresh" && continue
    on "$name" "$server_kubectl get nodes -o json" >"$folder/nodes.json" 2>/dev/null && return
    : >"$folder/nodes.json"
  done
}

run_plays() {
  local line words log=$folder/log
  while IFS= read -r line <&3; do
    # The plan quotes each word for a shell.
    eval "words=($line)"
    words[1]=$folder/${words[1]}
    words[2]=$release/${words[2]}
    if ! (cd "$release" && ANSIBLE_CONFIG=$folder/ansible.cfg "$venv/bin/ansible-playbook" "${words[@]}") </dev/null >"$log" 2>&1; then
      retry_later "${words[2]##*/} failed$(failure "$log"); what Ansible said is in $log"
    fi
    did "ran ${words[2]#"$release/"}"
  done 3<"$folder/plays"
}

# Where Ansible stopped: its messages themselves may hold what must not be shown.
failure() {
  local task hosts
  task=$(grep -E '^TASK \[' "$1" | tail -n 1 | sed -E 's/^TASK \[(.*)\] \**$/\1/')
  hosts=$(grep -oE '^fatal: \[[^] ]+' "$1" | cut -c 9- | sort -u | head -n 5 | paste -sd ' ')
  printf '%s%s' "${task:+ at the task “$task”}" "${hosts:+ on $hosts}"
}

tell() {
  local name
  for name in $(names_of server); do
    on "$name" "$server_kubectl wait --for=condition=Ready --timeout=300s --request-timeout=310s nodes --all" >/dev/null 2>&1 || continue
    on "$name" "sudo -n cat /etc/kubernetes/admin.conf" >"$work/kubeconfig" 2>/dev/null || continue
    python3 -c 'import json, sys; print(json.dumps({"kubeconfig": sys.stdin.read()}))' <"$work/kubeconfig" >"$work/told"
    mv -f "$folder/wanted.json" "$folder/applied.json"
    finish "$work/told"
  done
  retry_later "no server says that every node is Ready; see: kubectl get nodes"
}

mkdir -p "$folder"
unpack_release
install_ansible
refuse_unknown_names
write_settings
ask_machines
python3 "$work/programs/plan.py" "$folder" 2>"$work/refused" || stop "$(cat "$work/refused")"
run_plays
tell
