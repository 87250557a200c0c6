# On a server, when another node leaves: its pods go elsewhere, then its Node goes, and with it its etcd member.
# Given: name. Runs as root in the SSH session; ends with 0 also where there is nothing to do or nobody to ask, so that
# a dead control plane keeps no machine alive.
kubectl() { timeout "$1" /usr/local/bin/k3s kubectl --kubeconfig /etc/rancher/k3s/k3s.yaml --request-timeout 20s "${@:2}"; }

if [ ! -x /usr/local/bin/k3s ] || [ ! -f /etc/rancher/k3s/k3s.yaml ]; then
  echo "$name: $(hostname) is no server (any more): nothing to drain"
  exit 0
fi
deadline=$((SECONDS + 90))
until listed=$(kubectl 15 get node "$name" --ignore-not-found -o name 2>&1); do
  if ((SECONDS >= deadline)); then
    echo "$name: the API on $(hostname) does not answer (${listed##*$'\n'}): its Node is left as it is"
    exit 0
  fi
  sleep 3
done
if [ -z "$listed" ]; then
  echo "$name: the cluster has no such node"
  exit 0
fi

is_ready() { [ "$(kubectl 30 get node "$name" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]; }

# A machine that died moments ago still counts as Ready: so the drain is asked again in short rounds.
words=(--ignore-daemonsets --delete-emptydir-data --force)
deadline=$((SECONDS + 300))
until ! is_ready || kubectl 40 drain "$name" "${words[@]}" --timeout=20s; do
  if ((SECONDS >= deadline)); then
    echo "$name: not all pods left within 5 minutes (a disruption budget?): going on"
    break
  fi
done
if ! is_ready; then
  # Nobody is there to end its pods; they are marked, and the Node's deletion removes them.
  echo "$name is not Ready: its pods are not waited for"
  kubectl 40 drain "$name" "${words[@]}" --disable-eviction --grace-period=0 --timeout=10s || true
fi
kubectl 90 delete node "$name" --ignore-not-found --timeout=80s || {
  echo "$name: its Node could not be deleted; remove it with: kubectl delete node $name" >&2
  exit 1
}
echo "$name is drained and deleted"
