"""The embedded default: a local cloud, local machines, and an engine for where the `pulumi` CLI is absent.

Product code never imports this package and never asks whether it is rehearsed.
"""
