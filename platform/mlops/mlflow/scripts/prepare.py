"""Bring MLflow's two databases to its version's schema, and its users to the passwords that the stack gave them.

MLflow makes its administrator once and then ignores the password that it is given: without this, a new password
would reach nobody. Runs before a server of the same version starts, and changes nothing when it runs again.
"""

import os
import sys
from pathlib import Path

from mlflow.db import upgrade as upgrade_runs
from mlflow.server.auth import store
from mlflow.server.auth.config import read_auth_config
from mlflow.server.auth.db.cli import upgrade as upgrade_users

ACCOUNTS = Path("/run/accounts")
"""One file a user: its name, and in it the password."""
READER = "reader"
"""A user who sees what all others made of these kinds and changes none of it; without a file of it there is none."""
SEEN = ("experiment", "registered_model")


def account(name: str, password: str, *, admin: bool) -> None:
    """Make a user, or give it its password and rights again."""
    if not store.has_user(name, use_primary=True):
        store.create_user(name, password, is_admin=admin)
        print(f"done: user {name} made")
    elif not store.authenticate_user(name, password, use_primary=True) or store.get_user(name).is_admin != admin:
        store.update_user(name, password=password, is_admin=admin)
        print(f"done: user {name} has its password and rights again")


def reader(*, wanted: bool) -> None:
    """Let it see what there is and will be, or take it away."""
    if wanted:
        for kind in SEEN:
            store.grant_user_permission(READER, kind, "*", "READ")
    elif store.has_user(READER, use_primary=True):
        store.delete_user(READER)
        print(f"done: user {READER} taken away")


def main() -> None:
    """Schemas first: the users' table is part of one."""
    config = read_auth_config()
    upgrade_runs.callback(os.environ["MLFLOW_BACKEND_STORE_URI"])
    upgrade_users.callback(url=config.database_uri, revision="head")
    store.init_db(config.database_uri)
    for file in sorted(ACCOUNTS.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            account(file.name, file.read_text(), admin=file.name == config.admin_username)
    reader(wanted=(ACCOUNTS / READER).is_file())


if __name__ == "__main__":
    main()
    sys.exit(0)
