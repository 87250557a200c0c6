"""GitHub's way in: each push to the branch of the model's source starts the pipeline."""

from dataclasses import dataclass

import pulumi

import config
from apps import settings
from apps.inventory import EVENTS
from apps.workflows.templates import PIPELINE
from mlops import credentials
from mlops.argo import github
from mlops.argo.accounts import SPACE
from mlops.argo.events import PORT, Events
from mlops.argo.github import OBJECT
from mlops.base import Base
from mlops.ingress import Ingress

HOST = "hooks"


@dataclass(frozen=True)
class WebhookArgs:
    """What the webhook needs."""

    base: Base
    source: config.Source
    events: Events
    ingress: Ingress


class Webhook(pulumi.ComponentResource):
    """Where GitHub tells of commits. It signs what it tells, so there is no other guard at the ingress."""

    def __init__(self, name: str, args: WebhookArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Open it; `opts` gives the provider."""
        super().__init__("leasehold:apps:Webhook", name, None, opts)
        base, branch, repository = args.base, args.source.branch, settings.github(args.source)
        if repository is None:
            raise ValueError("apps.source.url: no repository at GitHub; apps/rules.py says so before")
        shared: dict[str, pulumi.Input[str]] = {github.KEY: credentials.password(base, "github-webhook", self)}
        # Another word is another Secret: the source reads it once.
        secret = credentials.secret(base, f"github-webhook-{base.config.rotation}", EVENTS, shared, self)
        made = args.events.add("EventSource", OBJECT, github.source(secret, repository))
        fixed = {"who": OBJECT, "why": f"a push to {branch}"}
        watched = github.Watched(repository, branch, PIPELINE, "revision", fixed)
        args.events.add("Sensor", OBJECT, github.sensor(watched, base.spaces[SPACE]))
        # Argo Events chooses the Service's name.
        service = made.id.apply(lambda _: f"{OBJECT}-eventsource-svc")
        only = [{"path": {"type": "Exact", "value": github.PATH}, "method": "POST"}]
        args.ingress.route(HOST, EVENTS, service, PORT, self, base=base, matches=only)
        self.register_outputs({})
