from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from support.image_headers import GIB, HEADERS, qcow2

from reconciler.desired.draft import Draft
from reconciler.desired.images import ImageFiles
from reconciler.desired.source import open_source
from reconciler.errors import DesiredStateError
from reconciler.model.config import SourceConfig
from reconciler.model.storage import DiskFormat

from .conftest import machine


@pytest.mark.parametrize("name", HEADERS)
def test_the_first_bytes_of_an_image_are_what_its_format_says(name: str, tmp_path: Path) -> None:
    fmt, content, mistake = HEADERS[name]
    path = tmp_path / "x"
    path.write_bytes(content)
    seen = ImageFiles().look(path, DiskFormat(fmt))
    if mistake:
        assert (seen.sha256, seen.size) == ("", 0)
        assert mistake in seen.mistake
    else:
        assert seen.mistake == ""
        assert (seen.size, seen.sha256) == (
            GIB if fmt == "qcow2" else len(content),
            hashlib.sha256(content).hexdigest(),
        )


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
    sha512 = hashlib.sha512(qcow2(size=2 * GIB)).hexdigest()
    manifests.write_text(image(path="images/debian.qcow2", sha512=sha512))
    assert source.read().images["debian"].spec.digest == second.images["debian"].spec.sha256
    manifests.write_text(image(path="images/debian.qcow2", sha512="0" * 128))
    with pytest.raises(DesiredStateError, match=r"a.yaml:7:11: spec.sha512: the file has another sha512"):
        source.read()
    file.unlink()
    with pytest.raises(DesiredStateError, match=r"a.yaml:6:9: spec.path: .*does not exist"):
        source.read()


@pytest.mark.parametrize(
    ("spec", "mistake"),
    [
        ({}, "exactly one of path, url and volume"),
        ({"path": "x", "url": "https://x/y"}, "exactly one of path, url and volume"),
        ({"url": "https://x/y"}, "needs its sha256"),
        (
            {"url": "https://x/y", "sha256": "0" * 64, "sha512": "0" * 128},
            "one of sha256, sha512 and checksums",
        ),
        ({"volume": "{pool: default, name: x.qcow2}"}, "needs its sha256"),
        ({"path": "x", "checksums": "https://x/SHA256SUMS"}, "checksums go with a url"),
        ({"url": "file:///etc/passwd", "sha256": "0" * 64}, "a url begins with"),
        ({"url": "https://x/y", "checksums": "file:///etc/passwd"}, "the url of a checksum file begins with"),
        ({"volume": "{pool: default, name: ../x}", "sha256": "0" * 64}, "spec.volume.name"),
    ],
)
def test_sources_that_are_none(spec: dict[str, str], mistake: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(image(**spec) if spec else image().replace("spec:", "spec: {}"))
    with pytest.raises(DesiredStateError, match=mistake):
        open_source(SourceConfig(path=str(tmp_path)), Path("/")).read()


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("images/a.raw", True),
        ("one.raw", True),
        ("images/link.raw", False),
        ("images/../private/key", False),
        ("private/key", False),
        ("images-of-others/a.raw", False),
        ("not-there", False),
    ],
)
def test_image_files_lie_where_the_configuration_lets_them(path: str, allowed: bool, tmp_path: Path) -> None:
    for name in ("images/a.raw", "one.raw", "private/key", "images-of-others/a.raw"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 512)
    (tmp_path / "images" / "link.raw").symlink_to(tmp_path / "private" / "key")
    text = f"""
apiVersion: reconciler/v1
kind: Image
metadata: {{name: a}}
spec: {{path: {tmp_path / path}, format: raw}}
"""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.yaml").write_text(text)
    config = SourceConfig(path="source", image_folders=("images", "one.raw"))
    if allowed:
        assert open_source(config, tmp_path).read().images["a"].spec.digest
        return
    with pytest.raises(DesiredStateError, match=r"none of source\.imageFolders"):
        open_source(config, tmp_path).read()
    with pytest.raises(DesiredStateError, match=r"none of source\.imageFolders"):
        Draft(config, tmp_path).source().read()
