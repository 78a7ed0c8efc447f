"""The first YAML that a newcomer sees is right, and stays right."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reconciler.desired.config import load_config
from reconciler.desired.source import open_source
from reconciler.model.desired import DesiredState
from reconciler.model.manifest import Policy
from reconciler.settings import data_dir

from .test_images import qcow2

MIB = 1 << 20


@pytest.fixture
def state(tmp_path: Path) -> DesiredState:
    """The quickstart, with an image in the place where the lab puts one."""
    root = tmp_path / "quickstart"
    shutil.copytree(data_dir("examples") / "quickstart", root)
    (root / "images").mkdir(exist_ok=True)
    (root / "images" / "tiny.qcow2").write_bytes(qcow2(size=16 * MIB))
    loaded = load_config(root / "reconciler.yaml")
    return open_source(loaded.config.source, loaded.base).read()


def test_six_machines(state: DesiredState) -> None:
    assert sorted(state.machines) == ["db-1", "web-1", "web-2", "web-3", "worker-1", "worker-2"]
    assert sorted(state.instance_types) == ["small", "tiny"]
    assert list(state.images) == ["tiny"]


def test_they_fit_a_small_machine_under_emulation(state: DesiredState) -> None:
    for machine in state.machines.values():
        preset = state.instance_types.get(machine.spec.instance_type or "")
        memory = machine.spec.memory or (preset.spec.memory if preset else 0)
        assert 128 * MIB <= memory <= 192 * MIB
        assert [interface.network for interface in machine.spec.interfaces] == ["default"]


def test_the_web_servers_exclude_each_other(state: DesiredState) -> None:
    for name in ("web-1", "web-2", "web-3"):
        machine = state.machines[name]
        (rule,) = machine.spec.placement.anti_affinity
        assert (rule.over, rule.policy) == ("rack", Policy.REQUIRED)
        assert rule.selector.items() <= machine.metadata.labels.items()


def test_the_database_has_a_disk_and_a_place(state: DesiredState) -> None:
    database = state.machines["db-1"].spec
    assert [disk.size for disk in database.disks] == [64 * MIB]
    assert database.placement.host_selector
