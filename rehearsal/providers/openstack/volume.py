"""Cinder volumes, and their attachment to servers."""

from typing import Any, ClassVar

from rehearsal.protocol import Call, Props, ProviderError, Result
from rehearsal.providers.compare import Prop, table
from rehearsal.providers.openstack.base import MINUTES, OpenStackType, wire
from rehearsal.providers.openstack.connection import BAD_REQUEST, Api, ApiError

MARK = "leasehold-urn"
MOVING = frozenset({"creating", "downloading", "attaching", "detaching", "extending", "deleting", "reserved"})


class Volume(OpenStackType):
    """A volume; what is on it outlives the servers it is attached to."""

    kind, service = "Volume", "block_storage"
    timeout: ClassVar[float] = 10 * MINUTES
    props = table(
        Prop("name", "name", required=True),
        Prop("description", "description"),
        Prop("size", "size", required=True),
        Prop("metadata", "metadata", computed=True),
        Prop("volumeType", "volume_type", computed=True),
        Prop("availabilityZone", "availability_zone", force_new=True, computed=True),
        Prop("enableOnlineResize"),
    )

    def make(self, api: Api, news: Props) -> str:
        """See the base."""
        body = {prop.api: news[prop.name] for prop in self.props.values() if prop.api and news.get(prop.name)}
        return str(api.request("POST", "/volumes", {"volume": body})["volume"]["id"])

    def finish(self, api: Api, identity: str, news: Props) -> None:
        """Wait until it is available; one that failed and carries no mark is taken away again."""
        raw = self._settled(api, identity, "waiting for the volume")
        if raw is None or raw["status"] == "error":
            if raw is not None:
                api.delete(f"/volumes/{identity}")
            raise ProviderError(
                f"{api.clock.label}: Cinder could not make the volume (status error, size {news.get('size')} GB, "
                f"type {news.get('volumeType') or 'default'}); see: openstack volume message list"
            )

    def load(self, api: Api, identity: str) -> Props | None:
        """See the base."""
        answer = api.find(f"/volumes/{identity}")
        return None if answer is None else dict(answer["volume"])

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:  # noqa: ARG002  the base's signature
        """See the base."""
        outputs = wire(self.props, raw)
        outputs["description"] = raw.get("description") or ""
        outputs["metadata"] = kept(raw.get("metadata") or {}, inputs.get("metadata"))
        outputs["attachments"] = [
            {"id": item.get("id"), "instanceId": item.get("server_id"), "device": item.get("device")}
            for item in raw.get("attachments", [])
        ]
        return outputs

    def change(self, api: Api, olds: Result, news: Props, changed: tuple[str, ...]) -> None:
        """See the base."""
        if "volumeType" in changed:
            raise ProviderError(
                f"{api.clock.label}: the rehearsal does not change a volume's type in place, as the real provider "
                "would; keep the type, or make a new volume"
            )
        if "size" in changed:
            self._extend(api, olds.id, news)
        plain = {name: news.get(name) or "" for name in ("name", "description") if name in changed}
        if plain:
            api.request("PUT", f"/volumes/{olds.id}", {"volume": plain})
        if "metadata" in changed:
            api.request("PUT", f"/volumes/{olds.id}/metadata", {"metadata": news.get("metadata") or {}})

    def _extend(self, api: Api, identity: str, news: Props) -> None:
        raw = self.load(api, identity) or {}
        attached = raw.get("status") == "in-use"
        if attached and not news.get("enableOnlineResize"):
            raise ProviderError(
                f"{api.clock.label}: the volume is attached and resizing online is disabled; "
                "detach it first, or set enableOnlineResize"
            )
        body = {"os-extend": {"new_size": news["size"]}}
        version = "3.42" if attached else None
        api.request("POST", f"/volumes/{identity}/action", body, microversion=version)
        self._settled(api, identity, "waiting for the larger volume")

    def remove(self, api: Api, olds: Result) -> None:
        """As the published provider: detached from wherever it still is, then deleted."""
        raw = self.load(api, olds.id)
        if raw is None:
            return
        for item in raw.get("attachments", []):
            api.sibling("compute").delete(f"/servers/{item['server_id']}/os-volume_attachments/{olds.id}")
        if raw.get("attachments"):
            self._settled(api, olds.id, "waiting until the volume is detached", also=frozenset({"in-use"}))
        if raw["status"] != "deleting":
            api.delete(f"/volumes/{olds.id}")
        api.clock.until("waiting until the volume is gone", lambda: self._gone(api, olds.id))

    def _gone(self, api: Api, identity: str) -> bool | None:
        raw = self.load(api, identity)
        if raw is not None and raw["status"] == "error_deleting":
            raise ProviderError(f"{api.clock.label}: Cinder could not delete the volume; ask the site's operators")
        return True if raw is None else None

    def _settled(self, api: Api, identity: str, doing: str, also: frozenset[str] = frozenset()) -> Props | None:
        def probe() -> tuple[Props | None] | None:
            raw = self.load(api, identity)
            return None if raw is not None and raw["status"] in MOVING | also else (raw,)

        return api.clock.until(doing, probe)[0]

    def find(self, call: Call, news: Props) -> str | None:
        """By metadata or description; a volume that failed is deleted and not counted."""
        api = self.api(call, news)
        urn = (news.get("metadata") or {}).get(MARK)
        for raw in api.get("/volumes/detail", name=news.get("name"))["volumes"]:
            described = bool(news.get("description")) and raw.get("description") == news.get("description")
            marked = bool(urn) and (raw.get("metadata") or {}).get(MARK) == urn
            if raw["id"] in call.known or not (marked or (described and not urn)):
                continue
            settled = self._settled(api, raw["id"], "waiting for the volume that was found")
            if settled is not None and settled["status"] not in ("error", "error_deleting"):
                return str(raw["id"])
            api.delete(f"/volumes/{raw['id']}")
        return None


class VolumeAttach(OpenStackType):
    """A volume on a server; its id is `<server>/<attachment>`."""

    kind, service = "VolumeAttach", "compute"
    timeout: ClassVar[float] = 10 * MINUTES
    props = table(
        Prop("instanceId", force_new=True, required=True),
        Prop("volumeId", force_new=True, required=True),
        Prop("device", force_new=True, computed=True),
    )

    def make(self, api: Api, news: Props) -> str:
        """See the base."""
        body: dict[str, Any] = {"volumeId": news["volumeId"]}
        if news.get("device"):
            body["device"] = news["device"]
        path = f"/servers/{news['instanceId']}/os-volume_attachments"
        answer = api.request("POST", path, {"volumeAttachment": body})
        return f"{news['instanceId']}/{answer['volumeAttachment']['id']}"

    def finish(self, api: Api, identity: str, news: Props) -> None:
        """Wait until Nova has the attachment and Cinder says in-use."""
        storage = api.sibling("block_storage")

        def probe() -> bool | None:
            status = storage.get(f"/volumes/{news['volumeId']}")["volume"]["status"]
            if status not in MOVING | {"in-use", "available"}:
                raise ProviderError(
                    f"{api.clock.label}: the volume is {status}; see: openstack volume show {news['volumeId']}"
                )
            attached = self.load(api, identity)
            if attached is None and status == "available":
                raise ProviderError(
                    f"{api.clock.label}: Nova gave up attaching volume {news['volumeId']}; "
                    f"see: openstack server event list {news['instanceId']}"
                )
            return True if attached is not None and status == "in-use" else None

        api.clock.until("waiting until the volume is attached", probe)

    def load(self, api: Api, identity: str) -> Props | None:
        """See the base."""
        server, _, attachment = identity.partition("/")
        answer = api.find(f"/servers/{server}/os-volume_attachments/{attachment}")
        return None if answer is None else dict(answer["volumeAttachment"])

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:  # noqa: ARG002  the base's signature
        """See the base."""
        return {"instanceId": raw["serverId"], "volumeId": raw["volumeId"], "device": raw.get("device") or ""}

    def remove(self, api: Api, olds: Result) -> None:
        """Gone when Nova has no attachment and Cinder has let go."""
        server, _, attachment = olds.id.partition("/")
        try:
            api.delete(f"/servers/{server}/os-volume_attachments/{attachment}")
        except ApiError as error:
            # Nova says so while it detaches already, by a request whose answer was lost; the published provider waits.
            if error.status != BAD_REQUEST:
                raise
        storage = api.sibling("block_storage")

        def probe() -> bool | None:
            if self.load(api, olds.id) is not None:
                return None
            answer = storage.find(f"/volumes/{olds.outputs['volumeId']}")
            return None if answer is not None and answer["volume"]["status"] == "detaching" else True

        api.clock.until("waiting until the volume is detached", probe)

    def find(self, call: Call, news: Props) -> str | None:
        """By its two ends; one that is still attaching is waited for."""
        api = self.api(call, news)
        answer = api.find(f"/servers/{news['instanceId']}/os-volume_attachments")
        for raw in (answer or {}).get("volumeAttachments", []):
            identity = f"{news['instanceId']}/{raw['id']}"
            if raw["volumeId"] == news["volumeId"] and identity not in call.known:
                self.finish(api, identity, news)
                return identity
        return None


def kept(real: Props, inputs: Props | None) -> Props:
    """Of the metadata that is there, what was asked for: services add keys of their own."""
    return real if inputs is None else {key: real[key] for key in inputs if key in real}
