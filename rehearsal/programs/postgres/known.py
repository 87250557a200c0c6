"""The fields that these stand-ins honour. Others are refused by name: a rehearsal never ignores one."""

from collections.abc import Iterator, Mapping
from typing import Any

ANY: dict[str, Any] = {}
"""Whatever is below is passed on as it is, or has no effect here: where so, CLUSTER says it."""
PLUGIN = {"name": ANY, "enabled": ANY, "isWALArchiver": ANY, "parameters": {"barmanObjectName": ANY, "serverName": ANY}}
CLUSTER: dict[str, Any] = {
    "instances": ANY,
    "imageName": ANY,
    "enableSuperuserAccess": ANY,
    "storage": {"size": ANY, "storageClass": ANY},
    "resources": ANY,
    "postgresql": {
        "parameters": ANY,
        "pg_hba": ANY,
        "synchronous": {"method": ANY, "number": ANY, "dataDurability": ANY, "failoverQuorum": ANY},
    },
    "affinity": {"enablePodAntiAffinity": ANY, "topologyKey": ANY},
    "seccompProfile": ANY,
    "enablePDB": ANY,
    "primaryUpdateMethod": ANY,  # one way here: the pod of the primary is made anew at last
    "smartShutdownTimeout": ANY,  # no effect: the shutdown is fast
    "plugins": [PLUGIN],
    "bootstrap": {"initdb": {"dataChecksums": ANY, "encoding": ANY}, "recovery": {"source": ANY}},
    "externalClusters": [{"name": ANY, "plugin": PLUGIN}],
}
DATABASE = {"cluster": {"name": ANY}, "name": ANY, "owner": ANY, "ensure": ANY, "databaseReclaimPolicy": ANY}
ROLE = {
    **dict.fromkeys(("name", "ensure", "login", "databaseRoleReclaimPolicy"), ANY),
    **{"cluster": {"name": ANY}, "passwordSecret": {"name": ANY}, "clientCertificate": {"enabled": ANY}},
}
SCHEDULED = {
    **dict.fromkeys(("schedule", "immediate", "method", "backupOwnerReference", "suspend"), ANY),
    **{"cluster": {"name": ANY}, "pluginConfiguration": {"name": ANY}},
}
KEY = {"name": ANY, "key": ANY}
STORE = {
    "configuration": {
        "destinationPath": ANY,
        "endpointURL": ANY,
        "s3Credentials": {"accessKeyId": KEY, "secretAccessKey": KEY, "region": KEY},
        "data": {"compression": ANY},
        "wal": {"compression": ANY},
    },
    "retentionPolicy": ANY,
    "instanceSidecarConfiguration": {"env": ANY, "resources": ANY},
}


def unknown(value: Any, fields: Any, path: str = "spec") -> Iterator[str]:
    """Paths of the fields that are not honoured."""
    if not fields:
        return
    if isinstance(fields, list):
        for index, item in enumerate(value or []):
            yield from unknown(item, fields[0], f"{path}[{index}]")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in fields:
                yield f"{path}.{name}"
            else:
                yield from unknown(inner, fields[name], f"{path}.{name}")


def refusal(spec: Any, fields: Any) -> str:
    """A sentence about what is not honoured; "" where all is."""
    found = list(unknown(spec, fields))
    return f"the rehearsal's stand-in does not know {', '.join(found)}" if found else ""
