"""`k3s server`: bootstrap data, etcd, the control plane, its controllers, then the agent's part."""

import threading
from pathlib import Path

from . import agent, binaries, bootstrap, containerd, control_plane, log, objects, reset, server_files
from .api import V1, Api
from .approvals import Approvals, password_accepted
from .cloud_controller import CloudController
from .config import Config
from .deploy import Deploy, left_out, ship
from .etcd import Etcd
from .files import digest
from .processes import Group, notify_ready
from .snapshots import Snapshots
from .supervisor import Supervisor


def _start_controllers(config: Config, group: Group, api: Api, etcd: Etcd, source: Path) -> None:
    Approvals(group, api).start()
    threading.Thread(target=Supervisor(config).serve_forever, daemon=True, name="supervisor").start()
    CloudController(group, api, etcd, not config.flag("disable-cloud-controller")).start()
    ship(config, source)
    deploy = Deploy(config, api)
    group.repeat("deploy", deploy.work, 2)
    if not config.flag("etcd-disable-snapshots"):
        group.repeat("etcd-snapshot", Snapshots(etcd).take_if_due, 15)


def run_server(config: Config, group: Group) -> None:
    """`k3s server`, until it is to stop. Raises Fatal, CommandError, Stopped."""
    unpacked = binaries.unpack(config.paths.data)
    if config.flag("cluster-reset"):
        reset.reset(config, group)
        return
    etcd = Etcd(config)
    etcd.clear_removed()
    for component in left_out(config):
        log.warning(f"{component} is not part of the stand-in for k3s, and is not deployed")
    secret, join = server_files.prepare(config, etcd)
    reset.flag(config).unlink(missing_ok=True)
    config.paths.agent.mkdir(mode=0o700, parents=True, exist_ok=True)
    runtime = group.background("containerd", lambda: containerd.start(config, group))
    try:
        etcd.start(group, join)
        bootstrap.store(etcd.ctl, config.paths, secret)
        api = control_plane.start(config, group)
        if not join:
            group.until("the objects by which nodes join", lambda: _apply_objects(config, api, secret), 120, 1)
        _start_controllers(config, group, api, etcd, unpacked / "manifests")
        runtime.join()
        agent.start_node(config, group, control_plane.local(config), objects.shared(config), etcd.name())
        if not password_accepted(api, config.node, digest(agent.node_password())):
            log.error(f"unable to verify password for node {config.node}: hash does not match")
        log.info("k3s is up and running")
        notify_ready()
        group.stopping.wait()
    finally:
        group.shutdown()
        etcd.note_removal()


def _apply_objects(config: Config, api: Api, secret: str) -> bool:
    objects.apply_rights(api)
    objects.apply_tokens(api, config, secret)
    objects.apply_public(api, config)
    return bool(api.find(f"{V1}/namespaces/default"))
