"""The rehearsal's project and user, and its clouds.yaml with one application credential per cloud name."""

from pathlib import Path
from typing import Any

import openstack
import yaml
from openstack.connection import Connection

from rehearsal.cloud.daemons import login
from rehearsal.cloud.plan import SitePlan
from rehearsal.cloud.state import State, write_private

PROJECT = "rehearsal"
CLOUD = "rehearsal"
ROLES = ("member", "reader")


def _connect(auth: dict[str, Any]) -> Connection:
    return openstack.connect(load_yaml_config=False, load_envvars=False, **auth)


def admin(state: State, region: str) -> Connection:
    """A connection as the site's administrator."""
    return _connect(login(state, region))


def project(connection: Connection, state: State) -> str:
    """Id of the project; made with its user when it is not there."""
    identity: Any = connection.identity
    found = identity.find_project(PROJECT) or identity.create_project(name=PROJECT, domain_id="default")
    user = identity.find_user(PROJECT) or identity.create_user(
        name=PROJECT, password=state.passwords["tenant"], domain_id="default", default_project_id=found.id
    )
    for role in ROLES:
        identity.assign_project_role_to_user(found, user, identity.find_role(role))
    return str(found.id)


def project_id(connection: Connection) -> str:
    """Id of the project that is there."""
    identity: Any = connection.identity
    return str(identity.find_project(PROJECT, ignore_missing=False).id)


def _credential(connection: Connection, name: str) -> dict[str, str]:
    """A new unrestricted application credential: Blazar needs that to act for the user."""
    identity: Any = connection.identity
    user = connection.current_user_id
    for stale in [c for c in identity.application_credentials(user) if c.name == name]:
        identity.delete_application_credential(user, stale)  # its secret was lost with the file
    made = identity.create_application_credential(user, name, unrestricted=True)
    return {"application_credential_id": made.id, "application_credential_secret": made.secret}


def clouds_yaml(path: Path, state: State, plan: SitePlan) -> None:
    """Write the file; credentials that are in it already are kept."""
    kept: dict[str, Any] = {}
    if path.exists():
        kept = (yaml.safe_load(path.read_text()) or {}).get("clouds", {})
    user: Connection | None = None
    clouds: dict[str, Any] = {}
    for name in dict.fromkeys((CLOUD, *plan.clouds)):
        auth = kept.get(name, {}).get("auth", {})
        if not auth.get("application_credential_secret"):
            user = user or _connect(
                {
                    **login(state, plan.regions[0]),
                    "username": PROJECT,
                    "password": state.passwords["tenant"],
                    "project_name": PROJECT,
                }
            )
            auth = _credential(user, name)
        clouds[name] = {
            "auth_type": "v3applicationcredential",
            "auth": {**auth, "auth_url": state.keystone},
            **({"region_name": plan.regions[0]} if len(plan.regions) == 1 else {"regions": list(plan.regions)}),
            "interface": "public",
            "identity_api_version": 3,
        }
    write_private(path, yaml.safe_dump({"clouds": clouds}))
