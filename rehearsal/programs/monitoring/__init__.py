"""Stand-ins for kube-state-metrics and Grafana, which cannot be had as Go modules."""
