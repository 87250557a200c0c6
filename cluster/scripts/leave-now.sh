#!/bin/bash
# On an agent, some time before its lease ends: no new pods, and those that are there go where there is room.
# leave-now.sh NODE; bound: EVICT_SECONDS. Its pods would be lost with the machine, without a word.
set -euo pipefail
node=$1
binary=/usr/local/bin/k3s
kubeconfig=/var/lib/rancher/k3s/agent/kubelet.kubeconfig
touch /var/lib/leasehold/empty
patch='{"spec":{"unschedulable":true}}'
timeout 30 "$binary" kubectl --kubeconfig "$kubeconfig" patch node "$node" --type merge -p "$patch"
exec python3 /usr/local/lib/leasehold/evict.py "$binary" "$kubeconfig" "$node"
