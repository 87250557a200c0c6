"""Neutron resources that tie two objects together or hold an address: router interfaces and floating IPs."""

from typing import ClassVar

from rehearsal.protocol import Call, Props, ProviderError, Result
from rehearsal.providers.compare import Prop, table
from rehearsal.providers.openstack.base import OpenStackType
from rehearsal.providers.openstack.connection import CONFLICT, NOT_FOUND, Api, ApiError
from rehearsal.providers.openstack.network import DESCRIPTION, TAGS, NeutronType

PENDING = frozenset({"BUILD", "PENDING_CREATE", "PENDING_UPDATE"})


class RouterInterface(OpenStackType):
    """A router's port on a subnet; its id is the port's."""

    kind, service = "RouterInterface", "network"
    props = table(
        Prop("routerId", force_new=True, required=True),
        Prop("subnetId", force_new=True, computed=True),
    )

    def make(self, api: Api, news: Props) -> str:
        """The call is no POST, but not repeatable either: a second one is refused, so look first."""
        found = self._between(api, news["routerId"], news["subnetId"])
        if found:
            return found
        try:
            path = f"/routers/{news['routerId']}/add_router_interface"
            answer = api.request("PUT", path, {"subnet_id": news["subnetId"]})
        except ApiError:
            found = self._between(api, news["routerId"], news["subnetId"])
            if not found:
                raise
            return found
        return str(answer["port_id"])

    def finish(self, api: Api, identity: str, news: Props) -> None:  # noqa: ARG002  the base's signature
        """Wait until the port is up; a port without an agent stays DOWN and is usable."""
        api.clock.until("waiting for the interface", lambda: self._settled(api, identity))

    def _settled(self, api: Api, identity: str) -> bool | None:
        raw = self.load(api, identity)
        return None if raw is not None and raw.get("status") in PENDING else True

    def load(self, api: Api, identity: str) -> Props | None:
        """See the base."""
        answer = api.find(f"/ports/{identity}")
        return None if answer is None else dict(answer["port"])

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:  # noqa: ARG002  the base's signature
        """See the base."""
        outputs = {"routerId": raw.get("device_id", ""), "portId": raw["id"]}
        fixed = raw.get("fixed_ips", [])
        return outputs | ({"subnetId": fixed[0]["subnet_id"]} if len(fixed) == 1 else {})

    def remove(self, api: Api, olds: Result) -> None:
        """Tried again while a floating IP still needs it; Neutron answers 409 then."""
        path = f"/routers/{olds.outputs['routerId']}/remove_router_interface"

        def attempt() -> bool | None:
            try:
                api.request("PUT", path, {"port_id": olds.id})
            except ApiError as error:
                if error.status == NOT_FOUND or self.load(api, olds.id) is None:
                    return True
                if error.status != CONFLICT:
                    raise
                return None
            return True

        api.clock.until("waiting until the interface is no longer in use", attempt)

    def find(self, call: Call, news: Props) -> str | None:
        """By its two ends."""
        found = self._between(self.api(call, news), news["routerId"], news["subnetId"])
        return None if found in call.known else found

    def _between(self, api: Api, router: str, subnet: str) -> str | None:
        for port in api.get("/ports", device_id=router)["ports"]:
            owner = str(port.get("device_owner", ""))
            if "router_interface" in owner and any(item["subnet_id"] == subnet for item in port["fixed_ips"]):
                return str(port["id"])
        return None


class FloatingIp(NeutronType):
    """An address from an external network."""

    kind, collection, member = "FloatingIp", "floatingips", "floatingip"
    props = table(
        DESCRIPTION,
        TAGS,
        Prop("pool", force_new=True, required=True),
        Prop("address", "floating_ip_address", force_new=True, computed=True),
    )
    extra: ClassVar[dict[str, str]] = {"portId": "port_id", "fixedIp": "fixed_ip_address"}

    def make(self, api: Api, news: Props) -> str:
        """The pool is a network's name."""
        found = api.get("/networks", name=news["pool"])["networks"]
        if len(found) != 1:
            raise ProviderError(
                f"{api.clock.label}: {len(found)} networks with the name {news['pool']}; "
                "name one of: openstack network list --external"
            )
        body = self.body(news, self.given(news)) | {"floating_network_id": found[0]["id"]}
        return str(api.request("POST", self.path, {self.member: body})[self.member]["id"])

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:
        """See the base."""
        pool = api.find(f"/networks/{raw['floating_network_id']}")
        outputs = super().view(api, raw, inputs)
        outputs |= {key: outputs.get(key) or "" for key in ("portId", "fixedIp")}
        return outputs | {"pool": pool["network"]["name"] if pool else ""}


class FloatingIpAssociate(OpenStackType):
    """A floating IP on a port; its id is the floating IP's."""

    kind, service = "FloatingIpAssociate", "network"
    props = table(
        Prop("floatingIp", force_new=True, required=True),
        Prop("portId", required=True),
    )

    def make(self, api: Api, news: Props) -> str:
        """See the base."""
        raw = self._held(api, news["floatingIp"])
        if raw is None:
            raise ProviderError(
                f"{api.clock.label}: the project has no floating IP {news['floatingIp']}; "
                "see: openstack floating ip list"
            )
        self._point(api, raw["id"], news["portId"])
        return str(raw["id"])

    def load(self, api: Api, identity: str) -> Props | None:
        """See the base."""
        answer = api.find(f"/floatingips/{identity}")
        return None if answer is None else dict(answer["floatingip"])

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:  # noqa: ARG002  the base's signature
        """See the base."""
        return {
            "floatingIp": raw["floating_ip_address"],
            "portId": raw.get("port_id") or "",
            "fixedIp": raw.get("fixed_ip_address") or "",
        }

    def change(self, api: Api, olds: Result, news: Props, changed: tuple[str, ...]) -> None:  # noqa: ARG002
        """See the base."""
        self._point(api, olds.id, news["portId"])

    def remove(self, api: Api, olds: Result) -> None:
        """The address stays the project's."""
        try:
            self._point(api, olds.id, None)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise

    def find(self, call: Call, news: Props) -> str | None:
        """By its two ends."""
        raw = self._held(self.api(call, news), news["floatingIp"])
        if raw is None or raw["id"] in call.known or raw.get("port_id") != news["portId"]:
            return None
        return str(raw["id"])

    def _held(self, api: Api, address: str) -> Props | None:
        found = api.get("/floatingips", floating_ip_address=address)["floatingips"]
        return dict(found[0]) if found else None

    def _point(self, api: Api, identity: str, port: str | None) -> None:
        api.request("PUT", f"/floatingips/{identity}", {"floatingip": {"port_id": port}})
