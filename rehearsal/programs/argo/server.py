"""Stands in for the server of Argo Workflows: its API of workflows, with the caller's token and nothing else."""

import json
import re
import sys
from http import HTTPStatus

from rehearsal.programs.argo import web
from rehearsal.programs.argo.web import Answer, Request
from rehearsal.programs.kube import ARGO, Api, ApiError, Object, custom, say

PORT = 2746
PAGE = "<!doctype html><title>Argo Workflows</title><p>The rehearsal's stand-in: its API is at /api/v1.</p>\n"
KINDS = {"workflows": "Workflow", "workflow-templates": "WorkflowTemplate", "cron-workflows": "CronWorkflow"}
"""Collection in a path of this API to the kind of what is in it; Kubernetes' collection is its plural."""
VERSION = {"version": "stand-in"}


def refused(status: int, code: int, message: str) -> Answer:
    """An error as the real server words it."""
    return Answer(status, {"code": code, "message": message})


def handle(request: Request) -> Answer:
    """Answer what needs no token, and hand on the rest."""
    if not request.path.startswith("/api/"):
        return Answer(HTTPStatus.OK, PAGE)
    if not request.token:
        return refused(
            HTTPStatus.UNAUTHORIZED, 16, "token not valid. see https://argo-workflows.readthedocs.io/en/latest/faq/"
        )
    try:
        return _known(request)
    except ApiError as error:
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return refused(error.status, 16 if error.status == HTTPStatus.UNAUTHORIZED else 7, str(error))
        return refused(error.status or HTTPStatus.BAD_GATEWAY, 2, str(error))


def _known(request: Request) -> Answer:
    # Whether the token is one of the cluster is asked first, for every path.
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    api = Api(request.token)
    api.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    if request.path in ("/api/v1/info", "/api/v1/version", "/api/v1/userinfo"):
        return Answer(HTTPStatus.OK, VERSION)
    found = re.fullmatch(r"/api/v1/([a-z-]+)/([a-z0-9-]+)(?:/([a-z0-9.-]+))?", request.path)
    if found is None or found[1] not in KINDS or request.method not in ("GET", "POST", "DELETE"):
        return refused(HTTPStatus.NOT_IMPLEMENTED, 12, "not part of the rehearsal's stand-in")
    kind = KINDS[found[1]]
    path = custom(found[2], f"{kind.lower()}s", found[3] or "", ARGO)
    sent = _named(json.loads(request.body), kind) if request.method == "POST" else None
    return Answer(HTTPStatus.OK, api.call(request.method, path, sent))


def _named(body: Object, kind: str) -> Object:
    """The object in a body, which need not say what it is: its field does, as in the real API."""
    item = body.get("workflow") or body.get("template") or body.get("cronWorkflow") or {}
    return {**item, "apiVersion": "argoproj.io/v1alpha1", "kind": kind}


def main(arguments: list[str]) -> None:
    """Serve; the one way of knowing callers that it has is their token."""
    if "--auth-mode=client" not in arguments or "--auth-mode=server" in arguments:
        raise SystemExit("the stand-in knows the mode client only")
    say("this is the rehearsal's stand-in for the server of Argo Workflows")
    web.serve(PORT, handle)


if __name__ == "__main__":
    main(sys.argv[1:])
