"""ML2 mechanism driver: binds every port at once, on any host; the Nova driver and the agent do the wiring."""

from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class LocalMechanism(api.MechanismDriver):
    """Ports are ACTIVE as soon as they are bound: there is no agent to wait for."""

    def initialize(self):
        """Nothing to prepare."""

    def bind_port(self, context):
        """Bind to the first segment. The agent filters packets, so Nova need not."""
        segment = context.segments_to_bind[0]
        context.set_binding(
            segment[api.ID], portbindings.VIF_TYPE_OVS, {portbindings.CAP_PORT_FILTER: True}, status="ACTIVE"
        )
