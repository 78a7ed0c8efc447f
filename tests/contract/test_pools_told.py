"""What is told of pools: by a dry run of a new template, and by the time a tick is told."""

import pytest
from support.farm import POOL, Farm

from reconciler.daemon import Daemon
from reconciler.desired.source import open_source
from reconciler.model.config import SourceConfig
from reconciler.preview import Preview
from reconciler.service.metrics import Metrics
from reconciler.service.notify import Notifier, Watchdog
from reconciler.service.wake import Waker
from reconciler.store.base import Subject


@pytest.fixture
def farm(tmp_path):
    made = Farm(tmp_path)
    yield made
    made.stop()


def planned(farm, cpus):
    other = farm.folder / f"other-{cpus}"
    other.mkdir()
    text = POOL.format(name="farm", max=4, warm=2, way="Recreate", cpus=cpus, more="")
    (other / "farm.yaml").write_text(text)
    return Preview(farm.engine).plan(open_source(SourceConfig(path=str(other)), farm.folder))


def test_a_new_template_is_told_although_no_machine_changes_now(farm):
    farm.warm()
    farm.take("farm-1")
    plan = planned(farm, 2)
    assert plan.actions == ()
    assert plan.notes == (
        "2 machines are of an older template of the pool farm: made anew as they become free",
    )
    assert planned(farm, 1).notes == ()


def test_a_tick_is_told_after_its_pools(farm, monkeypatch):
    """Whoever waits for a change takes what is said of a pool after the tick for the tick's word."""
    told = []
    put_tick = farm.store.put_tick

    def record(tick):
        told.append(farm.store.conditions(Subject.VM).get("VirtualMachinePool/farm", ()))
        put_tick(tick)

    monkeypatch.setattr(farm.store, "put_tick", record)
    farm.declare()
    nobody = Notifier(None)
    daemon = Daemon(farm.engine, Waker(), nobody, Watchdog(nobody, None), Metrics())
    daemon._turn(("start",))
    assert [[(one.type, str(one.status)) for one in said] for said in told] == [[("Ready", "False")]]
