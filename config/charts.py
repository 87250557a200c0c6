"""Where Helm charts come from: upstream, or a mirror that has the same packages."""

from pydantic import Field

from config.fields import ChartMirror, Model
from versions import Chart


class Charts(Model):
    """Where Helm charts come from."""

    mirror: ChartMirror | None = Field(
        None, description="folder, URL or oci:// address that has every chart as NAME-VERSION.tgz; none: upstream"
    )

    def source(self, chart: Chart) -> tuple[str, dict[str, str] | None]:
        """The arguments `chart` and `repository_opts` of a Helm release."""
        if self.mirror is None:
            if chart.repository.startswith("oci://"):
                return f"{chart.repository}/{chart.name}", None
            return chart.name, {"repo": chart.repository}
        if self.mirror.startswith("oci://"):
            return f"{self.mirror}/{chart.name}", None
        return f"{self.mirror}/{chart.file}", None
