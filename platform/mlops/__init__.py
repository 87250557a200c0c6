"""Helm releases on the cluster: the platform layer, in a folder that must not shadow the stdlib's module."""
