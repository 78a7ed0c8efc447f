"""What can be said of the lab's Ceph and Debian without building them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from reconciler.errors import LabError
from reconciler.lab import Lab, ceph, debian, files, kernel
from reconciler.lab.lab import preflight
from reconciler.lab.packages import DEBIAN_PACKAGES, EXTRA_PACKAGES, missing_packages

ROOT = Path(__file__).parents[3]


def test_setup_installs_what_the_extras_need() -> None:
    listed = (ROOT / "scripts/debian-packages").read_text().split("\n")
    assert set(EXTRA_PACKAGES) <= set(listed)
    assert not set(EXTRA_PACKAGES) & set(DEBIAN_PACKAGES)


def test_a_missing_package_is_named() -> None:
    assert missing_packages({"sh": "dash", "no-such-program": "some-package"}) == ["some-package"]
    assert missing_packages({}, {"/": "base-files", "/no/such/file": "other-package"}) == ["other-package"]


def test_ceph_needs_a_lab_that_is_up(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="not up"):
        _ = Lab(tmp_path).ceph


def test_each_lab_has_a_ceph_and_a_secret_of_its_own(tmp_path: Path) -> None:
    one, two = (ceph.Ceph(tmp_path / name, "198.18.9.1") for name in ("one", "two"))
    assert one.secret != two.secret
    assert not one.was_started
    one._lay_out()
    key = one.key
    one._lay_out()
    assert one.key == key
    assert len(base64.b64decode(key)) == 12 + 16
    assert key in (tmp_path / "one/keyring").read_text()
    assert (tmp_path / "one/keyring").stat().st_mode & 0o077 == 0
    assert "mon_host = 198.18.9.1\n" in (tmp_path / "one/ceph.conf").read_text()


def test_only_the_init_of_this_ceph_is_taken_for_it() -> None:
    argv = ["bash", "/somewhere/reconciler/lab/ceph.sh", "/tmp/lab/ceph", "198.18.9.1"]
    assert ceph.runs_ceph(argv, "/tmp/lab/ceph")
    assert not ceph.runs_ceph(argv, "/tmp/lab")
    assert not ceph.runs_ceph(["vi", *argv[2:]], "/tmp/lab/ceph")


def test_every_host_has_a_place_for_the_shared_folder(tmp_path: Path) -> None:
    files.lay_out_host(tmp_path, address="198.18.9.11", guest_prefix="198.19.1", uuid="u")
    assert (tmp_path / "lib/shared").is_dir()
    assert (tmp_path / "ceph").is_dir()


def test_the_debian_guest_is_made_anew_when_what_it_is_made_of_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = debian.recipe()
    monkeypatch.setattr(debian, "SCRIPTS", tmp_path)
    assert debian.recipe() != before


def test_a_module_that_the_kernel_lacks_is_named(tmp_path: Path) -> None:
    module = tmp_path / "lib/modules/1/kernel/first.ko"
    module.parent.mkdir(parents=True)
    module.write_bytes(b"\0depends=second-half\0")
    with pytest.raises(LabError, match="lacks the module second_half"):
        kernel.modules(tmp_path, ["first"])
    (module.parent / "second-half.ko").write_bytes(b"")
    assert list(kernel.modules(tmp_path, ["first"])) == ["second_half", "first"]


def test_a_lab_is_not_put_where_a_host_has_its_own_folders() -> None:
    with pytest.raises(LabError):
        preflight(Path("/var/lib/libvirt/lab"))
