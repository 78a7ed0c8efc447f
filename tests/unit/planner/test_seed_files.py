"""What stands on a seed, and the network configuration that is made where nobody wrote one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.model.domain import DomainConfig, InterfaceConfig
from reconciler.model.guest import CloudInit
from reconciler.model.network import Network
from reconciler.planner.seed_files import files_digest, host_name, network_config, seed_files

UID = "00000000-0000-4000-8000-000000000001"
MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"


def network(**spec: Any) -> Network:
    return Network.model_validate({"metadata": {"name": "lan"}, "spec": spec})


def nic(mac: str = MAC, address: str | None = None, name: str = "net0", on: str = "lan") -> InterfaceConfig:
    return InterfaceConfig(mac, on, None, name=name, address=address)


def files_of(wish: dict[str, Any], name: str = "web-1") -> dict[str, tuple[str, Any]]:
    seed = seed_files(CloudInit.model_validate(wish), DomainConfig(name, UID), {})
    return {f.name: (f.form, f.content if f.form == "text" else json.loads(f.content)) for f in seed}


def test_the_least_that_a_seed_has() -> None:
    assert files_of({}) == {
        "meta-data": ("yaml", {"instance-id": UID, "local-hostname": "web-1"}),
        "user-data": ("cloud-config", {}),
    }


def test_everything_that_people_say_is_in_it() -> None:
    found = files_of(
        {
            "hostname": "front",
            "instanceId": "second",
            "sshAuthorizedKeys": ["ssh-ed25519 AAAA me"],
            "userData": "#!/bin/sh\n{{ x }}",
            "vendorData": {"timezone": "UTC"},
            "networkConfig": {"version": 1, "config": []},
        }
    )
    assert found["meta-data"][1] == {
        "instance-id": "second",
        "local-hostname": "front",
        "public-keys": ["ssh-ed25519 AAAA me"],
    }
    assert found["user-data"] == ("text", "#!/bin/sh\n{{ x }}")
    assert found["vendor-data"] == ("cloud-config", {"timezone": "UTC"})
    assert found["network-config"] == ("yaml", {"version": 1, "config": []})


def test_a_secret_is_a_reference_here() -> None:
    found = files_of({"userDataFrom": {"vault": "v.yml", "key": "a"}})
    assert found["user-data"] == ("secret", {"vault": "v.yml", "key": "a"})


@pytest.mark.parametrize(
    ("machine", "host"), [("web-1", "web-1"), ("a b;c", "a-b-c"), ("{{ x }}", "x"), ("__", "guest")]
)
def test_a_host_name_is_one_whatever_the_machine_is_called(machine: str, host: str) -> None:
    assert host_name(machine) == host


def test_the_digest_hangs_on_everything() -> None:
    wishes: list[dict[str, Any]] = [
        {},
        {"hostname": "b"},
        {"userData": {"a": 1}},
        {"userData": '{"a":1}'},
        {"vendorData": {"a": 1}},
        {"userDataFrom": {"env": "A"}},
        {"userDataFrom": {"env": "B"}},
    ]
    digests = {
        files_digest(seed_files(CloudInit.model_validate(wish), DomainConfig("a", UID), {}))
        for wish in wishes
    }
    assert len(digests) == len(wishes)


def test_an_address_that_dhcp_reserves_needs_no_telling() -> None:
    lan = network(mode="nat", subnet="10.0.0.0/24", dhcp={"start": "10.0.0.100", "end": "10.0.0.200"})
    assert network_config([nic(address="10.0.0.5")], {"lan": lan}) is None
    assert network_config([nic()], {}) is None


def test_an_address_that_nobody_hands_out_is_told_and_the_others_ask() -> None:
    lan = network(mode="bridge", bridge="br0", subnet="10.0.0.0/24", gateway="10.0.0.254")
    told = network_config([nic(address="10.0.0.5"), nic(OTHER, name="net1", on="x")], {"lan": lan})
    assert told is not None
    assert told["version"] == 2
    first, second = told["ethernets"]["net0"], told["ethernets"]["net1"]
    assert first["match"] == {"macaddress": MAC}
    assert first["addresses"] == ["10.0.0.5/24"]
    assert first["routes"] == [{"to": "0.0.0.0/0", "via": "10.0.0.254"}]
    assert not first["dhcp4"]
    assert second == {"match": {"macaddress": OTHER}, "dhcp4": True}


def test_who_answers_names_is_told() -> None:
    bridged = network(mode="bridge", bridge="br0", subnet="10.0.0.0/24", nameservers=["10.0.0.53"])
    for lan, resolver in [(bridged, "10.0.0.53"), (network(mode="nat", subnet="10.0.0.0/24"), "10.0.0.1")]:
        told = network_config([nic(address="10.0.0.5")], {"lan": lan})
        assert told is not None
        assert told["ethernets"]["net0"]["nameservers"] == {"addresses": [resolver]}


def test_no_gateway_is_made_up() -> None:
    for mode in ({"mode": "bridge", "bridge": "br0"}, {"mode": "isolated"}):
        told = network_config([nic(address="10.0.0.5")], {"lan": network(subnet="10.0.0.0/24", **mode)})
        assert told is not None
        assert "routes" not in told["ethernets"]["net0"]


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"userData": {}, "userDataFrom": {"env": "A"}}, "not both"),
        ({"userDataFrom": {"env": "A", "file": "/a"}}, "exactly one of"),
        ({"userDataFrom": {"vault": "v"}}, "vault and key go together"),
        ({"userData": {"a": {"secretRef": {"env": "A"}, "b": 1}}}, "stands alone"),
        ({"userData": {"a": [{"secretRef": {"env": "not a name"}}]}}, "secretRef"),
        ({"vendorData": {"a": {1: "x"}}}, "put '1' in quotes"),
        ({"userData": {"a": float("nan")}}, "no finite number"),
        ({"sshAuthorizedKeys": ["one\ntwo"]}, "one line"),
        ({"hostname": "{{ x }}"}, "pattern"),
        ({"bus": "usb"}, "scsi"),
    ],
)
def test_what_is_refused(wish: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        CloudInit.model_validate(wish)


def test_user_data_has_a_bottom() -> None:
    data: dict[str, Any] = {}
    for _ in range(100):
        data = {"a": data}
    with pytest.raises(ValidationError, match="nested deeper"):
        CloudInit.model_validate({"userData": data})
