"""The lab keeps its promises: real hosts that answer, break on demand, mend, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest
import yaml

import reconciler
from reconciler.errors import LabError
from reconciler.lab import HostState, Lab, LabHost
from reconciler.lab.guest_access import guest_address, guest_shell, guest_status
from reconciler.lab.guests import Guests, build_guests
from reconciler.lab.network import bridge_name, links
from reconciler.lab.process import command_lines

pytestmark = [pytest.mark.lab, pytest.mark.slow]

DOMAIN = """
<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu current='1'>2</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='/var/lib/libvirt/images/{name}.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'><source network='default'/><model type='virtio'/></interface>
    <serial type='file'><source path='/var/log/libvirt/{name}.log'/></serial>
  </devices>
</domain>
"""


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Guests:
    return build_guests(tmp_path_factory.mktemp("guests"))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab that the module's tests share; each test leaves it healthy or lets `up` mend it."""
    lab = Lab(tmp_path_factory.mktemp("lab") / "room")
    try:
        lab.up(2)
        yield lab
    finally:
        lab.down(purge=True)


@pytest.fixture
def lab(room: Lab) -> Lab:
    room.up(2)
    return room


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab that the test may ruin."""
    lab = Lab(tmp_path / "own")
    try:
        yield lab
    finally:
        lab.down()


def remains(lab: Lab) -> list[str]:
    """All that is left of a lab on this machine, in words."""
    found = [
        f"process {pid} {argv}" for pid, argv in command_lines() if any(str(lab.directory) in w for w in argv)
    ]
    found += [f"link {name}" for name in links() if lab.tag in name]
    found += [
        line for line in Path("/proc/self/mounts").read_text().splitlines() if str(lab.directory) in line
    ]
    if lab.directory.exists():
        found.append(f"folder {lab.directory}")
    return found


def define(host: LabHost, name: str, image: str, memory: int = 128) -> None:
    """Define a domain whose disk is an overlay over one of the small guests."""
    host.run(f"cd /var/lib/libvirt/images && qemu-img create -q -f qcow2 -b {image} -F qcow2 {name}.qcow2")
    with_xml = host.directory / f"{name}.xml"
    with_xml.write_text(DOMAIN.format(name=name, memory=memory))
    host.virsh("define", str(with_xml))


def test_up_twice_keeps_the_hosts(lab: Lab) -> None:
    before = [(host.name, host.holder(), host.libvirtd_pid()) for host in lab.hosts]
    lab.up(2)
    assert [(host.name, host.holder(), host.libvirtd_pid()) for host in lab.hosts] == before
    assert [status.state for status in lab.status()] == [HostState.UP, HostState.UP]


def test_libvirt_answers_over_ssh_with_pool_and_network(lab: Lab) -> None:
    host = lab.host("lab1")
    connection = libvirt.open(host.uri)
    try:
        assert connection.getHostname() == "lab1"
        pool = connection.storagePoolLookupByName("default")
        assert (pool.isActive(), pool.autostart()) == (1, 1)
        network = connection.networkLookupByName("default")
        assert (network.isActive(), network.autostart()) == (1, 1)
        assert f"<ip address='{host.guest_prefix}.1'" in network.XMLDesc()
    finally:
        connection.close()
    (host.images_dir / "seen-from-outside").write_text("x")
    assert host.run("cat /var/lib/libvirt/images/seen-from-outside").stdout == "x"


def test_hosts_are_distinct_and_know_each_other(lab: Lab) -> None:
    one, two = lab.hosts
    uuids = {host.virsh("capabilities").split("<uuid>")[1].split("<")[0] for host in (one, two)}
    assert len(uuids) == 2
    assert one.guest_prefix != two.guest_prefix
    assert one.virsh("--connect", f"qemu+ssh://root@{two.name}/system", "hostname").strip() == "lab2"


def test_inventory_reaches_the_hosts_by_plain_ssh(lab: Lab) -> None:
    everything = yaml.safe_load(lab.inventory.read_text())["all"]
    shared = everything["vars"]
    for name, own in everything["hosts"].items():
        argv = [
            "ssh",
            "-i",
            shared["ansible_ssh_private_key_file"],
            *shared["ansible_ssh_common_args"].split(),
        ]
        argv += [f"{shared['ansible_user']}@{own['ansible_host']}", "hostname"]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == name
        assert own["reconciler_labels"]["rack"]


def test_killed_libvirtd_shows_and_up_mends_it_without_a_reboot(lab: Lab) -> None:
    host = lab.host("lab1")
    holder = host.holder()
    host.kill_libvirtd()
    found = lab.status()[0]
    assert found.state is HostState.HALF
    assert "libvirtd is not running" in found.detail
    lab.up(2)
    assert lab.status()[0].state is HostState.UP
    assert host.holder() == holder


def test_killed_sshd_shows_and_up_mends_it(lab: Lab) -> None:
    host = lab.host("lab2")
    host.kill_sshd()
    assert "sshd is not running" in lab.status()[1].detail
    lab.up(2)
    assert lab.status()[1].state is HostState.UP


def test_paused_libvirtd_hangs_and_does_not_refuse(lab: Lab) -> None:
    host = lab.host("lab1")
    host.pause_libvirtd()
    started = time.monotonic()
    assert host.status(timeout=1.5).state is HostState.HALF
    assert time.monotonic() - started >= 1.5
    host.resume_libvirtd()
    assert host.status().state is HostState.UP


def test_refused_key(lab: Lab) -> None:
    host = lab.host("lab1")
    host.refuse_key()
    assert "Permission denied" in host.status().detail
    host.accept_key()
    assert host.status().state is HostState.UP


def test_unplugged_cable(lab: Lab) -> None:
    host = lab.host("lab2")
    host.unplug_cable()
    assert host.status(timeout=1.5).state is HostState.HALF
    host.plug_cable()
    assert host.status(timeout=10).state is HostState.UP


def test_power_cut_keeps_domains_and_disks(lab: Lab, guests: Guests) -> None:
    host = lab.host("lab1")
    host.add_images([guests.halt])
    define(host, "kept", "halt.qcow2", memory=32)
    host.virsh("start", "kept")
    host.stop()
    assert host.processes() == {}
    assert lab.status()[0].state is HostState.DOWN
    with pytest.raises(LabError, match="not running"):
        host.run("true")
    host.start()
    assert host.virsh("domstate", "kept").strip() == "shut off"
    host.virsh("start", "kept")
    host.virsh("destroy", "kept")
    host.virsh("undefine", "kept")


def test_halt_guest_costs_nothing(lab: Lab, guests: Guests) -> None:
    host = lab.host("lab1")
    host.add_images([guests.halt])
    define(host, "idle", "halt.qcow2", memory=32)
    host.virsh("start", "idle")
    log = host.directory / "log/idle.log"
    deadline = time.monotonic() + 20
    while b"halt" not in log.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    before = cpu_seconds(host, "idle")
    time.sleep(2)
    assert cpu_seconds(host, "idle") - before < 0.2
    host.virsh("destroy", "idle")
    host.virsh("undefine", "idle")


def cpu_seconds(host: LabHost, domain: str) -> float:
    text = host.virsh("domstats", "--cpu-total", domain)
    return int(text.split("cpu.time=")[1].split()[0]) / 1e9


def test_tiny_guest_boots_from_disk_takes_hardware_and_shuts_down(lab: Lab, guests: Guests) -> None:
    host = lab.host("lab1")
    host.add_images([guests.tiny])
    define(host, "tiny1", "tiny.qcow2")
    host.virsh("start", "tiny1")
    address = guest_address(host, "tiny1")
    seen = guest_status(host, address)
    assert (seen["cpus"], seen["disks"], seen["boots"]) == ("1", "vda", "1")
    assert "tiny ready" in (host.directory / "log/tiny1.log").read_text(errors="replace")

    host.virsh("setvcpus", "tiny1", "2", "--live")
    host.run("qemu-img create -q -f qcow2 /var/lib/libvirt/images/more.qcow2 8M")
    disk = "/var/lib/libvirt/images/more.qcow2"
    host.virsh("attach-disk", "tiny1", disk, "vdb", "--subdriver", "qcow2", "--live")
    host.virsh("attach-interface", "tiny1", "network", "default", "--model", "virtio", "--live")
    host.virsh("setmem", "tiny1", "112MiB", "--live")
    deadline = time.monotonic() + 20
    while True:
        now = guest_status(host, address)
        shrunk = int(now["memory"]) < int(seen["memory"]) - 8192
        if (now["cpus"], now["disks"]) == ("2", "vda vdb") and "eth1=" in now["addresses"] and shrunk:
            break
        assert time.monotonic() < deadline, now
        time.sleep(0.3)
    assert "vdb" in guest_shell(host, address, "cat /proc/partitions")
    assert f"vdb={8 << 20}" in now["sizes"].split()
    assert now["online"] == "0-1"

    # A card that went and came again has an address again.
    mac = dict(pair.split("=") for pair in now["links"].split())["eth1"]
    host.virsh("detach-interface", "tiny1", "network", "--mac", mac, "--live")
    deadline = time.monotonic() + 20
    while "eth1" in guest_status(host, address)["links"]:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    host.virsh("attach-interface", "tiny1", "network", "default", "--model", "virtio", "--mac", mac, "--live")
    while "eth1=" not in guest_status(host, address)["addresses"]:
        assert time.monotonic() < deadline
        time.sleep(0.3)

    host.virsh("shutdown", "tiny1")
    deadline = time.monotonic() + 15
    while host.virsh("domstate", "tiny1").strip() != "shut off":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    host.virsh("start", "tiny1")
    assert guest_status(host, guest_address(host, "tiny1"))["boots"] == "2"
    host.virsh("destroy", "tiny1")
    host.virsh("undefine", "tiny1")


def test_guests_are_cached_and_repeatable(guests: Guests, tmp_path: Path) -> None:
    cache = guests.tiny.parent
    before = guests.tiny.stat().st_mtime_ns
    assert build_guests(cache).digests == guests.digests
    assert guests.tiny.stat().st_mtime_ns == before
    guests.halt_raw.write_bytes(b"damaged")
    assert build_guests(cache).digests == guests.digests
    assert list(build_guests(tmp_path).digests.values()) == list(guests.digests.values())


def test_full_pool_and_no_remains(own_lab: Lab) -> None:
    own_lab.up(1, pool_size=8 << 20)
    host = own_lab.host("lab1")
    assert host.run("head -c 16M /dev/zero > /var/lib/libvirt/images/big", check=False).returncode != 0
    own_lab.up(2)
    with pytest.raises(LabError, match="lab2 runs with an unlimited pool"):
        own_lab.up(2, pool_size=8 << 20)
    own_lab.down()
    assert remains(own_lab) == []


def test_two_labs_do_not_disturb_each_other(lab: Lab, own_lab: Lab) -> None:
    own_lab.up(1)
    assert {host.address for host in own_lab.hosts}.isdisjoint(host.address for host in lab.hosts)
    own_lab.down()
    assert [status.state for status in lab.status()] == [HostState.UP, HostState.UP]


def test_down_leaves_nothing_even_after_kills_and_lost_files(own_lab: Lab, guests: Guests) -> None:
    own_lab.up(3)
    one, two, three = own_lab.hosts
    one.add_images([guests.halt])
    define(one, "left", "halt.qcow2", memory=32)
    one.virsh("start", "left")
    assert any(name.startswith("qemu-system") for name in one.processes().values())
    two.kill_libvirtd()
    holder = three.holder()
    assert holder is not None
    os.kill(holder, signal.SIGKILL)
    (own_lab.directory / "lab.json").unlink()
    assert bridge_name(own_lab.tag) in links()
    own_lab.down()
    assert remains(own_lab) == []
    own_lab.down()
    assert own_lab.hosts == ()


def test_up_rebuilds_a_host_whose_init_was_killed(own_lab: Lab) -> None:
    own_lab.up(1)
    holder = own_lab.host("lab1").holder()
    assert holder is not None
    os.kill(holder, signal.SIGKILL)
    own_lab.up(2)
    assert [status.state for status in own_lab.status()] == [HostState.UP, HostState.UP]


def test_command_line(tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "reconciler.cli.lab", *arguments, "--dir", str(tmp_path / "cli")]
        root = Path(reconciler.__file__).parents[1]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=root)

    try:
        up = call("up", "--hosts", "1", "--name", "box", "--pool-size", "64Mi")
        assert up.returncode == 0, up.stderr
        assert up.stdout.strip() == str(tmp_path / "cli/inventory.yml")
        status = call("status", "-o", "json")
        assert status.returncode == 0
        assert [(host["name"], host["state"]) for host in json.loads(status.stdout)] == [("box1", "up")]
        Lab(tmp_path / "cli").host("box1").stop()
        status = call("status")
        assert status.returncode == 1
        assert "down" in status.stdout
    finally:
        down = call("down")
    assert down.returncode == 0, down.stderr
    assert not (tmp_path / "cli").exists()
    assert call("status").returncode == 1


def test_subnet_that_the_machine_uses_is_refused(lab: Lab, tmp_path: Path) -> None:
    taken = lab.hosts[0].address.rpartition(".")[0] + ".0/24"
    with pytest.raises(LabError, match="already uses"):
        Lab(tmp_path / "other", subnet=taken).up(1)
    Lab(tmp_path / "other").down()
    assert remains(Lab(tmp_path / "other")) == []
