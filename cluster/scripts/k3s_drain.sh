# Before its k3s is replaced, a node empties itself; servers go first, and everybody waits for them.
DRAIN_SECONDS=300

cordon_and_drain() {
  log "draining"
  if ! own patch node "$host" --type merge -p '{"spec":{"unschedulable":true}}' >/dev/null; then
    log "warning: the API does not answer: going on without draining"
    return
  fi
  touch "$root/k3s.cordoned"
  EVICT_SECONDS=$DRAIN_SECONDS python3 "$work/programs/evict.py" "$binary" "$own_kubeconfig" "$host" ||
    log "warning: not all pods left within $DRAIN_SECONDS seconds (a disruption budget?): going on"
  did "drained before $version"
}

uncordon() {
  [ -f "$root/k3s.cordoned" ] || return 0
  within 60 own patch node "$host" --type merge -p '{"spec":{"unschedulable":null}}' >/dev/null ||
    retry_later "$host cannot be made schedulable again: the API does not answer; run: kubectl uncordon $host"
  rm -f "$root/k3s.cordoned"
}

# at_least WANTED FOUND: by the order of versions; one that tells no build is taken for any build of it.
at_least() {
  local wanted=$1
  case $2 in *+*) ;; *) wanted=${1%%+*} ;; esac
  [ "$(printf '%s\n' "$wanted" "$2" | sort -V | head -n 1)" = "$wanted" ]
}

servers_run_it() {
  local peer found
  for peer in "${peers[@]}"; do
    found=$(own --server "https://$peer:6443" get --raw /version 2>/dev/null | sed -n 's/.*"gitVersion": *"\([^"]*\)".*/\1/p') || true
    at_least "$version" "${found:-v0}" || return 1
  done
}

# A kubelet must not be newer than any API server.
wait_for_servers() {
  [ "$role" = agent ] || return 0
  within 900 servers_run_it || retry_later "after 15 minutes not all servers (${peers[*]}) run $version: upgrade them first"
}
