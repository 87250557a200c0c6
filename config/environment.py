"""The whole environment: one frozen tree."""

from pydantic import Field

from config.apps import Apps
from config.artifacts import Artifacts
from config.charts import Charts
from config.cluster import Cluster, ClusterBase
from config.edge import Edge
from config.fields import Model
from config.images import Images
from config.infra import Infra
from config.platform import Platform

SSH = 22
API = 6443
"""Port of the Kubernetes API."""


class Environment(Model):
    """Everything that Pulumi.<stack>.yaml says, but for secrets."""

    infra: Infra | None = Field(None, description="where the machines come from")
    cluster: Cluster | None = Field(None, description="what makes the machines a cluster")
    platform: Platform | None = Field(None, description="what runs on the cluster; none: nothing")
    apps: Apps | None = Field(None, description="the model that goes to production on it; none: none")
    edge: Edge | None = Field(None, description="whose Argo CD deploys to the cluster too; none: nobody's")
    artifacts: Artifacts = Field(Artifacts(), description="where machines download from")
    charts: Charts = Field(Charts(), description="where Helm charts come from")
    images: Images = Field(Images(), description="where container images come from")
    restore: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="once, after the control plane is lost: latest, or the name of a snapshot",
    )

    @property
    def admin_ports(self) -> tuple[int, ...]:
        """TCP ports that administrators reach at a bastion: SSH, and the Kubernetes API where it is public."""
        public = isinstance(self.cluster, ClusterBase) and self.cluster.api == "public"
        return (SSH, API) if public else (SSH,)

    @property
    def named_images(self) -> dict[str, str]:
        """Key to the image that the file names itself, with its tag: what versions.py does not know."""
        exploration, ray = (self.apps.exploration, self.apps.ray) if self.apps else (None, None)
        found = {"apps.exploration.image": exploration and exploration.image, "apps.ray.image": ray and ray.image}
        return {key: name for key, name in found.items() if name}
