"""What stands on a machine's cloud-init seed, with secrets still as references. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.model.domain import DomainConfig, InterfaceConfig
from reconciler.model.guest import CloudInit
from reconciler.model.network import Network, NetworkMode
from reconciler.model.operations import SeedFile

_NO_HOSTNAME = re.compile(r"[^A-Za-z0-9.-]+")


def seed_files(
    wish: CloudInit, config: DomainConfig, networks: Mapping[str, Network]
) -> tuple[SeedFile, ...]:
    """The files of a machine's seed.

    Args:
        wish: The manifest's part.
        config: The machine with its interfaces; its addresses are settled.
        networks: Those of the desired state, by name.
    """
    meta: dict[str, Any] = {
        "instance-id": wish.instance_id or config.uuid,
        "local-hostname": wish.hostname or host_name(config.name),
    }
    if wish.ssh_authorized_keys:
        meta["public-keys"] = list(wish.ssh_authorized_keys)
    files = [SeedFile("meta-data", "yaml", _json(meta)), _user_data(wish)]
    if wish.vendor_data is not None:
        files.append(_config("vendor-data", wish.vendor_data))
    network = wish.network_config or network_config(config.interfaces or (), networks)
    if network:
        files.append(SeedFile("network-config", "yaml", _json(network)))
    return tuple(files)


def files_digest(files: Iterable[SeedFile]) -> str:
    """Thirty-two hex digits that stand for the files; a secret counts as the place where it is."""
    told = _json([[file.name, file.form, file.content] for file in files])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def host_name(machine: str) -> str:
    """What a guest can be called: the machine's name, with a dash for whatever a host name cannot have."""
    return _NO_HOSTNAME.sub("-", machine).strip(".-") or "guest"


def network_config(
    interfaces: Iterable[InterfaceConfig], networks: Mapping[str, Network]
) -> dict[str, Any] | None:
    """Netplan's version 2, or None: cloud-init's own choice (DHCP) will do.

    An address that libvirt's DHCP server reserves needs no telling.  One in a network that nobody of ours
    serves does, and then every other interface has to be told to ask, too.
    """
    interfaces = tuple(interfaces)
    static = {nic.mac: settings for nic in interfaces if (settings := _static(nic, networks)) is not None}
    if not static:
        return None
    ethernets = {}
    for at, nic in enumerate(interfaces):
        settings = static.get(nic.mac) or {"dhcp4": True}
        ethernets[nic.name or f"net{at}"] = {"match": {"macaddress": nic.mac}, **settings}
    return {"version": 2, "ethernets": ethernets}


def _static(nic: InterfaceConfig, networks: Mapping[str, Network]) -> dict[str, Any] | None:
    network = networks.get(nic.network or "")
    if nic.address is None or network is None or network.spec.subnet is None:
        return None
    spec = network.spec
    if spec.served and spec.dhcp is not None:
        return None
    subnet = ipaddress.ip_network(spec.subnet or "")
    settings: dict[str, Any] = {
        "dhcp4": False,
        "dhcp6": False,
        "addresses": [f"{nic.address}/{subnet.prefixlen}"],
    }
    gateway = str(spec.router) if spec.router is not None else None
    # The host of an isolated network leads nowhere.
    if gateway is not None and spec.mode is not NetworkMode.ISOLATED:
        settings["routes"] = [{"to": "0.0.0.0/0" if subnet.version == 4 else "::/0", "via": gateway}]
    # Where libvirt makes the bridge it answers names, too.
    resolvers = list(spec.nameservers) or ([gateway] if gateway is not None and spec.served else [])
    if resolvers:
        settings["nameservers"] = {"addresses": resolvers}
    if spec.domain is not None and "nameservers" in settings:
        settings["nameservers"]["search"] = [spec.domain]
    return settings


def _user_data(wish: CloudInit) -> SeedFile:
    if wish.user_data_from is not None:
        return SeedFile("user-data", "secret", wish.user_data_from.model_dump_json(exclude_none=True))
    return _config("user-data", {} if wish.user_data is None else wish.user_data)


def _config(name: str, data: dict[str, Any] | str) -> SeedFile:
    if isinstance(data, str):
        return SeedFile(name, "text", data)
    return SeedFile(name, "cloud-config", _json(data))


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
