from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest

from reconciler.desired.images import ImageFiles
from reconciler.desired.source import open_source
from reconciler.errors import DesiredStateError
from reconciler.model.config import SourceConfig
from reconciler.model.storage import DiskFormat

from .conftest import machine

GIB = 1 << 30


def qcow2(size: int = GIB, backing: int = 0, features: int = 0, version: int = 3) -> bytes:
    """A qcow2 header (as QEMU's interop/qcow2 describes it) and some padding."""
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, 0, 16, size)
    return header.ljust(72, b"\0") + struct.pack(">Q", features) + bytes(512)


def look(path: Path, content: bytes, fmt: DiskFormat = DiskFormat.QCOW2) -> str:
    path.write_bytes(content)
    return ImageFiles().look(path, fmt).mistake


def test_the_header_of_a_qcow2_image(tmp_path: Path) -> None:
    path = tmp_path / "x.qcow2"
    assert look(path, qcow2()) == ""
    assert ImageFiles().look(path, DiskFormat.QCOW2).size == GIB
    assert look(path, qcow2(version=2)) == ""
    assert "has a backing file" in look(path, qcow2(backing=4096))
    assert "has an external data file" in look(path, qcow2(features=1 << 2))
    assert "version 1" in look(path, qcow2(version=1))
    assert "is not qcow2" in look(path, b"")
    assert "is not qcow2" in look(path, b"\0" * 512)


def test_a_raw_image_is_what_it_is_said_to_be_whatever_its_first_bytes_say(tmp_path: Path) -> None:
    content = qcow2(size=1 << 40, backing=4096)
    path = tmp_path / "x.raw"
    assert look(path, content, DiskFormat.RAW) == ""
    seen = ImageFiles().look(path, DiskFormat.RAW)
    assert (seen.size, seen.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_file_is_hashed_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.qcow2"
    path.write_bytes(qcow2())
    os.utime(path, (1, 1))
    hashed = []
    real = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, name: hashed.append(file.name) or real(file, name)
    )
    cache = tmp_path / "state" / "digests.json"
    files = ImageFiles(cache)
    first = files.look(path, DiskFormat.QCOW2)
    assert files.look(path, DiskFormat.QCOW2) == first
    assert ImageFiles(cache).look(path, DiskFormat.QCOW2) == first, "another process remembers"
    assert len(hashed) == 1
    path.write_bytes(qcow2(size=2 * GIB))
    assert files.look(path, DiskFormat.QCOW2).sha256 != first.sha256
    assert len(hashed) == 2
    cache.write_text("{damaged")
    assert ImageFiles(cache).look(path, DiskFormat.QCOW2).size == 2 * GIB


def image(**spec: str) -> str:
    lines = "".join(f"  {field}: {value}\n" for field, value in spec.items())
    return f"---\napiVersion: reconciler/v1\nkind: Image\nmetadata: {{name: debian}}\nspec:\n{lines}"


def test_images_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    file = tmp_path / "images" / "debian.qcow2"
    file.write_bytes(qcow2())
    manifests = tmp_path / "a.yaml"
    manifests.write_text(image(path="images/debian.qcow2") + machine("a", image="debian"))
    source = open_source(SourceConfig(path=str(tmp_path)), Path("/"))
    first = source.read()
    spec = first.images["debian"].spec
    assert (spec.path, spec.sha256) == (str(file), hashlib.sha256(qcow2()).hexdigest())
    assert source.read() is first

    file.write_bytes(qcow2(size=2 * GIB))
    second = source.read()
    assert second.images["debian"].spec.sha256 == hashlib.sha256(qcow2(size=2 * GIB)).hexdigest()
    assert second.machines["a"] is first.machines["a"]

    manifests.write_text(
        image(path="images/debian.qcow2") + machine("a", image="debian", rootDisk="{size: 1Gi}")
    )
    with pytest.raises(
        DesiredStateError, match="the root disk of 1Gi is smaller than the image debian \\(2Gi\\)"
    ):
        source.read()
    manifests.write_text(image(path="images/debian.qcow2", sha256=spec.sha256) + machine("a", image="debian"))
    with pytest.raises(DesiredStateError, match=r"a.yaml:7:11: spec.sha256: the file has another sha256"):
        source.read()
    file.unlink()
    with pytest.raises(DesiredStateError, match=r"a.yaml:6:9: spec.path: .*does not exist"):
        source.read()
