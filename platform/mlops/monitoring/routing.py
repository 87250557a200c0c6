"""Where alerts go: Alertmanager's configuration. Pure; the token is a file, so nothing here is secret."""

from typing import Any

from mlops.monitoring.alerts import WATCHDOG

TOKEN = "alerts-webhook"  # noqa: S105  the name of a Secret
"""Secret in namespace monitoring; its key `token` opens the webhook."""
NOWHERE = "nowhere"
ANALYSIS = "log-analysis"


def config(webhook: str | None) -> dict[str, Any]:
    """Every alert goes to the webhook; without one, it is seen in Alertmanager and goes nowhere."""
    receivers: list[dict[str, Any]] = [{"name": NOWHERE}]
    if webhook:
        sent = {
            "url": webhook,
            # An analysis explains what is broken; that something works again needs none.
            "send_resolved": False,
            "max_alerts": 20,
            "http_config": {
                "authorization": {"type": "Bearer", "credentials_file": f"/etc/alertmanager/secrets/{TOKEN}/token"}
            },
        }
        receivers.append({"name": ANALYSIS, "webhook_configs": [sent]})
    return {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": ANALYSIS if webhook else NOWHERE,
            # One cause, one analysis.
            "group_by": ["alertname", "namespace", "pod"],
            "group_wait": "10s",
            "group_interval": "5m",
            "repeat_interval": "12h",
            "routes": [
                {"receiver": NOWHERE, "matchers": [f'alertname = "{WATCHDOG}"']},
                # An analysis that breaks would start the next one, and so on for ever.
                {"receiver": NOWHERE, "matchers": [f'pod =~ "{ANALYSIS}-.*"']},
            ],
        },
        # The chart's own, which would silence warnings of a namespace beside a critical alert of the same name.
        "inhibit_rules": [],
        "receivers": receivers,
        "templates": [],
    }
