"""The releases repository over Git: read what it says, change it by one commit for one event. And a revision of a
model's repository, as files.

Owns: the connection, its credentials, commits, and what happens when another writer was first. Does not own: what an
event changes (`releases`) and what the manifests say (`manifests`).

The git program does the work, on a bare clone that lives for one call and has no working tree: what others put into the
releases repository is read as objects, never as files. Hooks, filters and the user's own configuration have no say.
"""

from .change import Attempts, Releases, Render
from .failures import ContentError, RepositoryError
from .message import message
from .remote import Login, Remote, Signer, SshKey
from .source import checkout

__all__ = [
    "Attempts",
    "ContentError",
    "Login",
    "Releases",
    "Remote",
    "Render",
    "RepositoryError",
    "Signer",
    "SshKey",
    "checkout",
    "message",
]
