"""A server's network interfaces, in the words of the published provider."""

from rehearsal.protocol import Props
from rehearsal.providers.openstack.connection import Api


def nics(api: Api, raw: Props, wanted: list[Props]) -> list[Props]:
    """Interfaces in the order they were asked for, then those that were added later."""
    attached = (api.find(f"/servers/{raw['id']}/os-interface") or {}).get("interfaceAttachments", [])
    order = {item.get("port") or item.get("uuid"): place for place, item in enumerate(wanted)}

    def place(item: Props) -> int:
        return order.get(item["port_id"], order.get(item["net_id"], len(order)))

    access = {item.get("port") for item in wanted if item.get("accessNetwork")}
    return [described(item, raw, item["port_id"] in access) for item in sorted(attached, key=place)]


def described(item: Props, raw: Props, access: bool) -> Props:
    """One interface. Nova knows the network's name only through the server's addresses."""
    mac = item.get("mac_addr")
    name = next(
        (
            network
            for network, addresses in (raw.get("addresses") or {}).items()
            if any(each.get("OS-EXT-IPS-MAC:mac_addr") == mac for each in addresses)
        ),
        "",
    )
    fixed = [each["ip_address"] for each in item.get("fixed_ips") or []]
    return {
        "name": name,
        "uuid": item["net_id"],
        "port": item["port_id"],
        "mac": mac,
        "fixedIpV4": next((each for each in fixed if ":" not in each), ""),
        "fixedIpV6": next((f"[{each}]" for each in fixed if ":" in each), ""),
        "accessNetwork": access,
    }


def access_address(networks: list[Props], key: str) -> str:
    """The access network's address, else the first there is."""
    chosen = [item for item in networks if item["accessNetwork"]] + networks
    return next((str(item[key]) for item in chosen if item.get(key)), "")
