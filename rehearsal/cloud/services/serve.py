"""Runs one OpenStack service set in the foreground: python -m leasehold_services.serve NAME PORT ETC_DIR.

keystone, glance, placement, neutron: the WSGI module.  nova: API, conductor, scheduler and computes in one process.
cinder: API, scheduler, volume.  blazar: API and manager.  transport_url=fake:// is an in-memory bus, so everything
that talks over RPC must live in the same process.
"""

# ruff: noqa: PLC0415  (each service is patched before its first import, and only one is served)

import importlib
import os
import shlex
import signal
import socket
import sys
import time
import traceback

WSGI = {
    "keystone": "keystone.wsgi.api",
    "glance": "glance.wsgi.api",
    "placement": "placement.wsgi.api",
    "neutron": "neutron.wsgi.api",
}
WAIT = 180.0
POLICIES = ("neutron", "nova", "cinder", "blazar")


def settle(name):
    """Do once, before there are threads, what the services do lazily and without a lock at their first requests.

    Neutron answered 404 for what exists while its policy was half loaded, and 500 while its mappers were.
    """
    from sqlalchemy.orm import configure_mappers

    configure_mappers()
    if name in POLICIES:
        importlib.import_module(f"{name}.policy").init()


def wait_ready():
    """Wait until the catalogue is written and the services named in LEASEHOLD_WAIT_PORTS answer.

    Nova's compute registers with placement at start and tries again only a minute later.
    """
    end = time.monotonic() + WAIT
    marker = os.environ["LEASEHOLD_READY"]
    while not os.path.exists(marker) and time.monotonic() < end:
        time.sleep(0.05)
    for port in os.environ["LEASEHOLD_WAIT_PORTS"].split():
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.1)


def nova(etc):
    """Nova's API application, with conductor, scheduler and one compute service per host started beside it."""
    from nova import monkey_patch

    monkey_patch.patch(backend="threading")
    # The first file is the paste file.
    os.environ.update(OS_NOVA_CONFIG_DIR=etc, OS_NOVA_CONFIG_FILES=sys.prefix + "/etc/nova/api-paste.ini;nova.conf")
    import nova.conf
    import nova.virt
    import os_brick
    import os_vif
    from nova import service, utils
    from nova.api.openstack import wsgi_app
    from nova.compute import rpcapi as compute
    from nova.conductor import rpcapi as conductor
    from nova.scheduler import rpcapi as scheduler
    from oslo_privsep import priv_context

    nova.virt.__path__.append(os.path.dirname(__file__))  # compute_driver is looked up in nova.virt only
    app = wsgi_app.init_application("osapi_compute", "nova-api")
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    os_brick.setup(nova.conf.CONF)
    os_vif.initialize()
    wait_ready()
    for binary, topic in (("nova-conductor", conductor.RPC_TOPIC), ("nova-scheduler", scheduler.RPC_TOPIC)):
        service.Service.create(binary=binary, topic=topic).start()
    for host in os.environ["LEASEHOLD_HOSTS"].split():
        service.Service.create(
            host=host, binary="nova-compute", topic=compute.RPC_TOPIC, topic_alt=compute.RPC_TOPIC_ALT
        ).start()
    return app


def cinder(etc):
    """Cinder's API application, with its scheduler and volume service started beside it."""
    import eventlet

    eventlet.monkey_patch()
    from oslo_service import backend

    backend.init_backend(backend.BackendType.EVENTLET)
    sys.argv = ["cinder", "--config-file", etc + "/cinder.conf"]
    from cinder.wsgi import wsgi

    app = wsgi.initialize_application()
    import os_brick
    from cinder import service, utils
    from cinder.common import constants
    from oslo_config import cfg
    from oslo_privsep import priv_context

    conf = cfg.CONF
    priv_context.init(root_helper=shlex.split(utils.get_root_helper()))
    os_brick.setup(conf)
    # Heartbeats go to the row of the service started last (a class attribute), so that must be the volume service:
    # only its liveness is looked at.
    service.Service.create(binary=constants.SCHEDULER_BINARY).start()
    for name in conf.enabled_backends:
        conf.register_opt(cfg.StrOpt("backend_host"), group=name)
        service.Service.create(
            host=f"{conf.host}@{name}", service_name=name, binary=constants.VOLUME_BINARY, coordination=True
        ).start()
    return app


def blazar(etc):
    """Blazar's API application, with its manager started beside it."""
    from oslo_service import backend

    backend.init_backend(backend.BackendType.THREADING)
    import gettext

    gettext.install("blazar")
    sys.argv = ["blazar", "--config-file", etc + "/blazar.conf"]
    import blazar.cmd.api  # noqa: F401  (registers options)
    from blazar.api import app
    from blazar.manager import service
    from blazar.notification import notifier
    from blazar.utils import service as utils
    from oslo_config import cfg

    cfg.CONF(sys.argv[1:], project="blazar", prog="blazar-manager")
    utils.prepare_service(sys.argv)
    notifier.init()
    service.EVENT_INTERVAL = 1  # 10 s by default: how often lease starts and ends are looked at
    wait_ready()
    service.ManagerService().start()
    return app.VersionSelectorApplication()


def main():
    """Serve until SIGTERM. The workers hold no state outside the database, so the end is immediate."""
    name, port, etc = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    sys.argv = sys.argv[:1]
    for service in ("KEYSTONE", "GLANCE", "PLACEMENT", "NEUTRON"):
        os.environ[f"OS_{service}_CONFIG_DIR"] = etc
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = etc + "/keystone.conf"
    os.environ["OS_GLANCE_CONFIG_FILES"] = "glance-api.conf"
    os.environ["OS_NEUTRON_CONFIG_FILES"] = "neutron.conf;ml2_conf.ini"
    try:
        if name in WSGI:
            app = importlib.import_module(WSGI[name]).application
        else:
            app = {"nova": nova, "cinder": cinder, "blazar": blazar}[name](etc)
        settle(name)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # threads that were started already would keep it alive
    import waitress

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    waitress.serve(app, host="127.0.0.1", port=port, threads=8)


if __name__ == "__main__":
    main()
