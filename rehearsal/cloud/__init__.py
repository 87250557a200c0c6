"""The local cloud: real OpenStack services, as plain processes on one computer, seeded for one environment file."""

from rehearsal.cloud.cloud import Cloud
from rehearsal.cloud.errors import CloudError
from rehearsal.cloud.parts import Part
from rehearsal.cloud.plan import SitePlan, plan

__all__ = ["Cloud", "CloudError", "Part", "SitePlan", "plan"]
