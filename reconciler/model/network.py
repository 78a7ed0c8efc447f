"""Networks of hosts, as they stand in YAML."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, StrictBool, model_validator

from reconciler.model.envelope import API_VERSION, ApiVersion, Mac, Manifest, Metadata, refuse
from reconciler.model.network_config import SERVED
from reconciler.model.storage import Hosts

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class NetworkMode(StrEnum):
    """How a network reaches the world."""

    NAT = "nat"
    ROUTED = "routed"
    ISOLATED = "isolated"
    BRIDGE = "bridge"
    OPENVSWITCH = "openvswitch"


class AddressRange(Manifest):
    """First and last address, both included."""

    start: str
    end: str

    @property
    def first(self) -> IPAddress:
        """The first address."""
        return ipaddress.ip_address(self.start)

    @property
    def last(self) -> IPAddress:
        """The last address."""
        return ipaddress.ip_address(self.end)

    def __contains__(self, address: IPAddress) -> bool:
        """True if the address is one of them."""
        return int(self.first) <= int(address) <= int(self.last)


class DnsRecord(Manifest):
    """A name that the network's DNS answers."""

    name: str = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")
    address: str


class FixedAddress(Manifest):
    """An address for a MAC that is no machine of ours."""

    mac: Mac
    address: str
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")


class NetworkSpec(Manifest):
    """A libvirt network on every host that it is meant for.

    ``subnet`` is in CIDR notation and ``gateway`` the host's own address in it (default: the first); for
    ``bridge`` and ``openvswitch`` both only tell machines with an address what to use, as ``nameservers``
    does.  libvirt answers DHCP for ``dhcp`` (nat, routed, isolated).  ``allocation`` is where machines that
    ask for ``auto`` get theirs (default: the subnet without gateway and ``dhcp``).  ``bridge`` is the host's
    bridge: an existing one for ``bridge`` and ``openvswitch``, a name for a new one otherwise.  ``vlan``
    tags every interface.  ``mtu`` is in bytes.
    """

    hosts: Hosts = Hosts()
    mode: NetworkMode = NetworkMode.NAT
    bridge: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$")
    domain: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")
    subnet: str | None = None
    gateway: str | None = None
    nameservers: tuple[str, ...] = ()
    dhcp: AddressRange | None = None
    allocation: AddressRange | None = None
    fixed: tuple[FixedAddress, ...] = ()
    dns: tuple[DnsRecord, ...] = ()
    vlan: int | None = Field(default=None, ge=1, le=4094, strict=True)
    mtu: int | None = Field(default=None, ge=68, le=65535, strict=True)
    autostart: StrictBool = True

    @property
    def served(self) -> bool:
        """True if libvirt makes the bridge, so that it can answer DHCP and DNS."""
        return self.mode in SERVED

    @cached_property
    def net(self) -> IPNetwork | None:
        """The subnet."""
        return ipaddress.ip_network(self.subnet) if self.subnet is not None else None

    @cached_property
    def router(self) -> IPAddress | None:
        """The gateway: as given, or the first address of the subnet where libvirt makes the bridge."""
        if self.gateway is not None:
            return ipaddress.ip_address(self.gateway)
        return self.net[1] if self.net is not None and self.served else None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        if self.served:
            yield from self._of_served()
        else:
            yield from self._of_bridged()
        malformed = list(_malformed(self))
        yield from malformed
        if not malformed:
            yield from _misplaced(self)
            yield from _twins(self)

    def _of_served(self) -> Iterator[str]:
        if self.mode is not NetworkMode.ISOLATED and self.subnet is None:
            yield f"a network of mode {self.mode} needs a subnet"
        if self.vlan is not None:
            yield f"a network of mode {self.mode} takes no vlan"
        if self.nameservers:
            yield f"on a network of mode {self.mode} libvirt answers DNS: it takes no nameservers"

    def _of_bridged(self) -> Iterator[str]:
        if self.bridge is None:
            yield f"a network of mode {self.mode} needs the bridge that it uses"
        for name in ("dhcp", "fixed"):
            if getattr(self, name):
                yield f"libvirt answers no DHCP on a network of mode {self.mode}: it takes no {name}"
        if self.dns:
            yield f"libvirt answers no DNS on a network of mode {self.mode}: it takes no dns"
        if self.mtu is not None:
            yield f"a network of mode {self.mode} has the mtu of its bridge: it takes none"


def _given(spec: NetworkSpec) -> Iterable[tuple[str, str]]:
    """Every address that stands in a spec, with its path."""
    if spec.gateway is not None:
        yield "gateway", spec.gateway
    for name in ("dhcp", "allocation"):
        both = getattr(spec, name)
        if both is not None:
            yield f"{name}.start", both.start
            yield f"{name}.end", both.end
    yield from ((f"fixed[{at}].address", one.address) for at, one in enumerate(spec.fixed))
    yield from ((f"nameservers[{at}]", address) for at, address in enumerate(spec.nameservers))
    yield from ((f"dns[{at}].address", one.address) for at, one in enumerate(spec.dns))


def _malformed(spec: NetworkSpec) -> Iterator[str]:
    """What is no address at all."""
    if spec.subnet is not None:
        try:
            size = ipaddress.ip_network(spec.subnet).num_addresses
        except ValueError as error:
            yield f"subnet: {error}"
        else:
            if size < 4:
                yield f"subnet: {spec.subnet} has no room for a gateway and a machine"
    for path, text in _given(spec):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            yield f"{path}: {text!r} is not an IP address"


def _misplaced(spec: NetworkSpec) -> Iterator[str]:
    """Addresses outside of the subnet, or in each other's way."""
    subnet = spec.net
    for path, text in _given(spec):
        if path.startswith(("dns[", "nameservers[")):
            continue
        if subnet is None:
            yield f"{path} needs a subnet"
        elif ipaddress.ip_address(text) not in subnet:
            yield f"{path}: {text} is not in {subnet}"
    if subnet is None:
        return
    if subnet.version != 4 and spec.fixed:
        yield "fixed: DHCP knows a MAC's fixed address in IPv4 only"
    for name in ("dhcp", "allocation"):
        both = getattr(spec, name)
        if both is not None:
            yield from _misplaced_range(name, both, spec.router)
    if spec.dhcp and spec.allocation and _meet(spec.dhcp, spec.allocation):
        yield "dhcp and allocation overlap: an address could be given twice"


def _misplaced_range(name: str, both: AddressRange, router: IPAddress | None) -> Iterator[str]:
    if int(both.first) > int(both.last):
        yield f"{name}: {both.start} comes after {both.end}"
    if router is not None and router in both:
        yield f"{name}: the gateway {router} lies in it"


def _meet(one: AddressRange, other: AddressRange) -> bool:
    return int(one.first) <= int(other.last) and int(other.first) <= int(one.last)


def _twins(spec: NetworkSpec) -> Iterator[str]:
    macs = [one.mac for one in spec.fixed]
    addresses = [one.address for one in spec.fixed]
    names = [one.name.lower() for one in spec.fixed if one.name]
    for what, values in (("MAC", macs), ("address", addresses), ("name", names)):
        yield from (f"fixed lists the {what} {twin} more than once" for twin in _repeated(values))
    records = [f"{one.name.lower()} {ipaddress.ip_address(one.address)}" for one in spec.dns]
    yield from (f"dns lists {twin} more than once" for twin in _repeated(records))
    if spec.router is not None and str(spec.router) in addresses:
        yield f"fixed: {spec.router} is the gateway's"


def _repeated(values: list[str]) -> list[str]:
    return sorted({value for value in values if values.count(value) > 1})


class Network(Manifest):
    """A network that shall exist on hosts."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Network"] = "Network"
    metadata: Metadata
    spec: NetworkSpec

    @property
    def name(self) -> str:
        """Unique among networks, and libvirt's name of it on every host."""
        return self.metadata.name
