"""Names that the parts of the rehearsed cluster agree on: images in the air-gap archive, and what runs in them.

The Kubernetes images have the names that k3s gives them, so that what refers to them need not know the rehearsal.
"""

PAUSE = "docker.io/rancher/mirrored-pause:3.6"
BUSYBOX = "docker.io/rancher/mirrored-library-busybox:1.37.0"
"""Debian's busybox with its C library, every applet linked in /bin, an /etc/passwd with root.

Its `wget -T` crashes (busybox 1.35); without -T it works."""
COREDNS = "docker.io/rancher/mirrored-coredns-coredns:1.15.0"
"""Entry point /coredns."""
LOCAL_PATH = "docker.io/rancher/local-path-provisioner:v0.0.30"
"""`local-path-provisioner` on PATH (/bin), no entry point."""
METRICS_SERVER = "docker.io/rancher/mirrored-metrics-server:v0.9.0"
"""Entry point /metrics-server; /tmp is there."""

GPU_STAND_IN = "docker.io/leasehold/gpu-stand-in:1"
"""One static program as entry point, /gpu-stand-in, with two commands:

`device-plugin --config-file=FILE`: registers nvidia.com/gpu with the kubelet (/var/lib/kubelet/device-plugins must be
mounted at the same path). One device for each GPU that nvidia-smi names, so the pod needs runtimeClassName nvidia, as
NVIDIA's own; without any it waits, as NVIDIA's does on a node without GPU. FILE is the configuration of NVIDIA's plugin
(YAML; `sharing.timeSlicing.{resources[].{name,replicas},renameByDefault,failRequestsGreaterThanOne}` is honoured); no
option, or an absent file: no sharing. A container gets NVIDIA_VISIBLE_DEVICES, the runtime does the rest.

`dcgm-exporter --address=:9400`: HTTP /metrics with a few DCGM_FI_* gauges for each GPU, and /health. NODE_NAME in the
environment becomes the label Hostname.
"""
CUDA_STAND_IN = "nvcr.io/nvidia/cuda:13.0.1-base-ubuntu24.04"
"""What the product's smoke Job runs in, under its upstream name: busybox's files. `nvidia-smi` is not in it: the
NVIDIA runtime has to bring it, as in the real image."""
