"""Somebody names one object and says that it shall go: limits are for what nobody named. A real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.farm import Farm

from reconciler.errors import LimitError
from reconciler.planner import check_limits

MACHINE = """\
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {{name: {name}}}
spec: {{cpus: 1, memory: 64Mi, console: none, stopTimeout: 0s, deletionPolicy: Delete}}
"""
PRESET = """\
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: small}
spec: {cpus: 1, memory: 64Mi}
"""


@pytest.fixture
def farm(tmp_path: Path):
    made = Farm(tmp_path)
    made.write("preset.yaml", PRESET)
    yield made
    made.stop()


def declare(farm: Farm, *names: str) -> None:
    for name in names:
        farm.write(f"{name}.yaml", MACHINE.format(name=name))
    farm.settle()


def remove(farm: Farm, *names: str) -> None:
    for name in names:
        farm.write(f"{name}.yaml", None)


def ask(farm: Farm, name: str) -> None:
    farm.store.ask_deletion(name, farm.store.records()[name].uid, "ann", 1.0)


def machines(farm: Farm) -> set[str]:
    return set(farm.store.statuses("VirtualMachine"))


def test_the_last_machine_goes_if_it_was_named_and_else_everything_stops(farm: Farm) -> None:
    declare(farm, "web")
    remove(farm, "web")
    with pytest.raises(LimitError, match="is the source the right one"):
        farm.tick()
    ask(farm, "web")
    farm.settle()
    assert machines(farm) == set()
    assert farm.store.deletions() == {}


def test_what_nobody_named_is_counted_as_before(farm: Farm) -> None:
    declare(farm, "web", "db")
    ask(farm, "web")
    remove(farm, "web", "db")
    with pytest.raises(LimitError):
        farm.tick()
    assert machines(farm) == {"web", "db"}
    look = farm.engine.look()
    with pytest.raises(LimitError, match=r"1 of 2 machines \(db\)|is the source the right one"):
        check_limits(
            look.plan, look.survey, farm.engine.rooms.config.limits.model_copy(update={"deletions": 0})
        )


def test_one_that_came_back_under_the_name_was_not_meant(farm: Farm) -> None:
    declare(farm, "web")
    farm.store.ask_deletion("web", "another-uid", "ann", 1.0)
    remove(farm, "web")
    with pytest.raises(LimitError):
        farm.tick()
    assert machines(farm) == {"web"}


def test_a_wish_does_nothing_to_what_is_desired(farm: Farm) -> None:
    declare(farm, "web")
    ask(farm, "web")
    farm.settle()
    assert machines(farm) == {"web"}


def test_a_wish_that_is_undone_in_git_does_not_count_for_later(farm: Farm) -> None:
    declare(farm, "web", "db")
    farm.store.ask_deletion("web", farm.store.records()["web"].uid, "ann", farm.clock())
    farm.settle()
    assert set(farm.store.deletions()) == {"web"}  # its commit may be under way
    farm.late += 601
    farm.tick()
    assert farm.store.deletions() == {}
    remove(farm, "web", "db")
    with pytest.raises(LimitError):
        farm.tick()
    assert machines(farm) == {"web", "db"}


def test_the_number_of_a_machine_ends_with_it_also_where_git_deletes_and_makes_it(farm: Farm) -> None:
    declare(farm, "web", "db")
    first = farm.store.allot_ids("VirtualMachine", {"web": 0, "db": 0}, seen=True)
    remove(farm, "web")
    farm.settle()
    assert farm.store.ids("VirtualMachine") == {"db": first["db"]}
    declare(farm, "web")
    assert farm.store.allot_ids("VirtualMachine", {"web": 0}, seen=True)["web"] > max(first.values())
    assert farm.store.ids("VirtualMachine")["db"] == first["db"]


def test_a_domain_that_was_lost_and_made_again_keeps_its_number(farm: Farm) -> None:
    declare(farm, "web", "db")
    first = dict(farm.store.allot_ids("VirtualMachine", {"web": 0}, seen=True))
    host = farm.store.records()["web"].host
    domain = farm.connections[host].raw.lookupByName("web")
    domain.destroy()
    domain.undefine()
    farm.observer.refresh({host})
    farm.settle()
    assert machines(farm) == {"web", "db"}
    assert farm.store.ids("VirtualMachine") == first
