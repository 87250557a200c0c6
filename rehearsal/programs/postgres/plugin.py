"""Stand-in for plugin-barman-cloud: it looks at ObjectStores, and answers at its port. The sidecars do the work."""

import os
import socketserver
import threading

from rehearsal.programs.kube import BARMAN, Api, custom, forever, say
from rehearsal.programs.postgres import known

PORT = 9090


class Answer(socketserver.BaseRequestHandler):
    """Whoever connects learns that somebody is there."""

    def handle(self) -> None:
        """Say nothing: the operator's stand-in asks nothing."""


def look(api: Api, space: str, seen: dict[str, str]) -> None:
    """Say once what is wrong with an ObjectStore."""
    for item in api.list(custom(space, "objectstores", version=BARMAN)):
        name, refused = item["metadata"]["name"], known.refusal(item["spec"], known.STORE)
        if seen.get(name) != refused:
            say(f"ObjectStore {name}: {refused or 'is understood'}")
            seen[name] = refused


def main() -> None:
    """Serve until ended."""
    say("a stand-in of the rehearsal for plugin-barman-cloud")
    server = socketserver.ThreadingTCPServer(("", PORT), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api, seen = Api(), dict[str, str]()
    forever("plugin", 10.0, lambda: look(api, os.environ["WATCH_NAMESPACE"], seen))


if __name__ == "__main__":
    main()
