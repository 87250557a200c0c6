# Whether this machine's Node was deleted, which only other servers may know. Given: host, peers.
node_is_gone() {
  local server said
  local ask=(timeout 10 /usr/local/bin/k3s kubectl --kubeconfig /var/lib/rancher/k3s/agent/kubelet.kubeconfig)
  for server in '' "${peers[@]/#/--server=https://}"; do
    said=$("${ask[@]}" --request-timeout 5s ${server:+"$server:6443"} get node "$host" -o name 2>&1) && return 1
    case $said in *NotFound*) return 0 ;; esac
  done
  return 1
}
