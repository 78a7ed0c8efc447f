"""Snapshots inside of a volume: what the host's module does to a real file, and what is read from it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import time
from pathlib import Path
from types import ModuleType

import pytest

from reconciler.model.snapshot import Snapshot
from reconciler.observed.volume_snapshots import _HEADER, parse_table
from reconciler.settings import data_dir


def _module() -> ModuleType:
    path = data_dir("playbooks") / "library" / "reconciler_image.py"
    spec = importlib.util.spec_from_file_location("reconciler_image", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = _module()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "8M"], check=True)
    return path


def work(path: Path, act: str, name: str) -> dict[str, object]:
    return MODULE.respond({"do": "snapshot", "target": str(path), "act": act, "snapshot": name})


def write(path: Path, byte: int) -> None:
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -q -P {byte} 0 64k", str(path)], check=True)


def holds(path: Path, byte: int) -> bool:
    told = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", f"read -q -P {byte} 0 64k", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "verification failed" not in told.stdout


def read(path: Path) -> list[Snapshot]:
    content = path.read_bytes()
    count, offset = _HEADER.unpack(content[: _HEADER.size])
    return list(parse_table(content[offset:], count))


def test_a_file_goes_back_to_what_it_held(disk: Path) -> None:
    write(disk, 1)
    assert work(disk, "take", "one") == {"done": True, "did": "took the snapshot one"}
    write(disk, 2)
    assert work(disk, "take", "a-much-longer-name-2")["done"]
    write(disk, 3)
    assert work(disk, "restore", "one")["done"]
    assert holds(disk, 1)
    assert not holds(disk, 3)
    assert work(disk, "restore", "a-much-longer-name-2")["done"]
    assert holds(disk, 2)


def test_what_is_read_from_the_file_is_what_qemu_tells(disk: Path) -> None:
    assert read(disk) == []
    for name in ("one", "second", "the-third-one"):
        work(disk, "take", name)
    work(disk, "delete", "second")
    told = json.loads(
        subprocess.run(
            ["qemu-img", "info", "--output=json", str(disk)], capture_output=True, check=True
        ).stdout
    )
    expected = [(one["name"], float(one["date-sec"]), False) for one in told["snapshots"]]
    assert [(one.name, one.created, one.memory) for one in read(disk)] == expected
    assert len(expected) == 2


def test_a_table_that_is_cut_off_is_read_as_far_as_it_goes(disk: Path) -> None:
    for name in ("one", "two"):
        work(disk, "take", name)
    content = disk.read_bytes()
    count, offset = _HEADER.unpack(content[: _HEADER.size])
    whole = content[offset:]
    for end in range(200):
        assert [one.name for one in parse_table(whole[:end], count)] in ([], ["one"], ["one", "two"])
    assert [one.name for one in parse_table(whole, 5000)][:2] == ["one", "two"]


def test_each_act_may_be_repeated(disk: Path) -> None:
    assert work(disk, "take", "one")["done"]
    assert work(disk, "take", "one") == {"done": False, "did": ""}
    assert work(disk, "delete", "one")["done"]
    assert work(disk, "delete", "one") == {"done": False, "did": ""}
    assert work(disk, "restore", "one")["trouble"] == "SnapshotMissing"


def test_a_number_is_never_taken_for_an_id(disk: Path) -> None:
    write(disk, 1)
    work(disk, "take", "first")
    write(disk, 2)
    for act in ("take", "restore", "delete"):
        assert work(disk, act, "1")["trouble"] == "SnapshotFailed"
    assert holds(disk, 2)
    assert [one.name for one in read(disk)] == ["first"]


def test_what_somebody_has_open_is_left_alone(disk: Path) -> None:
    work(disk, "take", "one")
    write(disk, 7)
    with subprocess.Popen(["qemu-io", "-f", "qcow2", "-c", "sleep 60000", str(disk)]) as holder:
        try:
            # Whoever looked with qemu-img meanwhile would take the lock from it.
            while f":{disk.stat().st_ino} " not in Path("/proc/locks").read_text():
                assert holder.poll() is None
                time.sleep(0.01)
            for act, name in (("take", "two"), ("restore", "one"), ("delete", "one")):
                assert work(disk, act, name)["trouble"] == "DiskInUse"
        finally:
            holder.kill()
    assert holds(disk, 7)
    assert [one.name for one in read(disk)] == ["one"]


def test_what_is_not_qcow2_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(1 << 20))
    assert work(path, "take", "one")["trouble"] == "SnapshotFailed"
    assert path.read_bytes() == bytes(1 << 20)
