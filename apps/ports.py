"""Ports of pods, which rules, policies and specs name."""

GIT = 8000
BUILDS = 1234
SERVER = 8000
"""The model's: examples/model/README.md."""
SERVICE = 80
"""Of an environment's Service."""
LOAD_TEST = 8089
EXPLORATION = 8501
RAY_HEAD, RAY_DASHBOARD, RAY_CLIENT = 6379, 8265, 10001
"""Where a cluster's nodes meet; its pages and API of jobs; its clients."""
RAY_DOOR = 8266
"""What lets a request that passed the guard into the dashboard."""
