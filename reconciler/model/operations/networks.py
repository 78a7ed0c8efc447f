"""Networks of hosts, and the addresses that they reserve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.model.network_config import NetworkConfig, Reservation


@dataclass(frozen=True, slots=True)
class DefineNetwork:
    """Define a network, or write its persistent configuration anew; one that runs goes on as it is.

    What libvirt chose (bridge, MAC) and the reservations that it has stay; `mark` is written into it.
    """

    network: str
    uuid: str
    config: NetworkConfig
    mark: NetworkConfig
    kind: Literal["define-network"] = "define-network"


@dataclass(frozen=True, slots=True)
class StartNetwork:
    """Start a network of ours; already active is success."""

    network: str
    uuid: str
    kind: Literal["start-network"] = "start-network"


@dataclass(frozen=True, slots=True)
class SetNetworkAutostart:
    """Start a network of ours with its host, or not."""

    network: str
    uuid: str
    autostart: bool
    kind: Literal["set-network-autostart"] = "set-network-autostart"


@dataclass(frozen=True, slots=True)
class UpdateNetwork:
    """Change ranges and DNS records of a running network of ours to those of `config`."""

    network: str
    uuid: str
    config: NetworkConfig
    kind: Literal["update-network"] = "update-network"


@dataclass(frozen=True, slots=True)
class RestartNetwork:
    """Stop and start a network of ours, so that it runs as it is defined; refused while anything uses it."""

    network: str
    uuid: str
    kind: Literal["restart-network"] = "restart-network"


@dataclass(frozen=True, slots=True)
class UndefineNetwork:
    """Stop and undefine a network of ours that no domain uses."""

    network: str
    uuid: str
    kind: Literal["undefine-network"] = "undefine-network"


@dataclass(frozen=True, slots=True)
class ReserveAddress:
    """Have a network of ours reserve an address, for good and at once; another of that MAC goes."""

    network: str
    uuid: str
    reservation: Reservation
    kind: Literal["reserve-address"] = "reserve-address"


@dataclass(frozen=True, slots=True)
class ReleaseAddress:
    """Take a MAC's reservation of this very address back; none, or a network not ours, is success."""

    network: str
    uuid: str
    mac: str
    address: str
    kind: Literal["release-address"] = "release-address"
