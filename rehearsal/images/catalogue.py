"""The recipe of every image that the platform runs, by its name and tag.

A program that upstream has in a bare image is alone in ours too. Where upstream's image has a shell, ours has the
Debian below it, under an entry point that reads its arguments in the same way.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import versions
from config.fields import IMAGE
from rehearsal.images import wheels
from rehearsal.images.debian import PYTHON, Packages
from rehearsal.images.oci import Start
from rehearsal.images.recipe import Recipe
from rehearsal.kubernetes import programs
from rehearsal.kubernetes.build import Binary
from rehearsal.kubernetes.tars import Entries, File, Folder, Link
from rehearsal.paths import PROJECT

TOOLS = "docker.io/leasehold/tools:1"
"""For the stand-ins' programs: `python3` (3.11) with the packages of tools.lock, curl and openssl; no entry point."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VENV_PATH = f"/{wheels.FOLDER}/bin:{PATH}"
ROOT = "srv"
"""Folder of the stand-ins' programs in an image, on Python's path."""
POSTGRES_VERSION = "15"
"""Debian's major version, whatever the name says."""
POSTGRES_USER = 26
"""The user's number in CloudNativePG's images."""
# Only long queries are compiled, and the compiler is larger than all else; without this file PostgreSQL does without.
JIT = ("usr/lib/x86_64-linux-gnu/libLLVM*", "usr/lib/llvm-*", f"usr/lib/postgresql/{POSTGRES_VERSION}/lib/llvmjit*")
CERT_MANAGER_PARTS = ("controller", "webhook", "cainjector", "startupapicheck")
"""Parts of cert-manager that are one program of ours around its library, by the name that it is started under."""
ARGO_CD_PARTS = (
    *("argocd-server", "argocd-repo-server", "argocd-application-controller"),
    *("argocd-applicationset-controller", "argocd-notifications"),
)
STOOD_IN = (
    *versions.CERT_MANAGER_IMAGES[len(CERT_MANAGER_PARTS) :],
    *(versions.CNPG_OPERATOR, versions.BARMAN_PLUGIN, versions.BARMAN_SIDECAR, versions.ARGO_EVENTS),
    *(versions.KUBE_STATE_METRICS, versions.GRAFANA, versions.SEAWEEDFS),
)
"""Images whose software cannot be had: the chart's stand-in brings a program of its own."""
POSTGRES = Packages(
    (f"postgresql-{POSTGRES_VERSION}",),
    "mkdir -p /etc/postgresql-common\necho 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf",
    f"usermod -u {POSTGRES_USER} postgres\nchown -R postgres:postgres /var/lib/postgresql /run/postgresql",
    # The key that ssl-cert makes would be the same on every computer that has the image.
    (*JIT, f"usr/lib/postgresql/{POSTGRES_VERSION}/lib/bitcode", "etc/ssl/private/*", "etc/ssl/certs/ssl-cert-*"),
)
REDIS = Packages(("redis-server",))
# newuidmap gives a user who is not root the numbers of users that a build's files belong to; runc runs its commands.
# Debian's is built without libcap: as root's it needs the right to administer the system, which no pod should have.
ROOTLESS = Packages(
    ("libcap2-bin", "rootlesskit", "runc", "uidmap"),
    after="""chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap
setcap cap_setuid+ep /usr/bin/newuidmap
setcap cap_setgid+ep /usr/bin/newgidmap
useradd -u 1000 -m -s /bin/sh user
mkdir -p /home/user/.local/tmp /home/user/.local/share/buildkit /run/user/1000
chown -R user:user /home/user /run/user/1000
echo user:100000:65536 > /etc/subuid
echo user:100000:65536 > /etc/subgid
ln -s /usr/sbin/runc /usr/bin/buildkit-runc""",
)
GIT = Packages(("git",))
REGISTRY_COMMAND = ("serve", "/etc/distribution/config.yml")


def _built(program: Binary) -> str:
    """What is to be said of a program: the version that its linker was told, whatever the image's tag says."""
    told = [value for name, value in program.variables.items() if name.lower().endswith("version")]
    return " ".join([program.name, *told[:1], "built from its Go module"])


def _alone(path: str, program: Binary, *, user: str = "65532", folder: str = "") -> Recipe:
    """A static program as upstream's bare image has it: at a path, as entry point, not as root."""
    files = {folder.removeprefix("/"): Folder(0o1777)} if folder else {}
    start = Start((f"/{path}",), environment={"PATH": PATH}, user=user, folder=folder)
    return Recipe("real", _built(program), start, programs={path: program}, files=files)


def _with_shell(path: str, program: Binary, words: str, command: tuple[str, ...] = ()) -> Recipe:
    """A program beside a shell. Arguments of the pattern `words` are the program's; others are a command."""
    files = {"entrypoint.sh": File(_entrypoint(path.rpartition("/")[2], words))}
    start = Start(("/entrypoint.sh",), command, {"PATH": PATH})
    return Recipe("real", _built(program), start, base=True, programs={path: program}, files=files)


def _entrypoint(program: str, words: str) -> str:
    return f'#!/bin/sh\ncase ${{1-}} in {words}) set -- {program} "$@" ;; esac\nexec "$@"\n'


def _own_programs() -> Entries:
    """The stand-ins' programs, as modules below ROOT. Their text is in the key of the layer, so it is read here."""
    files = sorted((PROJECT / "rehearsal" / "programs").rglob("*.py"))
    return {f"{ROOT}/{file.relative_to(PROJECT)}": File(file.read_text(), 0o644) for file in files}


def _tools(instead: str) -> Recipe:
    """What a chart's stand-in runs its program in, under the name that upstream's image has."""
    start = Start((), ("python3",), {"PATH": VENV_PATH, "PYTHONPATH": f"/{ROOT}"})
    return Recipe("stand-in", f"Python, for {instead}", start, base=True, lock="tools", files=_own_programs())


def _started_as(programs: Mapping[str, str], instead: str, *entry: str, packages: Packages | None = None) -> Recipe:
    """The same, with programs of ours under the names by which upstream's are started."""
    named = {
        f"usr/local/bin/{name}": File(f'#!/bin/sh\nexec python3 -m rehearsal.programs.{module} "$@"\n')
        for name, module in programs.items()
    }
    start = Start(entry, ("python3",), {"PATH": VENV_PATH, "PYTHONPATH": f"/{ROOT}"})
    files = {**_own_programs(), **named}
    return Recipe("stand-in", instead, start, base=True, packages=packages, lock="tools", files=files)


def _argo() -> dict[str, Recipe]:
    """Small programs for Argo CD and Argo Workflows, which are started as theirs are."""
    controller, executor, server = (image.tagged for image in versions.ARGO_WORKFLOWS_IMAGES)
    parts = {name: f"argo.cd {name}" for name in ARGO_CD_PARTS}
    return {
        controller: _started_as({"workflow-controller": "argo.controller"}, "runs the steps of workflows, in Python"),
        executor: _started_as({"argoexec": "argo.executor"}, "tells what a step left, in Python"),
        server: _started_as({"argo": "argo.server"}, "API of workflows, in Python", "argo"),
        versions.ARGO_CD.tagged: _started_as(parts, "applies what Git says, in Python", packages=GIT),
    }


def _postgres() -> Recipe:
    path = f"/usr/lib/postgresql/{POSTGRES_VERSION}/bin:{VENV_PATH}"
    environment = {"PATH": path, "LANG": "C.UTF-8", "PGDATA": "/var/lib/postgresql/data", "PYTHONPATH": f"/{ROOT}"}
    start = Start((), ("postgres",), environment, str(POSTGRES_USER))
    what = f"PostgreSQL {POSTGRES_VERSION} of Debian, without its compiler of queries"
    return Recipe("real", what, start, base=True, packages=POSTGRES, lock="tools", files=_own_programs())


def _pypi(package: str, title: str) -> Recipe:
    """What upstream's image has of PyPI: a package, and what its lock file of that name has beside it."""
    start = Start((), ("python3",), {"PATH": VENV_PATH, "LANG": "C.UTF-8"})
    return Recipe("real", f"{title} {wheels.version(package, package)} of PyPI", start, base=True, lock=package)


def _redis() -> Recipe:
    script = File(_entrypoint("redis-server", "-*|*.conf"))
    start = Start(("/entrypoint.sh",), ("redis-server",), {"PATH": PATH}, "999", "/data")
    files: Entries = {"entrypoint.sh": script, "data": Folder(0o1777)}
    return Recipe("real", "Redis 7.0 of Debian", start, base=True, packages=REDIS, files=files)


def _python(packages: Packages | None = None) -> Recipe:
    links = {f"usr/local/bin/{name}": Link("/usr/bin/python3") for name in ("python", "python3")}
    start = Start((), ("python3",), {"PATH": PATH})
    return Recipe("real", f"Python {PYTHON} of Debian", start, base=True, packages=packages, files=links)


def _buildkit() -> Recipe:
    """The daemon of builds, started as upstream's image for users that are not root."""
    home = "/home/user"
    environment = {
        "PATH": PATH,
        "HOME": home,
        "USER": "user",
        "XDG_RUNTIME_DIR": "/run/user/1000",
        "TMPDIR": f"{home}/.local/tmp",
        "BUILDKIT_HOST": "unix:///run/user/1000/buildkit/buildkitd.sock",
    }
    built = {f"usr/bin/{program.name}": program for program in programs.BUILDKIT}
    what = f"{_built(programs.BUILDKIT[0])}, with rootlesskit and runc of Debian"
    start = Start(("rootlesskit", "buildkitd"), (), environment, "1000:1000")
    return Recipe("real", what, start, base=True, packages=ROOTLESS, programs=built)


def _scanner() -> Recipe:
    """Debian's Python is enough for it; BuildKit starts its entry point, and no shell."""
    program = File((PROJECT / "rehearsal" / "programs" / "scanner.py").read_text(), 0o644)
    start = Start(("python3", f"/{ROOT}/scanner.py"), (), {"PATH": PATH})
    what = "lists packages of Debian and Python, for Syft"
    return Recipe("stand-in", what, start, base=True, files={f"{ROOT}/scanner.py": program})


def _programs() -> dict[str, Recipe]:
    """Images of one program, built from its Go module."""
    nobody = "65534"
    serving = "serve|garbage-collect|help|-*"
    return {
        versions.REGISTRY.tagged: _with_shell("usr/bin/registry", programs.REGISTRY, serving, REGISTRY_COMMAND),
        versions.MINIO.tagged: _with_shell("usr/bin/minio", programs.MINIO, "server|-*"),
        versions.TRAEFIK.tagged: _with_shell("usr/local/bin/traefik", programs.TRAEFIK, "-*", ("traefik",)),
        versions.OAUTH2_PROXY.tagged: _alone("bin/oauth2-proxy", programs.OAUTH2_PROXY),
        **{
            image.tagged: _alone(f"app/cmd/{part}/{part}", programs.CERT_MANAGER, user="1000")
            for part, image in zip(CERT_MANAGER_PARTS, versions.CERT_MANAGER_IMAGES, strict=False)
        },
        versions.NATS.tagged: _alone("nats-server", programs.NATS, user="1000"),
        versions.PROMETHEUS.tagged: _alone("bin/prometheus", programs.PROMETHEUS),
        versions.ALERTMANAGER.tagged: _alone(
            "bin/alertmanager", programs.ALERTMANAGER, user=nobody, folder="/alertmanager"
        ),
        versions.NODE_EXPORTER.tagged: _alone("bin/node_exporter", programs.NODE_EXPORTER, user=nobody),
        versions.PROMETHEUS_OPERATOR.tagged: _alone("bin/operator", programs.PROMETHEUS_OPERATOR),
        versions.CONFIG_RELOADER.tagged: _alone("bin/prometheus-config-reloader", programs.CONFIG_RELOADER),
    }


def _extras(tree: Mapping[str, Any]) -> dict[str, Recipe]:
    """Images of the applications' parts that are off by default; of a file that is wrong, what can be told."""
    apps = tree.get("apps")
    given = {key: part for key, part in apps.items() if isinstance(part, dict)} if isinstance(apps, dict) else {}
    wanted = {
        "load_test": (versions.LOCUST.tagged, "locust", "Locust"),
        "exploration": (given.get("exploration", {}).get("image"), "streamlit", "Streamlit"),
        # An image that has more than Ray cannot be had: trainings find no packages of their own in this one.
        "ray": (given.get("ray", {}).get("image") or versions.RAY.tagged, "ray", "Ray"),
    }
    named = {str(name): made for part, (name, *made) in wanted.items() if part in given}
    return {name: _pypi(*made) for name, made in named.items() if IMAGE.fullmatch(name)}


def recipes(tree: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Recipe]:
    """Name and tag of an image to what it is made of here; those that few environments run only for those that do."""
    return {
        TOOLS: _tools("the stand-ins' own Jobs"),
        versions.POSTGRES.tagged: _postgres(),
        versions.MLFLOW.tagged: _pypi("mlflow", "MLflow"),
        versions.REDIS.tagged: _redis(),
        versions.PYTHON.tagged: _python(),
        versions.BUILDKIT.tagged: _buildkit(),
        versions.SBOM_SCANNER.tagged: _scanner(),
        versions.PYTHON_GIT.tagged: _python(GIT),
        **_programs(),
        **_argo(),
        **{image.tagged: _tools("the chart's stand-in to run its program in") for image in STOOD_IN},
        **_extras(tree),
    }
