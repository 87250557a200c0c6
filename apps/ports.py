"""Ports of pods, which rules, policies and specs name."""

GIT = 8000
BUILDS = 1234
SERVER = 8000
"""The model's: examples/model/README.md."""
SERVICE = 80
"""Of an environment's Service."""
