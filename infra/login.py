"""A login at a site, whose requests are repeated where that cannot do anything twice.

Bounded and jittered, as a site asks for with Retry-After or on our own terms. A POST is sent once: who sends it looks
for what it made before sending it again. The one exception is the request for a token, which makes nothing that counts.
"""

from typing import Any

import openstack
from keystoneauth1.access import AccessInfo
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.session import TCPKeepAliveAdapter
from openstack.connection import Connection
from urllib3 import BaseHTTPResponse
from urllib3.util.retry import Retry

TIMES = 5
SLOW_TIMES = 2
"""How often a request is repeated whose answer did not come, or was cut off."""
SECONDS = 60.0
"""For an answer to begin."""
LONGEST_PAUSE = 20.0
"""Seconds between two requests, whatever Retry-After says: a whole run has a bound of its own."""
PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that may be another one a moment later."""
CONFLICT = 409
"""Something is in use, or being changed: to wait a little is all that can be done."""
REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class _Polite(Retry):
    """As the library's, with a bound for what a site may ask us to wait."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Seconds, or none."""
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_PAUSE)


def _repeating(methods: frozenset[str]) -> TCPKeepAliveAdapter:
    policy = _Polite(
        total=TIMES,
        read=SLOW_TIMES,
        status_forcelist=PASSING | {CONFLICT},
        allowed_methods=methods,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        backoff_max=LONGEST_PAUSE,
        raise_on_status=False,
    )
    return TCPKeepAliveAdapter(max_retries=policy)


def connect(cloud: str | None, region: str) -> Connection:
    """Log in as clouds.yaml or OS_* say."""
    connection = openstack.connect(cloud=cloud, region_name=region)
    session: Any = connection.session
    for scheme in ("http://", "https://"):
        session.mount(scheme, _repeating(REPEATABLE))
    auth_url = str(getattr(session.auth, "auth_url", "")).rstrip("/")
    for path in ("/auth/tokens", "/v3/auth/tokens") if auth_url else ():
        session.mount(auth_url + path, _repeating(REPEATABLE | {"POST"}))
    session.timeout = SECONDS
    return connection


def access(connection: Connection) -> AccessInfo:
    """The login's token: its user, project and service catalogue."""
    auth = connection.session.auth
    assert isinstance(auth, BaseIdentityPlugin)  # noqa: S101  every login of openstack.connect is one
    return auth.get_access(connection.session)
