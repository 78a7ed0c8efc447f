"""Networks against libvirt's test driver: they fit its schema, read back as meant, and are done once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
from push_world import HOST, OWNER, action, carry_out, node

from reconciler.model.network import Network
from reconciler.model.network_config import NetworkConfig, Reservation
from reconciler.model.operations import (
    DefineNetwork,
    Operation,
    ReleaseAddress,
    ReserveAddress,
    RestartNetwork,
    SetNetworkAutostart,
    StartNetwork,
    UndefineNetwork,
    UpdateNetwork,
)
from reconciler.observed.network_xml import parse_network
from reconciler.observed.networks import Networks
from reconciler.planner.networks import network_config, network_uuid
from reconciler.push.render import render_network

UUID = network_uuid(OWNER, "lan", HOST.name)
MAC = "52:54:00:00:00:07"
SPECS: dict[str, dict[str, Any]] = {
    "nat": {"subnet": "10.9.0.0/24"},
    "all of it": {
        "mode": "nat",
        "bridge": "tenants0",
        "domain": "lab.test",
        "subnet": "10.9.0.0/24",
        "gateway": "10.9.0.254",
        "dhcp": {"start": "10.9.0.100", "end": "10.9.0.200"},
        "fixed": [
            {"mac": MAC, "address": "10.9.0.7", "name": "printer"},
            {"mac": MAC[:-1] + "8", "address": "10.9.0.8"},
        ],
        "dns": [
            {"name": "www", "address": "10.9.0.9"},
            {"name": "api", "address": "10.9.0.9"},
            {"name": "v6", "address": "2001:db8::1"},
        ],
        "mtu": 9000,
    },
    "routed": {"mode": "routed", "subnet": "10.9.0.0/25"},
    "routed IPv6": {
        "mode": "routed",
        "subnet": "2001:db8:1::/64",
        "dhcp": {"start": "2001:db8:1::10", "end": "2001:db8:1::ff"},
    },
    "isolated": {"mode": "isolated", "subnet": "10.9.0.0/24"},
    "isolated without addresses": {"mode": "isolated"},
    "bridge": {"mode": "bridge", "bridge": "br0", "subnet": "10.9.0.0/24", "nameservers": ["10.9.0.3"]},
    "bridge with a tag": {"mode": "bridge", "bridge": "br0", "vlan": 10},
    "Open vSwitch": {"mode": "openvswitch", "bridge": "ovs0"},
    "Open vSwitch with a tag": {"mode": "openvswitch", "bridge": "ovs0", "vlan": 42},
}


def wanted(spec: dict[str, Any], name: str = "lan") -> NetworkConfig:
    return network_config(Network.model_validate({"metadata": {"name": name}, "spec": spec}))


def define(config: NetworkConfig, name: str = "lan", uuid: str = UUID) -> DefineNetwork:
    return DefineNetwork(name, uuid, config, config)


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[libvirt.virConnect]:
    with node(tmp_path) as conn:
        yield conn


@pytest.fixture
def do(conn: libvirt.virConnect, tmp_path: Path) -> Any:
    """Carry an operation out; its outcome and reason."""

    def carry(operation: Operation, *, check: bool = False) -> tuple[str, str]:
        [result] = carry_out(
            conn, tmp_path, action(operation, uid=UUID, vm="Network/lan@h1"), check=check
        ).values()
        return result.outcome, result.reason or result.message

    return carry


@pytest.mark.parametrize("name", SPECS)
def test_it_fits_libvirts_schema(name: str, conn: libvirt.virConnect) -> None:
    xml = render_network(define(wanted(SPECS[name])), OWNER)
    unknown = xml.replace("</network>", "<nonsense/></network>")
    assert _refusal(conn, unknown) == libvirt.VIR_ERR_XML_INVALID_SCHEMA
    assert _refusal(conn, xml) is None


def _refusal(conn: libvirt.virConnect, xml: str) -> int | None:
    try:
        conn.networkDefineXMLFlags(xml, libvirt.VIR_NETWORK_DEFINE_VALIDATE).undefine()
    except libvirt.libvirtError as error:
        return int(error.get_error_code())
    return None


@pytest.mark.parametrize("name", SPECS)
def test_what_libvirt_reports_reads_as_what_was_meant(name: str, conn: libvirt.virConnect, do: Any) -> None:
    config = wanted(SPECS[name])
    assert do(define(config))[0] == "changed"
    assert do(define(config))[0] == "ok"
    found = parse_network(conn.networkLookupByName("lan").XMLDesc(0))
    assert found.applied == config
    assert found.config is not None
    # Where nothing is said libvirt chooses a bridge.
    assert replace(found.config, bridge=config.bridge) == config
    conn.networkLookupByName("lan").undefine()


def test_hostile_text_stays_text(conn: libvirt.virConnect) -> None:
    name = "a<uuid>&x;{{ 1 }}'\""
    xml = render_network(define(wanted(SPECS["nat"], name), name), OWNER)
    made = conn.networkDefineXML(xml)
    assert (made.name(), made.UUIDString()) == (name, UUID)


def test_a_network_lives_and_goes(conn: libvirt.virConnect, do: Any) -> None:
    config = wanted(SPECS["all of it"])
    assert do(define(config), check=True) == ("changed", "would define the network lan")
    assert do(define(config))[0] == "changed"
    for operation in (StartNetwork("lan", UUID), SetNetworkAutostart("lan", UUID, True)):
        assert do(operation, check=True)[0] == "changed"
        assert do(operation)[0] == "changed"
        assert do(operation)[0] == "ok"
    network = conn.networkLookupByName("lan")
    assert network.isActive()
    assert network.autostart()
    assert do(RestartNetwork("lan", UUID)) == ("changed", "restarted")
    assert do(UndefineNetwork("lan", UUID))[0] == "changed"
    assert do(UndefineNetwork("lan", UUID))[0] == "ok"
    assert "lan" not in conn.listNetworks() + conn.listDefinedNetworks()
    assert do(StartNetwork("lan", UUID))[1] == "NetworkMissing"


def test_a_redefinition_keeps_what_libvirt_chose_and_others_reservations(
    conn: libvirt.virConnect, do: Any
) -> None:
    first = wanted({"subnet": "10.9.0.0/24"})
    do(define(first))
    assert do(ReserveAddress("lan", UUID, Reservation(MAC, "10.9.0.20", "web-1")))[0] == "changed"
    before = _config(conn)
    assert do(define(wanted({"subnet": "10.9.0.0/24", "mtu": 1400})))[0] == "changed"
    after = _config(conn)
    assert (after.bridge, after.hosts, after.mtu) == (before.bridge, before.hosts, 1400)
    # In another subnet they would be refused.
    assert do(define(wanted({"subnet": "10.8.0.0/24"})))[0] == "changed"
    assert _config(conn).hosts == ()


def test_an_address_is_reserved_changed_and_released(conn: libvirt.virConnect, do: Any) -> None:
    do(define(wanted(SPECS["nat"])))
    do(StartNetwork("lan", UUID))
    reserve = ReserveAddress("lan", UUID, Reservation(MAC, "10.9.0.20", "web-1"))
    assert do(reserve, check=True) == ("changed", "would reserve 10.9.0.20 on the network lan")
    assert [do(reserve)[0], do(reserve)[0]] == ["changed", "ok"]
    assert _config(conn).hosts == (Reservation(MAC, "10.9.0.20", "web-1"),)
    moved = Reservation(MAC, "10.9.0.21", "web-1")
    assert do(ReserveAddress("lan", UUID, moved))[0] == "changed"
    assert _config(conn).hosts == (moved,)
    # The same address for another MAC is refused, and changes nothing.
    assert do(ReserveAddress("lan", UUID, Reservation("52:54:00:00:00:99", "10.9.0.21")))[1] == "AddressTaken"
    # What is reserved meanwhile under the same MAC is not ours to take back.
    assert do(ReleaseAddress("lan", UUID, MAC, "10.9.0.20"))[0] == "ok"
    assert _config(conn).hosts == (moved,)
    release = ReleaseAddress("lan", UUID, MAC, "10.9.0.21")
    assert [do(release)[0], do(release)[0]] == ["changed", "ok"]
    assert _config(conn).hosts == ()


def test_ranges_and_records_change_while_it_runs(conn: libvirt.virConnect, do: Any) -> None:
    do(define(wanted(SPECS["all of it"])))
    do(StartNetwork("lan", UUID))
    spec = SPECS["all of it"] | {
        "dhcp": {"start": "10.9.0.100", "end": "10.9.0.150"},
        "dns": [{"name": "www", "address": "10.9.0.9"}, {"name": "new", "address": "10.9.0.10"}],
    }
    update = UpdateNetwork("lan", UUID, wanted(spec))
    assert [do(update)[0], do(update)[0]] == ["changed", "ok"]
    found = _config(conn)
    assert (found.dhcp, found.dns) == (wanted(spec).dhcp, wanted(spec).dns)


@pytest.mark.parametrize(
    "operation",
    [
        define(wanted(SPECS["nat"])),
        StartNetwork("lan", UUID),
        SetNetworkAutostart("lan", UUID, False),
        RestartNetwork("lan", UUID),
        UpdateNetwork("lan", UUID, wanted(SPECS["all of it"])),
        ReserveAddress("lan", UUID, Reservation(MAC, "10.77.0.20")),
    ],
    ids=lambda operation: operation.kind,
)
def test_somebody_elses_network_is_left_alone(
    operation: Operation, conn: libvirt.virConnect, do: Any
) -> None:
    theirs = conn.networkDefineXML("<network><name>lan</name><ip address='10.77.0.1' prefix='24'/></network>")
    theirs.create()
    before = theirs.XMLDesc(0)
    assert do(operation) == ("failed", "NotOurs")
    assert theirs.XMLDesc(0) == before
    assert theirs.isActive()


@pytest.mark.parametrize(
    "operation",
    [UndefineNetwork("lan", UUID), ReleaseAddress("lan", UUID, MAC, "10.77.0.20")],
    ids=lambda o: o.kind,
)
def test_what_would_take_away_takes_nothing_of_somebody_elses(
    operation: Operation, conn: libvirt.virConnect, do: Any
) -> None:
    theirs = conn.networkDefineXML(
        "<network><name>lan</name><ip address='10.77.0.1' prefix='24'><dhcp>"
        f"<host mac='{MAC}' ip='10.77.0.20'/></dhcp></ip></network>"
    )
    before = theirs.XMLDesc(0)
    assert do(operation)[0] == "ok"
    assert conn.networkLookupByName("lan").XMLDesc(0) == before


@pytest.mark.parametrize(
    "operation", [UndefineNetwork("lan", UUID), RestartNetwork("lan", UUID)], ids=lambda o: o.kind
)
def test_a_network_in_use_is_not_pulled_away(operation: Operation, conn: libvirt.virConnect, do: Any) -> None:
    do(define(wanted(SPECS["nat"])))
    do(StartNetwork("lan", UUID))
    conn.createXML(
        "<domain type='test'><name>a</name><memory>65536</memory><os><type>hvm</type></os>"
        "<devices><interface type='network'><source network='lan'/></interface></devices></domain>"
    )
    assert do(operation) == ("failed", "NetworkInUse")
    assert conn.networkLookupByName("lan").isActive()


def test_the_observer_sees_changes_and_keeps_what_did_not_change(conn: libvirt.virConnect, do: Any) -> None:
    now = [0.0]
    networks = Networks(lambda: now[0])
    active, first = networks.read(conn, changed=False)
    assert active == {"default"}
    do(define(wanted(SPECS["nat"])))
    active, second = networks.read(conn, changed=True)
    assert active == {"default"}
    assert set(second) == {"default", "lan"}
    assert second["default"] is first["default"]
    assert second["default"].applied is None
    assert (second["lan"].active, second["lan"].live, second["lan"].persistent) == (False, None, True)
    do(StartNetwork("lan", UUID))
    active, third = networks.read(conn, changed=False)
    assert active == {"default", "lan"}
    assert third["lan"].live == third["lan"].config
    assert networks.read(conn, changed=True) == (active, third)
    assert networks.read(conn, changed=True)[1] is third


def _config(conn: libvirt.virConnect) -> NetworkConfig:
    config = parse_network(conn.networkLookupByName("lan").XMLDesc(0)).config
    assert config is not None
    return config
