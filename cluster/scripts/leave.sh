# An agent whose lease ends before the cluster does: a timer on it empties it in time. Given: at (UTC).
lib=/usr/local/lib/leasehold
binary=/usr/local/bin/k3s
own_kubeconfig=/var/lib/rancher/k3s/agent/kubelet.kubeconfig

for name in leave-now.sh evict.py; do put "$work/programs/$name" "$lib/$name" 755 || true; done
changed=
for unit in service timer; do
  put "$work/texts/etc_systemd_system_leasehold-empty.$unit" "/etc/systemd/system/leasehold-empty.$unit" && changed=1
done
if [ -n "$changed" ]; then
  systemctl daemon-reload
  systemctl restart leasehold-empty.timer
  did "leaves at $at UTC"
fi
systemctl enable -q leasehold-empty.timer

# It has left already, and the lease was extended since: it takes pods again.
if [ -f "$root/empty" ] && [ "$(date +%s)" -lt "$(date -d "$at UTC" +%s)" ]; then
  systemctl stop leasehold-empty.service
  patch='{"spec":{"unschedulable":null}}'
  within 60 timeout 30 "$binary" kubectl --kubeconfig "$own_kubeconfig" patch node "$host" --type merge -p "$patch" >/dev/null ||
    retry_later "$host cannot be made schedulable again: the API does not answer; run: kubectl uncordon $host"
  rm -f "$root/empty"
  did "takes pods again"
fi
finish
