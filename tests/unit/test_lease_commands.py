"""`checkout`, `checkin`, `extend` and `leases`, beside whoever else uses the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import Said, call

from reconciler.model.pool import Member, MemberState
from reconciler.store.sql import SqlStore

POOL = """\
apiVersion: reconciler/v1
kind: VirtualMachinePool
metadata: {name: farm}
spec: {size: {max: 4}, template: {spec: {cpus: 1, memory: 64Mi}}}
"""


class Farm:
    """An installation with two machines that stand ready."""

    def __init__(self, folder: Path) -> None:
        (folder / "source").mkdir()
        (folder / "source" / "farm.yaml").write_text(POOL)
        self._place = ["--source", str(folder / "source"), "--state-dir", str(folder / "state")]
        self.store = SqlStore(folder / "state")
        now = self.store.lease_time()
        self.store.add_members([Member("farm", slot, MemberState.AVAILABLE, now) for slot in (1, 2)])

    def __call__(self, *words: str) -> Said:
        return call(*words, *self._place)


@pytest.fixture
def farm(tmp_path: Path):
    made = Farm(tmp_path)
    yield made
    made.store.close()


def test_a_machine_is_taken_and_given_back(farm: Farm) -> None:
    farm.store.set_statuses("VirtualMachine", {"farm-1": '{"addresses":[{"address":"192.0.2.7"}]}'})
    taken = farm("checkout", "farm", "--ttl", "30m", "--purpose", "build 1", "--holder", "ann")
    assert (taken.exit, taken.out.startswith("farm-1 (192.0.2.7) is ann's until 20")) == (0, True)
    (lease,) = json.loads(farm("leases", "-o", "json").out)
    assert (lease["vm"], lease["purpose"], lease["holder"]) == ("farm-1", "build 1", "ann")
    assert "farm-1" in farm("leases", "--holder", "ann").out
    assert farm("leases", "--holder", "bob").err == "no machine is leased\n"
    before = farm.store.leases()[0].expires
    assert farm("extend", "farm-1", "--ttl", "2h").exit == 0
    assert farm.store.leases()[0].expires > before + 5000
    assert farm("checkin", lease["id"]).out == "farm-1 was ann's, and is made ready for the next one.\n"
    assert farm.store.members()[0].state is MemberState.CLEANING
    again = farm("checkin", "farm-1")
    assert again.exit
    assert "farm-1 is not leased" in again.err


def test_what_cannot_be_is_told(farm: Farm) -> None:
    assert "there is no pool 'nowhere'" in farm("checkout", "nowhere").err
    assert farm("checkout", "farm", "--ttl", "soon").exit == 64
    assert "lends for 1d at most" in farm("checkout", "farm", "--ttl", "2d").err
    assert [farm("checkout", "farm").exit for _ in range(3)] == [0, 0, 1]
    waited = farm("checkout", "farm", "--wait", "1s")
    assert (waited.exit, "waiting in line" in waited.err) == (1, True)
    assert "no machine of the pool farm is available: 2 of at most 4 are leased" in waited.err
    assert farm.store.waiters("farm", farm.store.lease_time()) == (), "nobody waits any more"
