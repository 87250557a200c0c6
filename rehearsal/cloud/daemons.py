"""The services' configuration files and processes."""

import hashlib
import os
import shutil
import string
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearsal.cloud import machines, network
from rehearsal.cloud.plan import SitePlan
from rehearsal.cloud.process import Processes
from rehearsal.cloud.state import SERVICES, State, write_private

HERE = Path(__file__).resolve().parent
HOST = "local-1"
NODE_ID = "6f1a3c52-0f0e-4d6c-9d5e-6b8f6a1d4c11"  # Nova refuses a second start without an identity file
FOLDERS = (
    *("etc", "log", "run", "state/nova", "state/neutron", "state/cinder/volumes", "state/glance/images"),
    *("state/glance/staging", "state/glance/tasks", "keys/fernet", "keys/credential", "python"),
)
CONFIGS: Mapping[str, tuple[str, ...]] = {
    "keystone": ("keystone.conf",),
    "placement": ("placement.conf",),
    "glance": ("glance-api.conf",),
    "neutron": ("neutron.conf", "ml2_conf.ini"),
    "nova": ("nova.conf",),
    "cinder": ("cinder.conf",),
    "blazar": ("blazar.conf",),
}
ENTRY_POINTS = "[neutron.ml2.mechanism_drivers]\nleasehold = leasehold_services.neutron_mechanism:LocalMechanism\n"


@dataclass(frozen=True)
class Settings:
    """What the configuration depends on beside the root."""

    state: State
    venv: Path
    plan: SitePlan
    trusts: bool = True
    """Whether Keystone lets an application credential make the trust that Blazar needs for a lease."""

    @property
    def hosts(self) -> list[str]:
        """Names of the compute hosts."""
        return [HOST, *(f"zone-{zone}" for zone in self.plan.zones), *(host.name for host in self.plan.metal_hosts)]


def login(state: State, region: str) -> dict[str, str]:
    """How services and administrators authenticate."""
    return {
        "auth_type": "password",
        "auth_url": state.keystone,
        "username": "admin",
        "password": state.passwords["admin"],
        "project_name": "admin",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "region_name": region,
    }


class Daemons:
    """The service processes of one cloud."""

    def __init__(self, folder: Path, name: str, processes: Processes) -> None:
        """`name` is the root's name, from which host-wide names are made."""
        self._folder = folder
        self._name = name
        self._processes = processes

    @property
    def ready(self) -> Path:
        """Exists once the catalogue is written: what needs it waits for this file."""
        return self._folder / "run" / "ready"

    def render(self, settings: Settings) -> None:
        """Write every configuration file, readable by the owner only."""
        for folder in FOLDERS:
            (self._folder / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        state, region = settings.state, settings.plan.regions[0]
        auth = login(state, region)
        values = {
            "root": str(self._folder),
            "venv": str(settings.venv),
            "host": HOST,
            "keystone": state.keystone,
            "database": f"mysql+pymysql://os:{state.passwords['database']}@127.0.0.1:{state.port('mariadb')}",
            "auth": "\n".join(f"{key}={value}" for key, value in auth.items()),
            "username": auth["username"],
            "password": auth["password"],
            "region": region,
            "keystone_port": str(state.port("keystone")),
            "blazar_port": str(state.port("blazar")),
            "trusts": str(settings.trusts).lower(),
        }
        for template in sorted((HERE / "etc").iterdir()):
            write_private(
                self._folder / "etc" / template.name, string.Template(template.read_text()).substitute(values)
            )
        write_private(self._folder / "state/nova/compute_id", NODE_ID)
        package = self._folder / "python" / "leasehold_services"
        package.unlink(missing_ok=True)
        package.symlink_to(HERE / "services")
        info = self._folder / "python" / "leasehold_services-1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leasehold-services\nVersion: 1\n")
        (info / "entry_points.txt").write_text(ENTRY_POINTS)

    def environment(self, settings: Settings) -> dict[str, str]:
        """What the processes find in their environment. No secret: others may read it through a child."""
        state = settings.state
        return {
            "PATH": f"{settings.venv}/bin:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}",
            "PYTHONPATH": str(self._folder / "python"),
            "PYTHONDONTWRITEBYTECODE": "",  # compiling the services at every start would take longer than their start
            "OS_PLACEMENT_CONFIG_DIR": str(self._folder / "etc"),
            "LEASEHOLD_NAMESPACE": network.namespace(self._name),
            "LEASEHOLD_HOSTS": " ".join(settings.hosts),
            "LEASEHOLD_GPU_HOSTS": " ".join(host.name for host in settings.plan.metal_hosts if host.gpu),
            "LEASEHOLD_HOST_ADDRESS": state.host,
            "LEASEHOLD_OPERATOR_ADDRESS": settings.plan.operator_address or state.host,
            "LEASEHOLD_SOCKET": str(self._folder / "run" / "mysql.sock"),
            "LEASEHOLD_READY": str(self.ready),
            "LEASEHOLD_WAIT_PORTS": f"{state.port('keystone')} {state.port('placement')}",
        }

    def _signature(self, name: str, env: Mapping[str, str]) -> str:
        """Changes when the process must be started again to follow its configuration."""
        files = [(self._folder / "etc" / file).read_text() for file in CONFIGS.get(name, ())]
        files += [path.read_text() for path in sorted((HERE / "services").glob("*.py"))]
        return hashlib.sha256("\0".join([*files, *map(str, sorted(env.items()))]).encode()).hexdigest()

    def start(self, settings: Settings, names: Sequence[str] = (*SERVICES, "agent")) -> list[str]:
        """Start those that do not run, or run with an older configuration; returns their names."""
        started = []
        python = str(settings.venv / "bin" / "python")
        env = self.environment(settings)
        for name in names:
            record = self._folder / "run" / f"{name}.signature"
            signature = self._signature(name, env)
            if self._processes.pid(name):
                if record.exists() and record.read_text() == signature:
                    continue
                self._processes.stop([name])
            if name == "agent":
                space = network.namespace(self._name)
                args = ["ip", "netns", "exec", space, python, "-m", "leasehold_services.agent"]
            else:
                port = str(settings.state.port(name))
                args = [python, "-m", "leasehold_services.serve", name, port, str(self._folder / "etc")]
            self._processes.start(name, args, env)
            record.write_text(signature)
            started.append(name)
        return started

    def wait(self, settings: Settings, names: Sequence[str] = SERVICES) -> None:
        """Wait until each answers."""
        for name in sorted(names, key=lambda n: n in ("nova", "cinder")):
            self._processes.wait_port(name, settings.state.port(name))


def missing_programs() -> list[str]:
    """Debian packages that are needed and not there."""
    needed: Mapping[str, str] = {
        "ip": "iproute2",
        "nft": "nftables",
        "podman": "podman",
        "mariadb": "mariadb-client",
        "losetup": "util-linux",
        "zstd": "zstd",
        "tar": "tar",
    }
    if machines.legacy_runtime():
        needed = {**needed, "runc": "runc"}
    missing = [package for program, package in needed.items() if not shutil.which(program)]
    if not shutil.which("mariadbd") and not Path("/usr/sbin/mariadbd").exists():
        missing.append("mariadb-server")
    if sys.platform != "linux":
        missing.append("linux")
    return missing
