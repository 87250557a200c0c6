"""What runs in pods and on an operator's computer: the gate, the releases, the steps. Nothing here knows Pulumi.

In an image this folder is the package `delivery`, so imports inside it are relative.
"""
