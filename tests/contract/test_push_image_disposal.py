"""What must keep an image from being deleted, and who may look at a pool while volumes are made in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest
from push_world import action, carry_out, config, defined, node
from reconciler_apply.turns import Turns

from reconciler.model.domain import DiskConfig
from reconciler.model.operations import CreateVolume, DeleteImage
from reconciler.model.placement import image_volume_name, part_name

IMAGE = image_volume_name("debian 12", "0123456789abcdef" * 4, "qcow2")
STRANGER = """<domain type='test'><name>theirs</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <disk type='file' device='disk'><source file='{path}'/><target dev='vda'/></disk></devices></domain>"""


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[libvirt.virConnect]:
    with node(tmp_path) as conn:
        yield conn


def put(conn: libvirt.virConnect, name: str, below: str = "") -> None:
    backing = f"<backingStore><path>{below}</path><format type='qcow2'/></backingStore>" if below else ""
    xml = f"<volume><name>{name}</name><capacity>1048576</capacity>{backing}</volume>"
    conn.storagePoolLookupByName("default").createXML(xml, 0)


def dispose(conn: libvirt.virConnect, directory: Path, volume: str = IMAGE) -> tuple[str, str, bool]:
    """The outcome and its reason, and whether the volume is still there."""
    result = carry_out(conn, directory, action(DeleteImage(volume, "default")))["delete-image"]
    volumes = conn.storagePoolLookupByName("default").listVolumes()
    return result.outcome, result.reason, volume in volumes


@pytest.mark.parametrize("volume", [IMAGE, part_name(IMAGE)])
def test_an_image_that_nothing_needs_goes_once(volume: str, conn: libvirt.virConnect, tmp_path: Path) -> None:
    put(conn, volume)
    assert dispose(conn, tmp_path, volume) == ("changed", "", False)
    assert dispose(conn, tmp_path, volume) == ("ok", "", False)


@pytest.mark.parametrize(
    "name",
    [
        "debian.qcow2",
        "debian.0123456789abcdef.vmdk",
        "debian.0123456789ABCDEF.qcow2",
        "debian.0123456789abcde.qcow2",
        "web.6a2f41a3-c54c-4cf1-8b3e-0123456789ab.root.qcow2",
        "volume-data.6a2f41a3-c54c-4cf1-8b3e-0123456789ab.qcow2",
        f".{IMAGE}",
        f"{IMAGE}.part",
        f"x/{IMAGE}",
        f"{IMAGE}\n",
    ],
)
def test_what_is_not_named_as_our_image_is_left_alone(
    name: str, conn: libvirt.virConnect, tmp_path: Path
) -> None:
    if "/" not in name and "\n" not in name:
        put(conn, name)
    outcome, reason, _ = dispose(conn, tmp_path, name)
    assert (outcome, reason) == ("failed", "NotOurs")


def test_a_volume_that_lies_over_it_keeps_it(conn: libvirt.virConnect, tmp_path: Path) -> None:
    put(conn, IMAGE)
    put(conn, "somebody's.qcow2", below=f"/pool/{IMAGE}")
    assert dispose(conn, tmp_path) == ("ok", "", True)
    conn.storageVolLookupByPath("/pool/somebody's.qcow2").delete(0)
    assert dispose(conn, tmp_path) == ("changed", "", False)


def test_a_volume_of_another_pool_keeps_it_too(conn: libvirt.virConnect, tmp_path: Path) -> None:
    put(conn, IMAGE)
    other = conn.storagePoolCreateXML(
        "<pool type='dir'><name>other</name><target><path>/other</path></target></pool>", 0
    )
    below = f"<backingStore><path>../pool/{IMAGE}</path><format type='qcow2'/></backingStore>"
    other.createXML(f"<volume><name>x.qcow2</name><capacity>1048576</capacity>{below}</volume>", 0)
    # The path is relative to the volume: what it lies over is found all the same.
    assert dispose(conn, tmp_path)[2] is True


def test_a_domain_of_anybody_that_has_it_as_a_disk_keeps_it(conn: libvirt.virConnect, tmp_path: Path) -> None:
    put(conn, IMAGE)
    theirs = conn.defineXML(STRANGER.format(path=f"/pool/{IMAGE}"))
    assert dispose(conn, tmp_path) == ("ok", "", True)
    theirs.undefine()
    disk = DiskConfig("vda", "virtio", f"/pool/{IMAGE}", "qcow2")
    carry_out(conn, tmp_path, defined(config(disks=(disk,))))
    assert dispose(conn, tmp_path) == ("ok", "", True)


def test_where_it_cannot_be_told_it_is_kept(conn: libvirt.virConnect, tmp_path: Path) -> None:
    put(conn, IMAGE)
    conn.defineXML(STRANGER.format(path="/somewhere/else.qcow2"))
    assert dispose(conn, tmp_path) == ("ok", "", True)


def test_check_mode_only_says_it(conn: libvirt.virConnect, tmp_path: Path) -> None:
    put(conn, IMAGE)
    step = action(DeleteImage(IMAGE, "default"))
    result = carry_out(conn, tmp_path, step, check=True)["delete-image"]
    assert (result.outcome, result.message) == (
        "changed",
        f"would delete the image {IMAGE}, over which no disk lies",
    )
    assert conn.storagePoolLookupByName("default").listVolumes() == [IMAGE]


class BusyPool:
    """A pool as libvirt's driver guards it: a refresh while a volume is being made is refused."""

    def __init__(self) -> None:
        self.turns = Turns()
        self._lock = threading.Lock()
        self._making = 0
        self.most_at_once = 0
        self.refused = 0
        self.refreshed = 0
        self._together = threading.Barrier(4)

    def make(self, number: int) -> None:
        with self.turns.building():
            with self._lock:
                self._making += 1
                self.most_at_once = max(self.most_at_once, self._making)
            if number < 4:
                self._together.wait(5)
            with self._lock:
                self._making -= 1

    def refresh(self) -> None:
        with self.turns.looking(), self._lock:
            self.refused += self._making > 0
            self.refreshed += 1


def _all_done(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)


def test_a_pool_is_refreshed_alone_and_filled_by_many() -> None:
    pool = BusyPool()
    first = [threading.Thread(target=pool.make, args=(number,)) for number in range(4)]
    _all_done(first)
    makers = [threading.Thread(target=pool.make, args=(number,)) for number in range(4, 34)]
    lookers = [threading.Thread(target=pool.refresh) for _ in range(30)]
    _all_done([thread for pair in zip(makers, lookers, strict=True) for thread in pair])
    assert (pool.refused, pool.refreshed) == (0, 30)
    assert pool.most_at_once >= 4, "volumes are made side by side"


def test_twenty_disks_in_one_pool(conn: libvirt.virConnect, tmp_path: Path) -> None:
    steps = [
        action(
            CreateVolume("default", f"disk-{number}.raw", "raw", 1 << 20),
            detail=str(number),
            vm=f"vm{number}",
        )
        for number in range(20)
    ]
    results = carry_out(conn, tmp_path, *steps)
    assert {result.outcome for result in results.values()} == {"changed"}
    assert len(conn.storagePoolLookupByName("default").listVolumes()) == 20
