"""What a host tells of a machine's snapshots, against libvirt's test driver."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest
from push_world import UID, action, carry_out, config, defined, node

from reconciler.errors import HostError, ReconcilerError
from reconciler.model.domain import DiskConfig
from reconciler.model.host import Host
from reconciler.model.operations import Start, TakeSnapshot
from reconciler.observed.ask import ask
from reconciler.observed.console import Console
from reconciler.observed.snapshots import read_snapshots, snapshot, snapshots_of

ROOT = DiskConfig("vda", "virtio", "/pool/root.qcow2", "qcow2", 1 << 20, "root")
SEED = DiskConfig("sda", "sata", "/pool/seed.iso", "raw", None, "seed", read_only=True)


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[libvirt.virConnect]:
    with node(tmp_path) as conn:
        carry_out(conn, tmp_path, defined(config(disks=(ROOT, SEED))))
        yield conn


def test_all_of_them_are_told_oldest_first(conn: libvirt.virConnect, tmp_path: Path) -> None:
    assert snapshots_of(conn, UID) == ()
    carry_out(conn, tmp_path, action(TakeSnapshot("b-cold", ("vda",))))
    carry_out(conn, tmp_path, action(Start()))
    carry_out(conn, tmp_path, action(TakeSnapshot("a-warm", ("vda",))))
    found = {one.name: one for one in snapshots_of(conn, UID)}
    assert sorted(found) == ["a-warm", "b-cold"]
    cold, warm = found["b-cold"], found["a-warm"]
    assert (cold.state, cold.memory, cold.current, cold.marked) == ("shutoff", False, False, True)
    assert (warm.state, warm.current) == ("running", True)
    assert cold.disks == warm.disks == ("/pool/root.qcow2",)
    assert cold.created > 1e9


def test_a_mark_of_another_machine_is_none() -> None:
    text = """<domainsnapshot><name>x</name><creationTime>5</creationTime><state>running</state>
        <memory snapshot='internal'/><domain><metadata>
        <r:vm xmlns:r='urn:reconciler:vm:v1' uid='u'/></metadata></domain></domainsnapshot>"""
    assert snapshot(text, "u", current=False).marked
    assert snapshot(text, "u", current=False).memory
    assert not snapshot(text, "v", current=False).marked
    assert not snapshot(text.replace("reconciler", "somebody"), "u", current=False).marked


def test_a_host_that_cannot_be_asked_says_so() -> None:
    with pytest.raises(HostError, match="h9"):
        read_snapshots(Host("h9", "test+unix:///default?socket=/nowhere", deadline=10), UID)
    assert read_snapshots(Host("h1", "test:///default"), UID) == ()


def test_a_host_that_hangs_is_given_up(tmp_path: Path) -> None:
    gone = threading.Event()
    try:
        with pytest.raises(HostError, match="did not answer within"):
            ask(Host("h1", "test:///default", deadline=0.2), lambda _raw: gone.wait(30))
    finally:
        gone.set()


def test_a_console_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    path = tmp_path / "node.xml"
    path.write_text(
        f"""<node><domain type='test'><name>runs</name><uuid>{UID}</uuid><memory>65536</memory>
        <os><type>hvm</type></os></domain></node>"""
    )
    host = Host("h1", f"test://{path}")
    with pytest.raises(ReconcilerError, match="the console of runs on h1 cannot be opened"):
        Console(host, UID, lambda _text: None)
    with pytest.raises(ReconcilerError, match="cannot be opened"):
        Console(host, UID.replace("6", "7"), lambda _text: None)
