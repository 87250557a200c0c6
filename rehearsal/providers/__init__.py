"""The resource types and functions that the program may use, by type token.

A token that is not here is not supported: the engine names it and stops. `package:` stands for every other type of
that package.
"""

from collections.abc import Callable, Mapping

from rehearsal.protocol import Call, Props, Provider
from rehearsal.providers.certificate import SelfSignedCert
from rehearsal.providers.command import Command
from rehearsal.providers.kubernetes.kinds import RESOURCES as KUBERNETES
from rehearsal.providers.openstack.address import FloatingIp, FloatingIpAssociate, RouterInterface
from rehearsal.providers.openstack.compute import Instance
from rehearsal.providers.openstack.network import (
    Network,
    Port,
    Router,
    SecGroup,
    SecGroupRule,
    Subnet,
    get_network,
)
from rehearsal.providers.openstack.volume import Volume, VolumeAttach
from rehearsal.providers.random import RESOURCES as RANDOM
from rehearsal.providers.tls import PrivateKey

_OPENSTACK = {
    "networking/network:Network": Network(),
    "networking/subnet:Subnet": Subnet(),
    "networking/router:Router": Router(),
    "networking/routerInterface:RouterInterface": RouterInterface(),
    "networking/port:Port": Port(),
    "networking/secGroup:SecGroup": SecGroup(),
    "networking/secGroupRule:SecGroupRule": SecGroupRule(),
    "networking/floatingIp:FloatingIp": FloatingIp(),
    "networking/floatingIpAssociate:FloatingIpAssociate": FloatingIpAssociate(),
    "compute/instance:Instance": Instance(),
    "compute/volumeAttach:VolumeAttach": VolumeAttach(),
    "blockstorage/volume:Volume": Volume(),
}
_COMMAND = Command()
_TLS: Mapping[str, PrivateKey | SelfSignedCert] = {
    "tls:index/privateKey:PrivateKey": PrivateKey(),
    "tls:index/selfSignedCert:SelfSignedCert": SelfSignedCert(),
}

RESOURCES: Mapping[str, Provider] = {
    **{f"openstack:{token}": provider for token, provider in _OPENSTACK.items()},
    **_TLS,
    "command:remote:Command": _COMMAND,
    **RANDOM,
    **KUBERNETES,
}

TIMEOUTS: Mapping[str, float] = {
    **{f"openstack:{token}": provider.timeout for token, provider in _OPENSTACK.items()},
    **{token: provider.timeout for token, provider in _TLS.items()},
    "command:remote:Command": _COMMAND.timeout,
    **{token: provider.timeout for token, provider in RANDOM.items()},
}
"""Seconds that a verb may take when customTimeouts says nothing: the published providers' defaults."""

INVOKES: Mapping[str, Callable[[Call, Props], Props]] = {
    "openstack:networking/getNetwork:getNetwork": get_network,
}
