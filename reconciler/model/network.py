"""Networks of hosts, as they stand in YAML."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, StrictBool, model_validator

from reconciler.model.envelope import API_VERSION, ApiVersion, Mac, Manifest, Metadata, refuse
from reconciler.model.storage import Hosts


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

    ``subnet`` is in CIDR notation and ``gateway`` the host's own address in it (default: the first).  libvirt
    answers DHCP for ``dhcp`` (nat, routed, isolated).  ``allocation`` is where machines that ask for ``auto``
    get theirs (default: the subnet without gateway and ``dhcp``).  ``bridge`` is the host's bridge: an
    existing one for ``bridge`` and ``openvswitch``, a name for a new one otherwise.  ``vlan`` tags every
    interface.
    """

    hosts: Hosts = Hosts()
    mode: NetworkMode = NetworkMode.NAT
    bridge: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$")
    domain: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")
    subnet: str | None = None
    gateway: str | None = None
    dhcp: AddressRange | None = None
    allocation: AddressRange | None = None
    fixed: tuple[FixedAddress, ...] = ()
    dns: tuple[DnsRecord, ...] = ()
    vlan: int | None = Field(default=None, ge=1, le=4094, strict=True)
    mtu: int | None = Field(default=None, ge=68, le=65535, strict=True)
    autostart: StrictBool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        ours = self.mode in (NetworkMode.NAT, NetworkMode.ROUTED, NetworkMode.ISOLATED)
        if not ours and self.bridge is None:
            yield f"a network of mode {self.mode} needs the bridge that it uses"
        if not ours and self.dhcp is not None:
            yield f"libvirt answers no DHCP on a network of mode {self.mode}"
        if self.mode in (NetworkMode.NAT, NetworkMode.ROUTED) and self.subnet is None:
            yield f"a network of mode {self.mode} needs a subnet"
        if ours and self.vlan is not None:
            yield f"a network of mode {self.mode} takes no vlan"
        yield from _addresses(self)


def _addresses(spec: NetworkSpec) -> Iterator[str]:
    """What is wrong with the addresses: each is one, and lies in the subnet."""
    subnet = None
    if spec.subnet is not None:
        try:
            subnet = ipaddress.ip_network(spec.subnet)
        except ValueError as error:
            yield f"subnet: {error}"
            return
    given = [("gateway", spec.gateway)]
    for name in ("dhcp", "allocation"):
        both = getattr(spec, name)
        given += [(f"{name}.start", both.start), (f"{name}.end", both.end)] if both else []
    given += [(f"fixed[{at}].address", one.address) for at, one in enumerate(spec.fixed)]
    given += [(f"dns[{at}].address", one.address) for at, one in enumerate(spec.dns)]
    for path, text in given:
        if text is None:
            continue
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            yield f"{path}: {text!r} is not an IP address"
            continue
        if path.startswith("dns["):
            continue
        if subnet is None:
            yield f"{path} needs a subnet"
        elif address not in subnet:
            yield f"{path}: {text} is not in {subnet}"


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
