"""Nova servers."""

import re
from dataclasses import replace
from typing import Any, ClassVar

from rehearsal.protocol import Call, Diff, Props, ProviderError, Result
from rehearsal.providers.clock import Clock
from rehearsal.providers.compare import Prop, has_unknown, recorded, table
from rehearsal.providers.openstack.base import MINUTES, Gone, OpenStackType, within
from rehearsal.providers.openstack.connection import Api
from rehearsal.providers.openstack.nics import access_address, nics
from rehearsal.providers.openstack.userdata import digest, encoded
from rehearsal.providers.openstack.volume import MARK, kept

TAGGED_CREATE = "2.52"
# The first that tells tags with the server; from 2.47 on, answers leave out the flavor's id.
BASE = "2.26"
CLEAN_UP = 120.0
BUSY = frozenset({"BUILD", "REBUILD", "MIGRATING", "RESIZE", "REBOOT", "HARD_REBOOT"})
GONE = frozenset({"DELETED", "SOFT_DELETED"})
POWER = {"ACTIVE": "os-start", "SHUTOFF": "os-stop"}
# A server may be in these without anyone having asked for it; the published provider does not act on them.
NOT_ASKED_FOR = frozenset({"error", "migrating", "build"})


class Instance(OpenStackType):
    """A server. Its ports are made outside and stay when it goes."""

    kind, service = "Instance", "compute"
    known_early = True
    timeout: ClassVar[float] = 30 * MINUTES
    props = table(
        Prop("name", required=True),
        Prop("flavorId", computed=True),
        Prop("flavorName", computed=True),
        Prop("imageId", computed=True),
        Prop("imageName", computed=True),
        Prop("networks", force_new=True, computed=True),
        Prop("userData", force_new=True),
        Prop("configDrive", force_new=True),
        Prop("availabilityZone", force_new=True, computed=True),
        Prop("keyPair", force_new=True),
        Prop("schedulerHints", force_new=True, unordered=True),
        Prop("metadata"),
        Prop("tags", unordered=True),
        Prop("powerState", default="active"),
    )

    def api(self, call: Call, props: Any, timeout: float | None = None) -> Api:
        """As in the base, with the microversion that all requests but one use."""
        return Api(within(call, props), self.service, Clock(call, self.label(call, props), timeout), BASE)

    def check(self, call: Call, news: Props) -> Props:
        """See the protocol."""
        inputs = super().check(call, news)
        label = self.label(call, news)
        for one, other in (("flavorId", "flavorName"), ("imageId", "imageName")):
            if news.get(one) in (None, "") and news.get(other) in (None, ""):
                raise ProviderError(f"{label}: one of {one} and {other} is required; set it in the program")
        if news.get("powerState") not in (None, "active", "shutoff") and not has_unknown(news["powerState"]):
            raise ProviderError(f"{label}: the rehearsal knows the powerState active and shutoff only")
        return inputs

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:
        """Flavor and image change in place (resize, rebuild); a flavor that is gone cannot be resized from."""
        old = recorded(olds)
        data, zone = news.get("userData"), news.get("availabilityZone")
        if isinstance(data, str) and old.get("userData") == digest(data):
            old["userData"] = data
        if isinstance(zone, str) and zone.split(":")[0] == old.get("availabilityZone"):
            old["availabilityZone"] = zone  # `zone:host` is answered with the zone alone
        if old.get("powerState") in NOT_ASKED_FOR:
            old["powerState"] = news.get("powerState")
        found = super().diff(call, replace(olds, inputs=old), news)
        orphaned = tuple(name for name in ("flavorId", "flavorName") if name in found.changed and old.get(name) == "")
        if not orphaned:
            return found
        first = found.delete_before_replace or old.get("name") == news.get("name")
        return replace(found, replaces=(*found.replaces, *orphaned), delete_before_replace=first)

    def make(self, api: Api, news: Props) -> str:
        """See the base."""
        server: Props = {
            "name": news["name"],
            "flavorRef": self._flavor(api, news),
            "imageRef": self._image(api, news),
            "config_drive": bool(news.get("configDrive")),
            "metadata": news.get("metadata") or {},
        }
        if news.get("networks"):
            server["networks"] = [requested(item) for item in news["networks"]]
        if news.get("userData"):
            server["user_data"] = encoded(news["userData"])
        for name, key in (("availabilityZone", "availability_zone"), ("keyPair", "key_name"), ("tags", "tags")):
            if news.get(name):
                server[key] = news[name]
        body: Props = {"server": server}
        if news.get("schedulerHints"):
            body["os:scheduler_hints"] = hints(news["schedulerHints"][0])
        version = TAGGED_CREATE if news.get("tags") else None
        return str(api.request("POST", "/servers", body, microversion=version)["server"]["id"])

    def finish(self, api: Api, identity: str, news: Props) -> None:
        """Wait until it is ACTIVE; a server that failed is deleted, for nothing could repair it."""
        raw = self._settled(api, identity)
        if raw is None:
            raise Gone(f"{api.clock.label}: the server disappeared while it was built; run again")
        if raw["status"] == "ERROR":
            self._discard(api, identity)
            raise Gone(
                f"{api.clock.label}: Nova could not build the server: {fault(raw)}; "
                "it was deleted again. Check the lease, the flavor and the quota, then run again"
            )
        if news.get("powerState") == "shutoff":
            self._power(api, identity, "SHUTOFF")

    def load(self, api: Api, identity: str) -> Props | None:
        """See the base."""
        answer = api.find(f"/servers/{identity}")
        raw = None if answer is None else dict(answer["server"])
        return None if raw is None or raw["status"] in GONE else raw

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:
        """See the base."""
        flavor_id = str((raw.get("flavor") or {}).get("id") or "")
        flavor = api.find(f"/flavors/{flavor_id}") if flavor_id else None
        image_id = raw["image"]["id"] if raw.get("image") else ""
        image = api.sibling("image").find(f"/images/{image_id}") if image_id else None
        networks = nics(api, raw, inputs.get("networks") or [])
        tags = list(raw.get("tags", []))
        outputs: Props = {
            "name": raw["name"],
            "flavorId": flavor_id if flavor else "",
            "flavorName": flavor["flavor"]["name"] if flavor else "",
            "imageId": image_id,
            "imageName": image["name"] if image else "Image not found",
            "networks": networks,
            "accessIpV4": access_address(networks, "fixedIpV4") or raw.get("accessIPv4") or "",
            "accessIpV6": access_address(networks, "fixedIpV6") or raw.get("accessIPv6") or "",
            "availabilityZone": raw.get("OS-EXT-AZ:availability_zone") or "",
            "keyPair": raw.get("key_name") or "",
            "securityGroups": sorted({group["name"] for group in raw.get("security_groups", [])}),
            "metadata": kept(raw.get("metadata") or {}, inputs.get("metadata") or {}),
            "allMetadata": raw.get("metadata") or {},
            "tags": [tag for tag in tags if tag in (inputs.get("tags") or [])],
            "allTags": tags,
            "powerState": str(raw["status"]).lower(),
            "created": raw.get("created"),
            "updated": raw.get("updated"),
        }
        if inputs.get("userData"):
            outputs["userData"] = digest(inputs["userData"])
        return outputs

    def observed(self, outputs: Props) -> Props:
        """What Nova does not tell, or tells in other words, is not held against the inputs."""
        return {
            name: value
            for name, value in outputs.items()
            if name not in ("userData", "networks", "availabilityZone", "configDrive", "schedulerHints")
            and not (name == "powerState" and value not in ("active", "shutoff"))
        }

    def change(self, api: Api, olds: Result, news: Props, changed: tuple[str, ...]) -> None:
        """See the base."""
        if {"flavorId", "flavorName"} & set(changed):
            raise ProviderError(
                f"{api.clock.label}: the real provider would resize the server in place, the rehearsal cannot; "
                "name flavorId in replaceOnChanges, or replace it with --replace"
            )
        path = f"/servers/{olds.id}"
        if "name" in changed:
            api.request("PUT", path, {"server": {"name": news["name"]}})
        if "metadata" in changed:
            self._metadata(api, path, recorded(olds).get("metadata") or {}, news.get("metadata") or {})
        if "tags" in changed:
            api.request("PUT", f"{path}/tags", {"tags": news.get("tags") or []})
        if {"imageId", "imageName"} & set(changed):
            self._rebuild(api, olds.id, news)
        if "powerState" in changed:
            self._power(api, olds.id, (news.get("powerState") or "active").upper())

    def remove(self, api: Api, olds: Result) -> None:
        """See the base."""
        api.delete(f"/servers/{olds.id}")
        api.clock.until("waiting until the server is gone", lambda: self._gone(api, olds.id))

    def find(self, call: Call, news: Props) -> str | None:
        """By the URN in its metadata. One still building is waited for; one that failed is deleted."""
        urn = (news.get("metadata") or {}).get(MARK)
        if not urn:
            return None
        api = self.api(call, news)
        pattern = re.sub(r"[^A-Za-z0-9_-]", ".", news["name"])  # Nova takes a regular expression
        for raw in api.get("/servers/detail", name=f"^{pattern}$")["servers"]:
            if raw["id"] in call.known or (raw.get("metadata") or {}).get(MARK) != urn:
                continue
            settled = self._settled(api, raw["id"])
            if settled is not None and settled["status"] != "ERROR":
                return str(raw["id"])
            self._discard(api, raw["id"])
        return None

    def _settled(self, api: Api, identity: str) -> Props | None:
        def probe() -> tuple[Props | None] | None:
            raw = self.load(api, identity)
            busy = raw is not None and (raw["status"] in BUSY or raw.get("OS-EXT-STS:task_state") == "deleting")
            return None if busy else (raw,)

        return api.clock.until("waiting until the server is ready", probe)[0]

    def _gone(self, api: Api, identity: str) -> bool | None:
        return True if self.load(api, identity) is None else None

    def _discard(self, api: Api, identity: str) -> None:
        """Delete within a time of its own, so that a server that failed late does not stay."""
        extra = api.again(CLEAN_UP)
        extra.delete(f"/servers/{identity}")
        extra.clock.until("deleting the failed server", lambda: self._gone(extra, identity))

    def _power(self, api: Api, identity: str, status: str) -> None:
        api.request("POST", f"/servers/{identity}/action", {POWER[status]: None})
        self._reach(api, identity, frozenset({status}))

    def _rebuild(self, api: Api, identity: str, news: Props) -> None:
        body = {"rebuild": {"imageRef": self._image(api, news)}}
        api.request("POST", f"/servers/{identity}/action", body)
        self._reach(api, identity, frozenset({"ACTIVE", "SHUTOFF"}))

    def _reach(self, api: Api, identity: str, wanted: frozenset[str]) -> None:
        def probe() -> bool | None:
            raw = self.load(api, identity)
            if raw is None or raw["status"] == "ERROR":
                raise ProviderError(f"{api.clock.label}: {fault(raw or {})}; see: openstack server show {identity}")
            return True if raw["status"] in wanted and not raw.get("OS-EXT-STS:task_state") else None

        api.clock.until(f"waiting until the server is {' or '.join(sorted(wanted))}", probe)

    def _metadata(self, api: Api, path: str, before: Props, after: Props) -> None:
        for key in before.keys() - after.keys():
            api.delete(f"{path}/metadata/{key}")
        if after:
            api.request("POST", f"{path}/metadata", {"metadata": after})

    def _flavor(self, api: Api, news: Props) -> str:
        if news.get("flavorId"):
            return str(news["flavorId"])
        found = [item["id"] for item in api.get("/flavors")["flavors"] if item["name"] == news["flavorName"]]
        return only(api, found, f"flavor {news['flavorName']}", "openstack flavor list")

    def _image(self, api: Api, news: Props) -> str:
        if news.get("imageId"):
            return str(news["imageId"])
        answer = api.sibling("image").get("/images", name=news["imageName"])
        found = [item["id"] for item in answer["images"] if item["status"] == "active"]
        return only(api, found, f"image {news['imageName']}", "openstack image list")


def only(api: Api, found: list[str], what: str, command: str) -> str:
    """The one id; names need not be unique."""
    if len(found) != 1:
        raise ProviderError(f"{api.clock.label}: {len(found)} candidates for {what}; choose one from: {command}")
    return found[0]


def requested(item: Props) -> Props:
    """A network of the inputs, as Nova takes it."""
    names = {"port": "port", "uuid": "uuid", "fixedIpV4": "fixed_ip"}
    return {key: item[name] for name, key in names.items() if item.get(name)}


def hints(item: Props) -> Props:
    """Scheduler hints; a lease's reservation is among the additional properties."""
    plain = {key: item[name] for name, key in (("group", "group"),) if item.get(name)}
    return {**plain, **(item.get("additionalProperties") or {})}


def fault(raw: Props) -> str:
    """Nova's own words for what went wrong."""
    details = raw.get("fault") or {}
    text = str(details.get("message") or "no reason given")
    return f"{text} (code {details['code']}, status {raw.get('status')})" if details.get("code") else text
