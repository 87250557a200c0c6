"""Cinder driver: a volume is a sparse file. The Nova driver attaches it through a loop device."""

import os
import subprocess

from cinder import interface
from cinder.volume import driver
from oslo_config import cfg

CONF = cfg.CONF
OPTS = [cfg.StrOpt("sparse_dir", default="$state_path/volumes")]
CONF.register_opts(OPTS)
CAPACITY_GB = 100000


@interface.volumedriver
class SparseDriver(driver.VolumeDriver):
    """Files named after the volume in `sparse_dir`; their size is the volume's, their blocks what was written."""

    VERSION = "1.0"

    def __init__(self, *args, **kwargs):
        """Register this driver's options."""
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTS)

    def _path(self, volume):
        return os.path.join(self.configuration.sparse_dir, volume["name"])

    def check_for_setup_error(self):
        """Make the folder."""
        os.makedirs(self.configuration.sparse_dir, mode=0o700, exist_ok=True)

    def create_volume(self, volume):
        """Make the file, of the volume's size in GiB."""
        with open(self._path(volume), "wb") as file:
            file.truncate(volume["size"] << 30)

    def delete_volume(self, volume):
        """Remove the file, and a loop device that a dead machine has left on it."""
        path = self._path(volume)
        if not os.path.exists(path):
            return
        found = subprocess.run(["losetup", "-j", path], stdout=subprocess.PIPE, text=True, check=False).stdout
        for line in found.splitlines():
            subprocess.run(["losetup", "-d", line.split(":")[0]], check=False)
        os.unlink(path)

    def extend_volume(self, volume, new_size):
        """Grow the file to `new_size` GiB."""
        os.truncate(self._path(volume), new_size << 30)

    def initialize_connection(self, volume, connector):  # noqa: ARG002  (Cinder's signature)
        """Tell the Nova driver where the file is."""
        return {"driver_volume_type": "sparse", "data": {"path": self._path(volume)}}

    def terminate_connection(self, volume, connector, **kwargs):
        """Nothing is held for a connection."""

    def ensure_export(self, context, volume):
        """Files need no export."""

    def create_export(self, context, volume, connector):
        """Files need no export."""

    def remove_export(self, context, volume):
        """Files need no export."""

    def _update_volume_stats(self):
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name"),
            "vendor_name": "leasehold",
            "driver_version": self.VERSION,
            "storage_protocol": "sparse",
            "total_capacity_gb": CAPACITY_GB,
            "free_capacity_gb": CAPACITY_GB,
            "reserved_percentage": 0,
            "thin_provisioning_support": True,
            "max_over_subscription_ratio": 100,
            "provisioned_capacity_gb": 0,
        }
