"""What a lab has besides its hosts: a shared folder, Ceph, Open vSwitch and a whole Debian. No word of ours
in between: only libvirt and what the guests see."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.errors import LabError
from reconciler.lab import Lab, LabHost
from reconciler.lab.guest_access import Answer, console
from reconciler.lab.guests import Guests
from reconciler.lab.network import links
from reconciler.lab.process import command_lines, send, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.slow]

IMAGES = "/var/lib/libvirt/images"
SHARED = "/var/lib/libvirt/shared"

DOMAIN = """
<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type></os><features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
    </disk>
    {more}
    <serial type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  </devices>
</domain>
"""

NAT = "<interface type='network'><source network='default'/><model type='virtio'/></interface>"

VLAN = """
<interface type='bridge'>
  <source bridge='ovsbr0'/><vlan><tag id='{tag}'/></vlan><virtualport type='openvswitch'/>
  <model type='virtio'/>
</interface>
"""

RBD_POOL = """
<pool type='rbd'>
  <name>ceph</name>
  <source>
    <host name='{host}' port='6789'/><name>rbd</name>
    <auth type='ceph' username='{user}'><secret uuid='{secret}'/></auth>
  </source>
</pool>
"""

RBD_DISK = """
<disk type='network' device='disk'>
  <driver name='qemu' type='raw'/>
  <auth username='{user}'><secret type='ceph' uuid='{secret}'/></auth>
  <source protocol='rbd' name='rbd/data'><host name='{host}' port='6789'/></source>
  <target dev='vdb' bus='virtio'/>
</disk>
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("services") / "lab")
    try:
        lab.up(2, ceph=True, ovs=True)
        yield lab
    finally:
        lab.down(purge=True)
        assert remains(lab) == []


def remains(lab: Lab) -> list[str]:
    """All that is left of a lab on this machine, in words."""
    here = str(lab.directory)
    found = [f"process {pid} {argv}" for pid, argv in command_lines() if any(here in word for word in argv)]
    found += [f"link {name}" for name in links() if lab.tag in name]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if here in line]
    return found + ([f"folder {here}"] if lab.directory.exists() else [])


def feed(host: LabHost, command: str, xml: str) -> None:
    """A virsh command that reads XML, with options after a blank."""
    host.run(f"cat >/run/libvirt/fed.xml && virsh -q {command}", stdin=xml)


@pytest.fixture
def boot(lab: Lab, small_guests: Guests) -> Iterator[Callable[..., None]]:
    """Starts tiny guests, and removes them in the end."""
    started: list[tuple[LabHost, str]] = []

    def boot(host: LabHost, name: str, more: str = NAT) -> None:
        host.add_images([small_guests.tiny])
        disk = f"{IMAGES}/{name}.qcow2"
        host.run(f"qemu-img create -q -f qcow2 -b {IMAGES}/tiny.qcow2 -F qcow2 {disk}")
        feed(
            host,
            "define /run/libvirt/fed.xml",
            DOMAIN.format(name=name, memory=128, disk=disk, more=more),
        )
        started.append((host, name))
        host.virsh("start", name)

    yield boot
    for host, name in started:
        host.run(f"virsh -q 'destroy {name}; undefine {name}'", check=False)


def inside(host: LabHost, name: str, command: str) -> Answer:
    return console(host, name, command, timeout=60)


def said(host: LabHost, name: str, command: str) -> str:
    answer = inside(host, name, command)
    assert answer.status == 0, answer
    return answer.output


# -- the shared folder ---------------------------------------------------------------------------------


def test_a_shared_folder_is_one_pool_on_two_hosts_with_locks_between_them(lab: Lab) -> None:
    one, two = lab.hosts
    for host in lab.hosts:
        host.virsh("pool-create-as", "both", "dir", "--target", SHARED)
    one.virsh("vol-create-as", "both", "data.qcow2", "16M", "--format", "qcow2")
    two.virsh("pool-refresh", "both")
    assert "data.qcow2" in two.virsh("vol-list", "both")
    open_it = ["qemu-io", "-c", "write 0 512", f"{SHARED}/data.qcow2"]
    assert two.run(open_it, check=False).returncode == 0
    # Held by a process that waits on a pipe until its host is told to end it.
    held = f"mkfifo /run/held; qemu-io {SHARED}/data.qcow2 <>/run/held >/run/said 2>&1 & echo $! >/run/holder"
    one.run(held)
    one.run("until [ -s /run/said ]; do sleep 0.1; done")
    refused = two.run(open_it, check=False)
    one.run("kill -9 $(cat /run/holder)")
    assert 'Failed to get "write" lock' in refused.stderr
    for host in lab.hosts:
        host.virsh("pool-destroy", "both")


# -- Ceph ----------------------------------------------------------------------------------------------


@pytest.fixture
def pools(lab: Lab) -> Iterator[dict[str, str]]:
    """Both hosts have the pool, with the key that they were given; what describes it."""
    lab.up(2)
    lab.ceph.empty()
    facts = {"host": lab.ceph.address, "user": lab.ceph.user, "secret": lab.ceph.secret}
    for host in lab.hosts:
        feed(host, "pool-create /run/libvirt/fed.xml", RBD_POOL.format(**facts))
    yield facts
    for host in lab.hosts:
        host.virsh("pool-destroy", "ceph")


def test_an_rbd_volume_goes_from_one_host_to_the_other_with_its_data(
    lab: Lab, pools: dict[str, str], boot: Callable[..., None]
) -> None:
    one, two = lab.hosts
    boot(one, "writer")
    boot(two, "reader")
    one.virsh("vol-create-as", "ceph", "data", "32M", "--format", "raw")
    two.virsh("pool-refresh", "ceph")
    assert "rbd/data" in two.virsh("vol-list", "ceph")
    disk = RBD_DISK.format(**pools)
    said(one, "writer", "true")
    feed(one, "attach-device writer /run/libvirt/fed.xml --live", disk)
    write = "printf kept | dd of=/dev/vdb bs=1 seek=9000000 conv=fsync 2>/dev/null"
    assert said(one, "writer", f"until [ -b /dev/vdb ]; do sleep 0.1; done; {write}") == ""
    one.virsh("detach-disk", "writer", "vdb", "--live")
    gone = wait_until(lambda: "vdb" not in one.virsh("domblklist", "writer"), timeout=20, pause=0.2)
    assert gone
    said(two, "reader", "true")
    feed(two, "attach-device reader /run/libvirt/fed.xml --live", disk)
    read = "dd if=/dev/vdb bs=1 skip=9000000 count=4 2>/dev/null"
    assert said(two, "reader", f"until [ -b /dev/vdb ]; do sleep 0.1; done; {read}") == "kept"
    assert said(two, "reader", "cat /sys/block/vdb/size") == str((32 << 20) // 512)


def test_a_wrong_key_is_refused(lab: Lab, pools: dict[str, str]) -> None:
    host = lab.hosts[0]
    host.virsh("secret-set-value", pools["secret"], "--base64", "AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==")
    try:
        xml = RBD_POOL.format(**pools).replace("<name>ceph<", "<name>other<")
        with pytest.raises(LabError, match="failed to connect to the RADOS monitor"):
            feed(host, "pool-create /run/libvirt/fed.xml", xml)
    finally:
        lab.ceph.introduce(host)


def test_ceph_survives_a_power_cut_and_up_brings_it_back(lab: Lab, pools: dict[str, str]) -> None:
    host = lab.hosts[0]
    host.virsh("vol-create-as", "ceph", "data", "32M", "--format", "raw")
    init = lab.ceph.processes()
    send(max(init), signal.SIGKILL)
    assert wait_until(lambda: not lab.ceph.processes(), timeout=15)
    assert not [argv for _, argv in command_lines() if argv[0].startswith("ceph") and lab.tag in str(argv)]
    lab.up(2)
    host.virsh("pool-refresh", "ceph")
    assert "rbd/data" in host.virsh("vol-list", "ceph")
    free = int(host.virsh("pool-info", "ceph", "--bytes").split("Available:")[1].split()[0])
    assert free > 1 << 30


# -- Open vSwitch --------------------------------------------------------------------------------------


def test_vlans_on_open_vswitch_keep_tenants_apart(lab: Lab, boot: Callable[..., None]) -> None:
    host = lab.hosts[0]
    tenants = {"red1": 10, "red2": 10, "blue": 20}
    for name, tag in tenants.items():
        boot(host, name, VLAN.format(tag=tag))
    for number, name in enumerate(tenants, 1):
        said(host, name, f"ip address add 10.9.0.{number}/24 dev eth0")
    # Over TCP, which needs sound checksums: a ping would get through without.
    hello = "echo 'seq 1 3000 | tail -n 1; exit' | timeout 10 nc -w 5 {} 2323"
    assert said(host, "red1", hello.format("10.9.0.2")).endswith("3000")
    assert said(host, "red2", "ping -c 1 -W 5 10.9.0.1 >/dev/null && echo yes") == "yes"
    for name, other in (("blue", "10.9.0.1"), ("red1", "10.9.0.3")):
        assert inside(host, name, f"ping -c 2 -W 1 {other}").status == 1
        assert "3000" not in inside(host, name, hello.format(other)).output


def test_the_switch_is_the_hosts_own_and_comes_back_with_it(lab: Lab) -> None:
    one, two = lab.hosts
    one.run("ovs-vsctl add-br ovsbr1 -- set bridge ovsbr1 datapath_type=netdev")
    assert two.run("ovs-vsctl list-br").stdout.split() == ["ovsbr0"]
    one.stop()
    one.start()
    assert sorted(one.run("ovs-vsctl list-br").stdout.split()) == ["ovsbr0", "ovsbr1"]
    assert "ovs-vswitchd" in one.processes().values()
    one.run("ovs-vsctl del-br ovsbr1")
    one.run("kill -9 $(cat /run/openvswitch/ovs-vswitchd.pid)")
    lab.up(2)
    assert list(one.processes().values()).count("ovs-vswitchd") == 1
    if Path("/run/openvswitch").exists():
        assert not list(Path("/run/openvswitch").glob("*"))


# -- Debian --------------------------------------------------------------------------------------------


def test_debian_boots_from_its_own_disk_and_answers_by_its_agent(
    lab: Lab, debian: Callable[[], Path]
) -> None:
    host = lab.hosts[1]
    host.add_images([debian()])
    disk = f"{IMAGES}/system.qcow2"
    host.run(f"qemu-img create -q -f qcow2 -b {IMAGES}/debian.qcow2 -F qcow2 {disk} 2G")
    feed(
        host,
        "define /run/libvirt/fed.xml",
        DOMAIN.format(name="system", memory=384, disk=disk, more=NAT),
    )
    host.virsh("start", "system")
    try:
        answer = console(host, "system", ". /etc/os-release && echo $ID && uname -r", timeout=180)
        assert answer.output.startswith("debian"), answer
        ping = ["virsh", "-q", "qemu-agent-command", "system", json.dumps({"execute": "guest-ping"})]
        assert wait_until(lambda: not host.run(ping, check=False).returncode, timeout=60, pause=0.5)
        host.virsh("shutdown", "system", "--mode", "agent")
        deadline = time.monotonic() + 90
        while host.virsh("domstate", "system").strip() != "shut off":
            assert time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        host.run("virsh -q 'destroy system; undefine system'", check=False)
