"""Pools, volumes and claims against libvirt's test driver: each step twice, refused where it must be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import libvirt
import pytest
from push_world import OWNER, UID, Executor, action, carry_out, config, defined, document, mark_of, node

from reconciler.model.domain import DiskConfig
from reconciler.model.host import Pool
from reconciler.model.identity import object_uuid
from reconciler.model.operations import (
    AttachDisk,
    ClaimVolume,
    CreateVolume,
    DefinePool,
    DiscardVolume,
    Operation,
    PutSeed,
    Redefine,
    ReleaseVolume,
    ResizeVolume,
    SetPoolAutostart,
    SnapshotVolume,
    Start,
    StartPool,
    UndefinePool,
)
from reconciler.model.placement import (
    claim_name,
    copying_name,
    own_volume_name,
    seed_name,
    volume_name,
)
from reconciler.model.storage import StoragePool
from reconciler.observed.resources import read_pool
from reconciler.planner.pending import pending_pool
from reconciler.planner.resources.pools import define_pool
from reconciler.planner.volumes import volume_uid
from reconciler.push.render import render_pool

VOLUME_UID = volume_uid(OWNER, "data")
VOLUME = own_volume_name("data", VOLUME_UID, "qcow2")
OTHER = "11111111-c54c-4cf1-8b3e-0123456789ab"
SECRET = "00000000-1111-4222-8333-444444444444"

POOLS: dict[str, dict[str, Any]] = {
    "dir": {"path": "/srv/fast & loose"},
    "netfs": {"type": "netfs", "path": "/mnt/nas", "source": {"host": "nas.example", "path": "/export/vms"}},
    "netfs-v6": {"type": "netfs", "path": "/mnt/n", "source": {"host": "2001:db8::1", "path": "/e"}},
    "logical": {"type": "logical", "source": {"name": "vg0", "devices": ["/dev/sdb", "/dev/sdc"]}},
    "zfs": {"type": "zfs", "source": {"name": "tank/vms"}},
    "rbd": {
        "type": "rbd",
        "source": {
            "name": "vms",
            "hosts": ["mon1:6789", "mon2", "[2001:db8::1]:6789"],
            "user": "libvirt",
            "secret": SECRET,
        },
    },
}


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[libvirt.virConnect]:
    with node(tmp_path) as conn:
        yield conn


def manifest(name: str) -> StoragePool:
    return StoragePool.model_validate({"metadata": {"name": name}, "spec": POOLS[name]})


def twice(conn: libvirt.virConnect, directory: Path, operation: Operation, uid: str = VOLUME_UID) -> None:
    """The first time it changes something, the second time nothing."""
    for outcome in ("changed", "ok"):
        results = carry_out(conn, directory, action(operation, uid=uid, vm="Volume"))
        [result] = results.values()
        assert (result.outcome, result.message) == (outcome, result.message), result


def refused(conn: libvirt.virConnect, directory: Path, operation: Operation, uid: str = VOLUME_UID) -> str:
    [result] = carry_out(conn, directory, action(operation, uid=uid)).values()
    assert result.outcome == "failed", result
    return result.reason


# -- pools -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POOLS)
def test_every_type_of_pool_fits_the_schema_and_reads_back_as_it_was_meant(
    name: str, conn: libvirt.virConnect
) -> None:
    wanted = pending_pool(manifest(name), OWNER, "h1", 0)
    xml = render_pool(define_pool(manifest(name), wanted))
    wrong = xml.replace("</pool>", "<nonsense/></pool>")
    with pytest.raises(libvirt.libvirtError, match=r"failed to validate against schema"):
        conn.storagePoolDefineXML(wrong, libvirt.VIR_STORAGE_POOL_DEFINE_VALIDATE)
    made = conn.storagePoolDefineXML(xml, libvirt.VIR_STORAGE_POOL_DEFINE_VALIDATE)
    found = read_pool(made)
    told = (found.name, found.uuid, found.type, found.source, found.hosts, found.auth)
    assert told == (wanted.name, wanted.uuid, wanted.type, wanted.source, wanted.hosts, wanted.auth)
    if wanted.type in ("dir", "netfs", "logical"):
        assert found.path == wanted.path


def _pool(conn: libvirt.virConnect, tmp_path: Path) -> tuple[DefinePool, str]:
    uuid = object_uuid("StoragePool", OWNER, "fast", "h1")
    made = DefinePool("fast", uuid, "dir", path="/fast")
    carry_out(conn, tmp_path, action(made))
    return made, uuid


def test_a_pool_lives_and_dies(conn: libvirt.virConnect, tmp_path: Path) -> None:
    uuid = object_uuid("StoragePool", OWNER, "fast", "h1")
    twice(conn, tmp_path, DefinePool("fast", uuid, "dir", path="/fast"))
    twice(conn, tmp_path, StartPool("fast", uuid))
    twice(conn, tmp_path, SetPoolAutostart("fast", uuid, True))
    assert read_pool(conn.storagePoolLookupByName("fast")).autostart
    twice(conn, tmp_path, UndefinePool("fast", uuid))
    assert "fast" not in {pool.name() for pool in conn.listAllStoragePools(0)}


def test_a_pool_of_somebody_else_is_never_changed(conn: libvirt.virConnect, tmp_path: Path) -> None:
    theirs = conn.storagePoolLookupByName("default").XMLDesc(0)
    ours = object_uuid("StoragePool", OWNER, "default", "h1")
    [kept] = carry_out(conn, tmp_path, action(DefinePool("default", ours, "dir", path="/other"))).values()
    assert kept.outcome == "ok"
    for operation in (
        StartPool("default", ours),
        SetPoolAutostart("default", ours, True),
        UndefinePool("default", ours),
    ):
        assert refused(conn, tmp_path, operation) == "NotOurs"
    assert conn.storagePoolLookupByName("default").XMLDesc(0) == theirs


def test_a_pool_in_which_a_domain_has_a_disk_is_not_undefined(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    _, uuid = _pool(conn, tmp_path)
    carry_out(conn, tmp_path, action(StartPool("fast", uuid)))
    disk = DiskConfig("vda", "virtio", "/fast/x.qcow2", "qcow2")
    carry_out(conn, tmp_path, defined(config(disks=(disk,))))
    assert refused(conn, tmp_path, UndefinePool("fast", uuid)) == "PoolInUse"


# -- volumes ---------------------------------------------------------------------------------------------


def volumes(conn: libvirt.virConnect) -> set[str]:
    return set(conn.storagePoolLookupByName("default").listVolumes())


def test_a_volume_is_made_once(conn: libvirt.virConnect, tmp_path: Path) -> None:
    twice(conn, tmp_path, CreateVolume("default", VOLUME, "qcow2", 1 << 30))
    assert volumes(conn) == {VOLUME}
    [again] = carry_out(
        conn, tmp_path, action(CreateVolume("default", VOLUME, "qcow2", 1 << 31), uid=VOLUME_UID)
    ).values()
    assert again.outcome == "ok"


def _raw(name: str, size: int = 1 << 20) -> str:
    return f"<volume><name>{name}</name><capacity>{size}</capacity></volume>"


def test_a_copy_that_was_begun_and_not_finished_is_made_anew(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    pool = conn.storagePoolLookupByName("default")
    pool.createXML(_raw("source.qcow2", 1 << 22), 0)
    pool.createXML(_raw(VOLUME), 0)
    pool.createXML(_raw(copying_name(VOLUME_UID)), 0)
    copy = CreateVolume("default", VOLUME, "qcow2", 1 << 22, source="source.qcow2", source_pool="default")
    twice(conn, tmp_path, copy)
    assert volumes(conn) == {VOLUME, "source.qcow2"}
    assert pool.storageVolLookupByName(VOLUME).info()[1] == 1 << 22


def test_a_half_copy_that_a_domain_has_all_the_same_is_left_alone(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    pool = conn.storagePoolLookupByName("default")
    pool.createXML(_raw(VOLUME), 0)
    pool.createXML(_raw(copying_name(VOLUME_UID)), 0)
    carry_out(conn, tmp_path, defined(_with_volume("a", UID)))
    again = CreateVolume("default", VOLUME, "qcow2", 1 << 22)
    assert refused(conn, tmp_path, again) == "DiskInUse"
    assert VOLUME in volumes(conn)


def test_a_half_copy_that_a_machine_claims_all_the_same_is_left_alone(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    pool = conn.storagePoolLookupByName("default")
    for name in (VOLUME, copying_name(VOLUME_UID), claim_name(VOLUME_UID, OTHER)):
        pool.createXML(_raw(name), 0)
    again = CreateVolume("default", VOLUME, "qcow2", 1 << 22)
    assert refused(conn, tmp_path, again) == "VolumeClaimed"
    assert VOLUME in volumes(conn)


def test_a_volume_does_not_begin_larger_than_it_shall_be(conn: libvirt.virConnect, tmp_path: Path) -> None:
    conn.storagePoolLookupByName("default").createXML(_raw("source.qcow2", 1 << 22), 0)
    copy = CreateVolume("default", VOLUME, "qcow2", 1 << 21, source="source.qcow2", source_pool="default")
    assert refused(conn, tmp_path, copy) == "DiskTooSmall"
    assert volumes(conn) == {"source.qcow2"}


def test_what_runs_is_not_copied(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(CreateVolume("default", VOLUME, "qcow2", 1 << 20), uid=VOLUME_UID))
    carry_out(conn, tmp_path, defined(_with_volume("a", UID)))
    carry_out(conn, tmp_path, action(Start()))
    other = volume_uid(OWNER, "copy")
    copy = CreateVolume(
        "default",
        own_volume_name("copy", other, "qcow2"),
        "qcow2",
        1 << 20,
        source=VOLUME,
        source_pool="default",
    )
    assert refused(conn, tmp_path, copy, other) == "SourceInUse"


def test_only_what_carries_our_naming_and_this_uid_is_discarded(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    pool = conn.storagePoolLookupByName("default")
    names = [VOLUME, own_volume_name("data", OTHER, "qcow2"), "precious.qcow2", f"x{VOLUME_UID}.qcow2"]
    for name in names:
        pool.createXML(_raw(name), 0)
    for name in names[1:]:
        assert refused(conn, tmp_path, DiscardVolume("default", name)) == "NotOurs"
    twice(conn, tmp_path, DiscardVolume("default", VOLUME))
    assert volumes(conn) == set(names[1:])


def test_a_kept_disk_of_a_machine_is_discarded_by_its_uid(conn: libvirt.virConnect, tmp_path: Path) -> None:
    disk = volume_name("db", OTHER, "data", "raw")
    conn.storagePoolLookupByName("default").createXML(_raw(disk), 0)
    assert refused(conn, tmp_path, DiscardVolume("default", disk), UID) == "NotOurs"
    twice(conn, tmp_path, DiscardVolume("default", disk), OTHER)


def test_what_a_domain_or_a_claim_has_is_not_discarded(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(CreateVolume("default", VOLUME, "qcow2", 1 << 20), uid=VOLUME_UID))
    carry_out(conn, tmp_path, defined(_with_volume("a", UID)))
    assert refused(conn, tmp_path, DiscardVolume("default", VOLUME)) == "DiskInUse"
    conn.lookupByUUIDString(UID).undefine()
    carry_out(conn, tmp_path, action(ClaimVolume("default", VOLUME_UID), uid=OTHER))
    assert refused(conn, tmp_path, DiscardVolume("default", VOLUME)) == "VolumeClaimed"
    assert VOLUME in volumes(conn)


def test_what_somebodys_overlay_lies_over_is_not_discarded(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(CreateVolume("default", VOLUME, "qcow2", 1 << 20), uid=VOLUME_UID))
    pool = conn.storagePoolLookupByName("default")
    below = f"<backingStore><path>/pool/{VOLUME}</path><format type='qcow2'/></backingStore>"
    xml = f"<volume><name>data.snap1</name><capacity>1048576</capacity>{below}</volume>"
    overlay = pool.createXML(xml, 0)
    assert refused(conn, tmp_path, DiscardVolume("default", VOLUME)) == "DiskInUse"
    assert VOLUME in volumes(conn)
    overlay.delete(0)
    twice(conn, tmp_path, DiscardVolume("default", VOLUME))


def test_what_somebodys_overlay_lies_over_does_not_go_back(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(CreateVolume("default", VOLUME, "qcow2", 1 << 20), uid=VOLUME_UID))
    pool = conn.storagePoolLookupByName("default")
    below = f"<backingStore><path>/pool/{VOLUME}</path><format type='qcow2'/></backingStore>"
    overlay = pool.createXML(
        f"<volume><name>data.snap1</name><capacity>1048576</capacity>{below}</volume>", 0
    )
    asked: list[str] = []

    class Files:
        def snapshot(self, _path: str, act: str, _name: str) -> str:
            asked.append(act)
            return act

    def outcome(act: Literal["take", "restore", "delete"]) -> str:
        work = document(action(SnapshotVolume("default", VOLUME, "then", act), uid=VOLUME_UID))
        executor = Executor(work, tmp_path)
        executor._carrier = Files()  # type: ignore[assignment]
        [result] = executor.carry_out(conn)
        return result.reason or result.outcome

    assert outcome("restore") == "DiskInUse"
    assert (outcome("take"), outcome("delete")) == ("changed", "changed")
    overlay.delete(0)
    assert outcome("restore") == "changed"
    assert asked == ["take", "delete", "restore"]


def test_what_a_machine_claims_does_not_grow_under_it(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(CreateVolume("default", VOLUME, "qcow2", 1 << 20), uid=VOLUME_UID))
    carry_out(conn, tmp_path, action(ClaimVolume("default", VOLUME_UID), uid=OTHER))
    assert refused(conn, tmp_path, ResizeVolume("default", VOLUME, 1 << 21)) == "VolumeClaimed"
    carry_out(conn, tmp_path, action(ReleaseVolume("default", VOLUME_UID, (OTHER,)), uid=VOLUME_UID))
    # libvirt's test driver cannot grow a volume: it came past the question who has it.
    assert refused(conn, tmp_path, ResizeVolume("default", VOLUME, 1 << 21)) == "Unsupported"


@pytest.mark.parametrize(
    "name",
    [
        "precious.qcow2",
        VOLUME,
        volume_name("web-1", UID, "root", "qcow2"),
        seed_name("web-1", OTHER),
        f"x/{seed_name('web-1', UID)}",
    ],
)
def test_a_seed_is_written_over_nothing_but_the_seed_of_its_machine(
    conn: libvirt.virConnect, tmp_path: Path, name: str
) -> None:
    conn.storagePoolLookupByName("default").createXML(_raw(name), 0)
    assert refused(conn, tmp_path, PutSeed("default", name, "0", ()), UID) == "NotOurs"
    assert name in volumes(conn)


def test_the_name_of_a_seed_is_that_of_its_machine(conn: libvirt.virConnect, tmp_path: Path) -> None:
    # Nobody serves its bytes here: it came past the question whose it is.
    seed = PutSeed("default", seed_name("a. b/c", UID), "0", ())
    assert refused(conn, tmp_path, seed, UID) == "SeedUnavailable"


# -- one machine at a time -------------------------------------------------------------------------------


def _disk(shared: bool = False) -> DiskConfig:
    return DiskConfig("vdb", "virtio", f"/pool/{VOLUME}", "qcow2", name="data", volume="data", shared=shared)


def _with_volume(name: str, uid: str, shared: bool = False) -> Any:
    return config(name, uid, disks=(_disk(shared),))


def test_a_second_domain_with_the_volume_is_not_defined(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, defined(_with_volume("a", UID)))
    results = carry_out(conn, tmp_path, defined(_with_volume("b", OTHER)))
    assert results["define"].reason == "DiskInUse"
    results = carry_out(conn, tmp_path, defined(config("b", OTHER)))
    assert results["define"].outcome == "changed"
    wanted = _with_volume("b", OTHER)
    redefine = Redefine(wanted, mark_of(wanted), ("disks[data]",))
    results = carry_out(conn, tmp_path, action(redefine, uid=OTHER, vm="b"))
    assert results["redefine"].reason == "DiskInUse"
    assert VOLUME not in conn.lookupByUUIDString(OTHER).XMLDesc(0)


def test_a_domain_of_another_installation_counts(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, defined(_with_volume("a", UID), owner="somebody else"))
    results = carry_out(conn, tmp_path, defined(_with_volume("b", OTHER)))
    assert results["define"].reason == "DiskInUse"


def test_several_domains_share_a_volume_that_says_so(conn: libvirt.virConnect, tmp_path: Path) -> None:
    for name, uid in (("a", UID), ("b", OTHER)):
        results = carry_out(conn, tmp_path, defined(_with_volume(name, uid, shared=True)))
        assert results["define"].outcome == "changed"


def test_it_is_looked_after_at_the_start_too(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, defined(_with_volume("a", UID)))
    xml = conn.lookupByUUIDString(UID).XMLDesc(0)
    # Somebody defines a second one by hand.
    conn.defineXML(xml.replace(UID, OTHER).replace("<name>a<", "<name>b<"))
    results = carry_out(conn, tmp_path, action(Start()))
    assert results["start"].reason == "DiskInUse"


def test_it_is_not_plugged_into_a_second_domain(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, defined(_with_volume("a", UID)))
    carry_out(conn, tmp_path, defined(config("b", OTHER)))
    carry_out(conn, tmp_path, action(Start(), uid=OTHER, vm="b"))
    results = carry_out(conn, tmp_path, action(AttachDisk(_disk()), uid=OTHER, vm="b"))
    assert results["attach-disk"].reason == "DiskInUse"


# -- claims ----------------------------------------------------------------------------------------------


def test_a_claim_is_made_once_and_taken_back_once(conn: libvirt.virConnect, tmp_path: Path) -> None:
    twice(conn, tmp_path, ClaimVolume("default", VOLUME_UID), UID)
    assert volumes(conn) == {claim_name(VOLUME_UID, UID)}
    twice(conn, tmp_path, ReleaseVolume("default", VOLUME_UID, (UID,)), UID)
    assert volumes(conn) == set()


def test_the_second_machine_is_refused_and_leaves_nothing_behind(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    carry_out(conn, tmp_path, action(ClaimVolume("default", VOLUME_UID), uid=OTHER))
    assert refused(conn, tmp_path, ClaimVolume("default", VOLUME_UID), UID) == "VolumeClaimed"
    assert volumes(conn) == {claim_name(VOLUME_UID, OTHER)}
    # Nor does it take back what is not its own.
    carry_out(conn, tmp_path, action(ReleaseVolume("default", VOLUME_UID, (UID,)), uid=UID))
    assert volumes(conn) == {claim_name(VOLUME_UID, OTHER)}


def test_a_claim_of_one_that_is_gone_gives_way(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(ClaimVolume("default", VOLUME_UID), uid=OTHER))
    twice(conn, tmp_path, ClaimVolume("default", VOLUME_UID, stale=(OTHER,)), UID)
    assert volumes(conn) == {claim_name(VOLUME_UID, UID)}


def test_two_that_claim_at_the_same_time_both_give_up_or_one_wins(
    conn: libvirt.virConnect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look and our claim another host's claim appears: ours goes, never theirs."""
    from reconciler_apply import claims  # noqa: PLC0415 - push_world puts it on the path

    put = claims.put_empty

    def rival_first(session: Any, pool: libvirt.virStoragePool, name: str) -> None:
        pool.createXML(_raw(claim_name(VOLUME_UID, OTHER)), 0)
        put(session, pool, name)

    monkeypatch.setattr(claims, "put_empty", rival_first)
    assert refused(conn, tmp_path, ClaimVolume("default", VOLUME_UID), UID) == "VolumeClaimed"
    assert volumes(conn) == {claim_name(VOLUME_UID, OTHER)}


def test_claims_of_other_volumes_are_nobodys_concern(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, action(ClaimVolume("default", OTHER), uid=OTHER))
    twice(conn, tmp_path, ClaimVolume("default", VOLUME_UID), UID)
    assert len(volumes(conn)) == 2


def test_the_wanted_pool_is_what_is_read_back() -> None:
    """A pool as it was made must never look changed."""
    wanted = pending_pool(manifest("dir"), OWNER, "h1", 5)
    assert replace(wanted, pending=False) == Pool(
        "dir", "dir", "/srv/fast & loose", True, 5, 5, uuid=wanted.uuid, autostart=True
    )
