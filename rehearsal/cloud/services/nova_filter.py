"""Scheduler filter: a bare-metal host takes only a server whose scheduler hint names its reservation.

Blazar puts the hosts of a physical:host reservation into an aggregate named after it; the filter that looks at it is
part of sites' installations, not of Nova.
"""

from nova.scheduler import filters

BARE_METAL = "bm-"
OWNER = "blazar:owner"


class ReservationFilter(filters.BaseHostFilter):
    """Match the hint `reservation` with the host's aggregates and their owner."""

    run_filter_once_per_request = False

    def host_passes(self, host_state, spec_obj):
        """Whether the host may take the server."""
        reservation = spec_obj.get_scheduler_hint("reservation")
        if not reservation:
            return not host_state.host.startswith(BARE_METAL)
        return any(
            aggregate.name == reservation and aggregate.metadata.get(OWNER, spec_obj.project_id) == spec_obj.project_id
            for aggregate in host_state.aggregates
        )
