"""Checksum files of distributions: read seldom, remembered, and never a reason to change a machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.desired.checksums import FRESH, ChecksumFiles, Told, fetch_text, parse
from reconciler.desired.images import ImageFiles
from reconciler.desired.source import Source
from reconciler.desired.tree import FolderTree
from reconciler.errors import DesiredStateError
from reconciler.model.storage import Image

from .conftest import machine

SUMS = "https://cloud.example/SHA512SUMS"
OLD, NEW = "a" * 128, "b" * 128
MANIFEST = f"""---
apiVersion: reconciler/v1
kind: Image
metadata: {{name: debian}}
spec:
  url: https://cloud.example/debian.qcow2
  checksums: {SUMS}
"""


@dataclass
class Server:
    """What stands behind the URL: a text, or trouble."""

    text: str | OSError = f"{OLD}  debian.qcow2\n"
    asked: list[str] = field(default_factory=list)
    now: float = 1_000_000.0

    def fetch(self, url: str) -> str:
        self.asked.append(url)
        if isinstance(self.text, OSError):
            raise self.text
        return self.text

    def files(self, cache: Path | None = None) -> ChecksumFiles:
        return ChecksumFiles(cache, self.fetch, lambda: self.now)


def image(url: str = "https://cloud.example/debian.qcow2") -> Image:
    return Image.model_validate({"metadata": {"name": "debian"}, "spec": {"url": url, "checksums": SUMS}})


def test_lines_of_a_checksum_file() -> None:
    text = f"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

# comment
{"A" * 64}  ./gnu name.img
{"1" * 64} *binary.img
SHA256 (bsd.img) = {"2" * 64}
SHA512 (long.img) = {"3" * 128}
MD5 (weak.img) = {"4" * 32}
{"5" * 63}  short.img
{"6" * 64}  gnu name.img
"""
    assert parse(text) == {
        "gnu name.img": "a" * 64,
        "binary.img": "1" * 64,
        "bsd.img": "2" * 64,
        "long.img": "3" * 128,
    }


def test_a_file_is_asked_for_once_in_a_while_and_remembered(tmp_path: Path) -> None:
    server, cache = Server(), tmp_path / "state" / "sums.json"
    files = server.files(cache)
    assert files.digest_of(image()) == files.digest_of(image()) == Told(OLD)
    assert len(server.asked) == 1
    assert server.files(cache).digest_of(image()) == Told(OLD), "another process remembers"
    assert len(server.asked) == 1
    server.text = f"{NEW}  debian.qcow2\n"
    server.now += FRESH
    assert files.digest_of(image()) == Told(NEW)


def test_without_a_network_the_last_word_counts(tmp_path: Path) -> None:
    server, cache = Server(), tmp_path / "sums.json"
    server.files(cache).digest_of(image())
    server.text, server.now = OSError("no route to host"), server.now + 10 * FRESH
    files = server.files(cache)
    assert files.digest_of(image()) == files.digest_of(image()) == Told(OLD)
    assert len(server.asked) == 2, "a server that does not answer is left alone for a while"
    assert "no route to host" in files.warnings[0]
    assert "goes on to count" in files.warnings[0]
    server.text, server.now = f"{NEW}  debian.qcow2\n", server.now + FRESH
    assert files.digest_of(image()) == Told(NEW)
    assert files.warnings == ()


@pytest.mark.parametrize("said", [OSError("no route to host"), "<html>not found</html>"])
def test_a_file_that_was_never_read_tells_nothing_and_is_no_mistake(said: str | OSError) -> None:
    files = Server(said).files()
    assert files.digest_of(image()) == Told()
    assert "wait until it can be" in files.warnings[0]


def test_a_name_that_is_not_listed_is_a_mistake() -> None:
    files = Server().files()
    told = files.digest_of(image("https://cloud.example/debain%2B1.qcow2?download=yes"))
    assert "lists no file 'debain+1.qcow2'" in told.mistake
    assert "it lists debian.qcow2" in told.mistake


def test_a_damaged_cache_is_as_good_as_none(tmp_path: Path) -> None:
    for damage in ("{", "[]", '{"x": 1}', '{"x": [1, []]}', '{"x": ["now", {}]}'):
        (tmp_path / "sums.json").write_text(damage)
        assert Server().files(tmp_path / "sums.json").digest_of(image()) == Told(OLD)


def test_no_connection_is_trouble_and_nothing_worse() -> None:
    files = ChecksumFiles(fetch=lambda _url: fetch_text("http://127.0.0.1:1/SHA256SUMS"))
    assert files.digest_of(image()) == Told()
    assert "Connection refused" in files.warnings[0]


def test_an_image_of_a_source_has_the_digest_and_a_new_one_is_a_new_version(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MANIFEST + machine("a", image="debian"))
    server = Server(OSError("down"))
    source = Source(FolderTree(tmp_path, "", 1 << 20), ImageFiles(), server.files())
    assert source.read().images["debian"].spec.digest == ""
    assert "down" in source.warnings[0]
    server.text, server.now = f"{OLD}  debian.qcow2\n", server.now + FRESH
    first = source.read()
    assert (first.images["debian"].spec.sha512, first.images["debian"].spec.digest) == (OLD, OLD)
    assert source.read() is first
    server.text, server.now = f"{NEW}  debian.qcow2\n", server.now + FRESH
    second = source.read()
    assert second.images["debian"].spec.digest == NEW
    assert second.machines["a"] is first.machines["a"]
    server.text, server.now = f"{'c' * 64}  debian.qcow2\n", server.now + FRESH
    assert source.read().images["debian"].spec.sha256 == "c" * 64


def test_a_name_that_is_not_listed_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MANIFEST)
    server = Server(f"{OLD}  other.qcow2\n")
    source = Source(FolderTree(tmp_path, "", 1 << 20), ImageFiles(), server.files())
    with pytest.raises(DesiredStateError, match=r"a.yaml:7:14: spec.checksums: .*lists no file"):
        source.read()
