"""The commands of the local cloud: up, down, reset, status."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rehearsal.cloud import daemons, image, inventory, kernel, machines, network, packages, schema, seed, tenant
from rehearsal.cloud import state as states
from rehearsal.cloud.daemons import Daemons, Settings
from rehearsal.cloud.database import Database
from rehearsal.cloud.errors import CloudError
from rehearsal.cloud.parts import ARTIFACTS, IMAGES, Part, describe
from rehearsal.cloud.plan import SitePlan
from rehearsal.cloud.process import Processes, end, free_ports, listening, marked
from rehearsal.cloud.state import SERVICES, State
from rehearsal.paths import Root

if TYPE_CHECKING:
    from openstack.connection import Connection

T = TypeVar("T")
LOCK_WAIT = 600.0


class Cloud:
    """One local cloud below `root`. Every command may be repeated, and works after anything was killed."""

    def __init__(self, root: Root, progress: Callable[[str], None]) -> None:
        """`progress` is told each step, in a few words."""
        self._root = root
        self._folder = root.cloud
        self._progress = progress
        self._processes = Processes(self._folder)
        self._database = Database(self._folder, self._processes)
        self._daemons = Daemons(self._folder, root.name, self._processes)
        self._seconds: dict[str, float] = {}

    # -- commands ----------------------------------------------------------------------------------------------

    def up(self, plan: SitePlan, *, trusts_for_application_credentials: bool = True) -> None:
        """Make the cloud run with what `plan` says; a CloudError names what prevents it.

        `trusts_for_application_credentials=False` is Keystone's own default since release 30: Blazar then answers
        500 to a lease asked for with an application credential.
        """
        self._check()
        kernel.prepare()
        with self._locked():
            self._seconds = {}
            state = self._settle()
            with ThreadPoolExecutor(1) as pool:
                archive = pool.submit(self._timed, "machine image", lambda: image.build(self._folder))
                venv = self._timed("packages", packages.install)
                settings = Settings(state, venv, plan, trusts_for_application_credentials)
                self._processes.env = machines.configure(self._folder)
                self._daemons.render(settings)
                schema.keys(self._folder)
                self._timed("database", lambda: self._open_database(settings))
                self._timed("services", lambda: self._start(settings))
                self._timed("site content", lambda: self._seed(settings, archive.result()))
            tenant.clouds_yaml(self.clouds_yaml, state, plan)
            states.write_private(
                self._folder / "up.json",
                json.dumps({"plan": plan.to_json(), "region": plan.regions[0], "seconds": self._seconds}),
            )
            self._progress("the cloud is up")

    def down(self) -> None:
        """End everything this cloud started; its objects are kept for the next `up`."""
        if not self._folder.exists():  # it may have been removed while the cloud ran
            end(marked(str(self._folder)))
            network.down(self._root.name)
            return
        with self._locked():
            self._halt()
        self._progress("the cloud is down")

    def reset(self) -> None:
        """Back to the empty cloud, as right after it was seeded."""
        settings = self._running()
        with self._locked():
            # Placement caches the ids of resource classes that Blazar makes for each reservation; Nova, that its hosts
            # are known to placement, which those of a later plan are not in an older snapshot.
            names = ["placement", *(["nova"] if self._stale_snapshot.exists() else [])]
            self._processes.stop(names)
            self._remove_machines()
            count = self._database.restore()
            self._daemons.start(settings, names)
            self._daemons.wait(settings, names)
            if self._stale_snapshot.exists():
                self._seed(settings, image.build(self._folder), again=True)
            self._progress(f"the cloud is empty again ({count} tables put back)")

    def status(self) -> list[Part]:
        """Each part: what it is, whether it runs, and what it took at the last `up`."""
        record = self._record()
        running = {**self._pids(), **{name: self._processes.pid(name) for name in (ARTIFACTS, IMAGES)}}
        return describe(record.get("plan", {}), running, record.get("seconds", {}))

    def running(self) -> bool:
        """Whether anything of it runs."""
        return any(self._pids().values())

    def _pids(self) -> dict[str, int | None]:
        return {name: self._processes.pid(name) for name in ("mariadb", *SERVICES, "agent")}

    # -- what others need --------------------------------------------------------------------------------------

    @property
    def clouds_yaml(self) -> Path:
        """The credentials file of the rehearsal's user."""
        return self._root.path / "clouds.yaml"

    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to use this cloud."""
        return {"OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml), "OS_CLOUD": tenant.CLOUD}

    def admin(self) -> "Connection":
        """A connection as administrator."""
        return tenant.admin(self._state(), str(self._record().get("region")))

    def inventory(self) -> dict[str, list[dict[str, Any]]]:
        """What the tenant's project holds, by kind."""
        admin = self.admin()
        return inventory.inventory(admin, tenant.project_id(admin))

    def outsider(self) -> str:
        """A network namespace that reaches the external network from an address that is not an operator's."""
        return network.outsider(self._root.name)

    def host_address(self) -> str:
        """This computer's address that machines can reach."""
        return self._state().host

    def port(self, name: str) -> int:
        """A free port for a process of others, chosen at the first call and kept."""
        with self._locked():
            state = self._state()
            if name not in state.ports:
                state.ports[name] = free_ports(1)[0]
                states.save(self._folder / "state.json", state)
            return state.port(name)

    def beside(self, name: str, command: Sequence[str], env: Mapping[str, str], code: Path, port: int) -> None:
        """Keep a process of others running beside the services, until the cloud goes down.

        It is started again when its command or its code has changed, and must answer on `port` of `host_address`.
        """
        with self._locked():
            record = self._folder / "run" / f"{name}.signature"
            signature = f"{list(command)} {hashlib.sha256(code.read_bytes()).hexdigest()}"
            if self._processes.pid(name):
                if record.exists() and record.read_text() == signature:
                    return
                self._processes.stop([name])
            self._processes.start(name, command, env)
            record.write_text(signature)
            self._processes.wait_port(name, port, timeout=30, host=self.host_address())

    # -- steps -------------------------------------------------------------------------------------------------

    @property
    def _stale_snapshot(self) -> Path:
        return self._folder / "snapshot.stale"

    def _check(self) -> None:
        if os.geteuid() != 0:
            raise CloudError("the local cloud needs root (namespaces, loop devices): run it with sudo")
        missing = daemons.missing_programs()
        if missing:
            raise CloudError(f"not installed: apt-get install {' '.join(missing)}, then try again")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One command at a time on one root."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        end = time.monotonic() + LOCK_WAIT
        with (self._folder / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise CloudError(
                            f"another command has worked on {self._root.path} for {LOCK_WAIT:.0f} s: end it, try again"
                        ) from None
                    time.sleep(0.2)
            yield

    def _timed(self, name: str, step: Callable[[], T]) -> T:
        begin = time.monotonic()
        result = step()
        self._seconds[name] = round(time.monotonic() - begin, 1)
        self._progress(f"{name} ready")
        return result

    def _state(self) -> State:
        state = states.load(self._folder / "state.json")
        if state is None:
            raise CloudError(f"there is no cloud in {self._root.path}: start one with `cloud up`")
        return state

    def _record(self) -> dict[str, Any]:
        try:
            found = json.loads((self._folder / "up.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _running(self) -> Settings:
        """Settings of the cloud that runs."""
        record, state = self._record(), self._state()
        if not record or not self._processes.pid("mariadb") or not self._processes.pid("nova"):
            raise CloudError(f"the cloud in {self._root.path} does not run: start it with `cloud up`")
        self._processes.env = machines.configure(self._folder)
        return Settings(state, packages.folder(), SitePlan.from_json(record["plan"]))

    def _settle(self) -> State:
        """End what a killed run has left, and choose or re-choose what other programs may have taken."""
        path = self._folder / "state.json"
        state = states.load(path)
        healthy = (
            self._processes.pid("mariadb")
            and network.exists(network.namespace(self._root.name))
            and Path("/sys/class/net", network.link(self._root.name)).exists()
        )
        if not healthy:
            if marked(str(self._folder)) or network.spaces(self._root.name):
                self._progress("cleaning up after an earlier run")
            self._halt()
            state = state or states.make(self._root.name)
            if any(listening(port) for port in state.ports.values()):
                state = states.new_ports(state)
            network.up(self._root.name, state)
        elif state is None:
            raise CloudError(
                f"{path} is lost while the cloud runs: end it with `cloud down`, then remove {self._folder}"
            )
        states.save(path, state)
        return state

    def _open_database(self, settings: Settings) -> None:
        """The server runs, with every schema."""
        port, password = settings.state.port("mariadb"), settings.state.passwords["database"]
        done = self._folder / "schemas.done"
        if not done.exists():
            self._processes.stop(["mariadb"])
            shutil.rmtree(self._database.data, ignore_errors=True)
            if schema.cached().exists():
                schema.unpack(self._folder)
            else:
                self._database.create()
                self._database.start(port)
                self._database.prepare(password)
                env = self._daemons.environment(settings)
                schema.migrate(self._folder, settings.venv, env, self._progress)
                self._processes.stop(["mariadb"])
                schema.keep(self._folder, self._database)
            done.touch()
        self._database.start(port)
        self._database.prepare(password)

    def _start(self, settings: Settings) -> None:
        """Every service and the agent run and answer."""
        network.outside_up(self._root.name, settings.plan.outsider_address)
        fresh = not (self._folder / "bootstrap.done").exists()
        if fresh or not self._processes.pid("keystone"):
            self._daemons.ready.unlink(missing_ok=True)
        self._daemons.start(settings)
        if fresh:
            env = self._daemons.environment(settings)
            schema.bootstrap(self._folder, settings.venv, settings.state, settings.plan, env)
            (self._folder / "bootstrap.done").touch()
        schema.catalogue(self._database, settings.state, settings.plan)
        self._daemons.ready.touch()
        self._daemons.wait(settings)

    def _seed(self, settings: Settings, archive: Path, again: bool = False) -> None:
        """What the plan names is there. The snapshot is taken only while no tenant has anything."""
        record = self._folder / "seeded"
        key = seed.content_key(settings.plan, archive)
        if not again and record.exists() and record.read_text() == key:
            return
        region = settings.plan.regions[0]
        seed.seed(
            lambda: tenant.admin(settings.state, region),
            settings,
            archive,
            self._database,
            self._folder,
            lambda connection: tenant.project(connection, settings.state),
        )
        tenant.clouds_yaml(self.clouds_yaml, settings.state, settings.plan)
        if record.exists() and not again:
            self._stale_snapshot.touch()
        else:
            self._database.snapshot()
            self._stale_snapshot.unlink(missing_ok=True)
        record.write_text(key)

    def _remove_machines(self) -> None:
        machines.remove(self._root.name, {**os.environ, **machines.configure(self._folder)})
        network.remove_machines(self._root.name)
        machines.release_loops(self._folder)
        for volume in (self._folder / "state/cinder/volumes").glob("*"):
            volume.unlink()
        shutil.rmtree(self._folder / "state/nova/instances", ignore_errors=True)

    def _halt(self) -> None:
        """End processes, machines, links, loop devices and mounts of this root, whatever is left of them."""
        # Nova first: it would take machines that stop for shut down by their users.
        self._processes.stop(["nova", "agent", *(name for name in SERVICES if name != "nova")])
        if (self._folder / "machines").exists() and shutil.which("podman"):
            with contextlib.suppress(CloudError):
                machines.stop(self._root.name, {**os.environ, **machines.configure(self._folder)})
        self._processes.stop(["mariadb"])
        self._processes.stop_all()
        network.down(self._root.name)
        machines.release_loops(self._folder)
        machines.unmount(self._folder)
