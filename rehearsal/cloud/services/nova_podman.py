"""Nova virt driver: an instance is a podman container that runs systemd, cloud-init and sshd.

Network: one bridge per Neutron network in the cloud's namespace and one named network namespace per instance, joined
by the container (--network ns:PATH), so the NICs keep MAC, address and order over every restart and podman's own
networks (and their check for equal CIDRs) play no part.
Metadata: the files Nova writes to a config drive, laid in cloud-init's ConfigDrive seed folder.
Volumes: a loop device on Cinder's sparse file, made visible in the container with mknod.
"""

# ruff: noqa: ARG002, PLR0917  (the signatures are Nova's)

import glob
import json
import os
import shutil
import subprocess
import threading
import time
import typing
import uuid

import nova.conf
import nova.virt.node
from leasehold_services import guest
from leasehold_services import host as tools
from leasehold_services.host import CLOUD, NETNS, PREFIX, loops_of, sh
from nova import exception
from nova.api.metadata import base as instance_metadata
from nova.compute import power_state
from nova.image import glance
from nova.virt import fake, hardware
from oslo_log import log as logging

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)
BARE_METAL = "bm-"
# The host's limits may be lower than podman's defaults, which it then cannot set.
LIMITS = ("nofile=20000:20000", "nproc=20000:20000")
GUEST_REBOOT = 129  # systemd as PID 1: 129 after a reboot, 130 after a poweroff
REMOVALS = 12
STOP_SECONDS = 10
_image_lock = threading.Lock()


def name_of(instance):
    """Name of an instance's container and namespace."""
    return PREFIX + instance.uuid


def node_uuid(host):
    """The compute node's id: fixed per host name, as Nova wants to find the same one at every start."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, host))


def _remove(name):
    """Remove a container. One that is full of pods takes longer to die than podman waits, which is 10 s."""
    for attempt in range(REMOVALS):
        try:
            sh("podman", "rm", "-f", "-v", "-t", 0, "--ignore", name)
            return
        except exception.NovaException as error:
            if "did not die" not in str(error) or attempt == REMOVALS - 1:
                raise


class PodmanDriver(fake.FakeDriverWithoutFakeNodes):
    """One host. The general one offers a large capacity, a bare-metal one exactly one machine."""

    capabilities: typing.ClassVar = dict(
        fake.FakeDriver.capabilities,
        supports_multiattach=False,
        supports_migrate_to_same_host=False,
        supports_evacuate=False,
        has_imagecache=False,
    )
    vcpus, memory_mb, local_gb = 256, 1 << 20, 100000

    def __init__(self, virtapi, read_only=False):
        """Nova says which host it is in `init_host`."""
        super().__init__(virtapi, read_only)
        self.host = CONF.host

    # -- the host ----------------------------------------------------------------------------------------------

    def init_host(self, host):
        """Take the host's name, and watch for machines that reboot themselves."""
        super().init_host(host)
        self.host = host
        self.host_status_base["hypervisor_hostname"] = host
        if host.startswith(BARE_METAL):
            self.vcpus, self.memory_mb, self.local_gb = 1, 1024, 20
            self.resources = fake.Resources(vcpus=1, memory_mb=1024, local_gb=20)
        threading.Thread(target=self._restart_rebooted, daemon=True).start()

    def get_available_resource(self, nodename):
        """Capacity, under the host's own node id."""
        resources = fake.FakeDriver.get_available_resource(self, nodename)
        resources["uuid"] = node_uuid(self.host)
        return resources

    def get_nodenames_by_uuid(self, refresh=False):
        """One node per host."""
        return {node_uuid(self.host): self.host}

    def get_host_uptime(self):
        """Blazar asks for it when it takes up a host."""
        return sh("uptime")

    # -- inventory of what runs --------------------------------------------------------------------------------

    def _ps(self):
        out = sh("podman", "ps", "-a", "--filter", f"label=leasehold-host={PREFIX}{self.host}", "--format", "json")
        return {c["Labels"]["uuid"]: c for c in json.loads(out or "[]")}

    def list_instance_uuids(self):
        """Instances that have a container."""
        return list(self._ps())

    def list_instances(self):
        """Nova's names of the same."""
        return [c["Labels"]["nova-name"] for c in self._ps().values()]

    def instance_exists(self, instance):
        """Whether it has a container."""
        return instance.uuid in self._ps()

    def get_info(self, instance, use_cache=True):
        """Running, or shut down. A machine that is rebooting itself counts as running."""
        container = self._ps().get(instance.uuid)
        if not container:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        running = container["State"] == "running" or container["ExitCode"] == GUEST_REBOOT
        return hardware.InstanceInfo(state=power_state.RUNNING if running else power_state.SHUTDOWN)

    def _restart_rebooted(self):
        while True:
            time.sleep(2)
            try:
                if not glob.glob(self._dir("*")):
                    continue
                for instance, container in self._ps().items():
                    if container["State"] == "exited" and container["ExitCode"] == GUEST_REBOOT:
                        self._start(instance)
            except Exception as error:
                LOG.warning("watching for guest reboots: %s", error)

    def _start(self, instance):
        disks = []
        for link in sorted(glob.glob(self._dir(instance, "dev", "*"))):  # /dev is new at every start
            path = os.readlink(link)
            disks.append((*self._numbers(path), "/dev/" + os.path.basename(link), self._by_id(path)))
        guest.write_devices(self._dir(instance, "machine"), disks)
        sh("podman", "start", PREFIX + instance)

    @staticmethod
    def _dir(instance, *more):
        return os.path.join(CONF.state_path, "instances", instance, *more)

    def get_console_output(self, context, instance):
        """The last lines of the console."""
        return subprocess.run(
            ["podman", "logs", "--tail", "2000", name_of(instance)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        ).stdout

    # -- image -------------------------------------------------------------------------------------------------

    def _image(self, context, instance):
        """The podman image with the content of the Glance image: imported once per content, not per image id."""
        service = glance.get_default_image_service()
        checksum = service.show(context, instance.image_ref)["checksum"]
        tag = f"localhost/leasehold/machine:{checksum}"
        with _image_lock:
            if subprocess.run(["podman", "image", "exists", tag], check=False).returncode:
                archive = os.path.join(CONF.state_path, f"image-{checksum}")
                service.download(context, instance.image_ref, dst_path=archive)
                try:
                    sh("podman", "import", archive, tag)
                finally:
                    os.unlink(archive)
        return tag

    # -- network -----------------------------------------------------------------------------------------------

    def plug_vifs(self, instance, network_info):
        """Make the instance's namespace and its NICs; nothing happens where they are there already."""
        ns = name_of(instance)
        if not os.path.exists(NETNS + ns):
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        for index, vif in enumerate(network_info or []):
            tools.plug(name_of(instance), vif, index)

    def unplug_vifs(self, instance, network_info):
        """Remove the namespace: the NICs go with it."""
        for vif in network_info or []:
            sh("ip", "-n", CLOUD, "link", "del", "tap" + vif["id"][:11], check=False)
        sh("ip", "netns", "del", name_of(instance), check=False)

    def attach_interface(self, context, instance, image_meta, vif):
        """Plug one more NIC, after the last one."""
        links = json.loads(sh("ip", "-n", name_of(instance), "-j", "link"))
        tools.plug(name_of(instance), vif, sum(link["ifname"].startswith("ens") for link in links))

    def detach_interface(self, context, instance, vif):
        """Unplug one NIC."""
        sh("ip", "-n", CLOUD, "link", "del", "tap" + vif["id"][:11], check=False)

    # -- life cycle --------------------------------------------------------------------------------------------

    def _seed(self, instance, network_info, files):
        seed = self._dir(instance.uuid, "seed")
        metadata = instance_metadata.InstanceMetadata(instance, content=files, network_info=network_info)
        for path, data in metadata.metadata_for_config_drive():
            target = os.path.join(seed, path)
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            with open(target, "wb") as file:
                file.write(data if isinstance(data, bytes) else data.encode())
        return seed

    def spawn(
        self,
        context,
        instance,
        image_meta,
        injected_files,
        admin_password,
        allocations,
        network_info=None,
        block_device_info=None,
        power_on=True,
        accel_info=None,
    ):
        """Make the container and start it."""
        image = self._image(context, instance)
        self.plug_vifs(instance, network_info)
        seed = self._seed(instance, network_info, injected_files)
        name = name_of(instance)
        for mapping in (block_device_info or {}).get("block_device_mapping", []):
            self._link_device(instance.uuid, mapping["mount_device"], mapping["connection_info"]["data"]["path"])
        sh("podman", "rm", "-f", "-v", "-t", 0, "--ignore", name)
        args = ["podman", "create", "--name", name, "--hostname", instance.hostname, "-t"]
        for key, value in (
            ("leasehold", CLOUD),
            ("leasehold-host", PREFIX + self.host),
            ("uuid", instance.uuid),
            ("nova-name", instance.name),
            ("display-name", instance.display_name or ""),
        ):
            args += ["--label", f"{key}={value}"]
        args += ["--network", "ns:" + NETNS + name, "--privileged", "--systemd=always", "--cgroupns=private"]
        args += ["--pids-limit", "-1"]  # podman's own limit is too low for a machine with pods
        args += ["--stop-signal", "SIGRTMIN+3", "--tmpfs", "/run", "--tmpfs", "/tmp", "--no-hosts"]  # noqa: S108
        args += [
            "--dns",
            os.environ["LEASEHOLD_HOST_ADDRESS"],
        ]  # nothing answers there: look-ups fail at once
        args += ["-v", seed + ":/var/lib/cloud/seed/config_drive:ro"]
        args += guest.prepare(
            self._dir(instance.uuid, "machine"), guest.gpus(instance.flavor, self.host), image_meta.name
        )
        if os.path.isdir("/lib/modules/" + os.uname().release):
            args += ["-v", "/lib/modules:/lib/modules:ro"]
        for volume in ("/var/lib/rancher", "/var/lib/containerd", "/var/lib/kubelet"):
            args += ["-v", volume]  # overlayfs cannot lie on overlayfs
        for limit in LIMITS:
            args += ["--ulimit", limit]
        sh(*args, image, "/bin/sh", f"{guest.INSIDE}/machine-init")
        if power_on:
            self.power_on(context, instance, network_info, block_device_info)

    def power_on(self, context, instance, network_info, block_device_info=None, accel_info=None, share_info=None):
        """Start the container, with its NICs (they are gone after the host or the cloud was down) and volumes."""
        self.plug_vifs(instance, network_info)
        self._start(instance.uuid)

    def power_off(self, instance, timeout=0, retry_interval=0):
        """Stop the container; what does not end within seconds is killed."""
        sh("podman", "stop", "-t", min(timeout or STOP_SECONDS, STOP_SECONDS), name_of(instance))

    def reboot(
        self,
        context,
        instance,
        network_info,
        reboot_type,
        block_device_info=None,
        bad_volumes_callback=None,
        accel_info=None,
        share_info=None,
    ):
        """Stop and start: SOFT waits for the machine's own shutdown."""
        self.power_off(instance, STOP_SECONDS if reboot_type == "SOFT" else 1)
        self.power_on(context, instance, network_info, block_device_info)

    def resume_state_on_host_boot(self, context, instance, network_info, share_info=None, block_device_info=None):
        """Start what ran when the cloud went down."""
        self.power_on(context, instance, network_info, block_device_info)

    def destroy(
        self,
        context,
        instance,
        network_info,
        block_device_info=None,
        destroy_disks=True,
        destroy_secrets=True,
    ):
        """Remove the container, let go of its volumes, and clean up."""
        _remove(name_of(instance))
        for mapping in (block_device_info or {}).get("block_device_mapping", []):
            self.detach_volume(context, mapping["connection_info"], instance, mapping["mount_device"])
        self.cleanup(context, instance, network_info, destroy_disks=destroy_disks)

    def cleanup(
        self,
        context,
        instance,
        network_info,
        block_device_info=None,
        destroy_disks=True,
        migrate_data=None,
        destroy_vifs=True,
        destroy_secrets=True,
    ):
        """Remove namespace and files."""
        self.unplug_vifs(instance, network_info)
        shutil.rmtree(self._dir(instance.uuid), ignore_errors=True)

    # -- volumes -----------------------------------------------------------------------------------------------

    def get_volume_connector(self, instance):
        """What Cinder is told about this end."""
        return {"ip": CONF.my_ip, "host": self.host, "initiator": "local"}

    def default_root_device_name(self, instance, image_meta, root_bdm):
        """Nova's own default is sda1, after which the first volume would be sdb."""
        return "/dev/vda"

    def _link_device(self, instance, device, path):
        os.makedirs(self._dir(instance, "dev"), mode=0o700, exist_ok=True)
        link = self._dir(instance, "dev", os.path.basename(device))
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(path, link)

    def attach_volume(
        self,
        context,
        connection_info,
        instance,
        mountpoint,
        disk_bus=None,
        device_type=None,
        encryption=None,
    ):
        """Remember the device, and show it to a machine that runs."""
        path = connection_info["data"]["path"]
        self._link_device(instance.uuid, mountpoint, path)
        if self.get_info(instance).state == power_state.RUNNING:
            self._make_device(instance.uuid, mountpoint, path)

    @staticmethod
    def _by_id(path):
        return "/dev/disk/by-id/virtio-" + os.path.basename(path)[len("volume-") :][:20]

    @staticmethod
    def _numbers(path):
        loop = (loops_of(path) or [sh("losetup", "-f", "--show", path).strip()])[0]
        number = os.stat(loop).st_rdev
        return os.major(number), os.minor(number)

    def _make_device(self, instance, device, path):
        script = (
            'rm -f "$1"; mknod -m 660 "$1" b $2 $3 && chgrp disk "$1" && mkdir -p /dev/disk/by-id && ln -sfn "$1" "$4"'
        )
        sh(
            *("podman", "exec", PREFIX + instance, "sh", "-c", script, "sh"),
            *(device, *self._numbers(path), self._by_id(path)),
        )

    def detach_volume(self, context, connection_info, instance, mountpoint, encryption=None):
        """Take the device away. One that is still mounted inside stays until it is unmounted."""
        path = connection_info["data"]["path"]
        link = self._dir(instance.uuid, "dev", os.path.basename(mountpoint))
        if os.path.lexists(link):
            os.unlink(link)
        sh("podman", "exec", name_of(instance), "rm", "-f", mountpoint, self._by_id(path), check=False)
        for loop in loops_of(path):
            sh("losetup", "-d", loop, check=False)

    def extend_volume(self, context, connection_info, instance, requested_size):
        """Show the new size."""
        for loop in loops_of(connection_info["data"]["path"]):
            sh("losetup", "-c", loop)
