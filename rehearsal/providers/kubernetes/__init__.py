"""Kubernetes objects and Helm releases on a real API server: the published provider's rules, in small."""
