"""What a tick writes down of how everything was seen, over the real engine and libvirt's test driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.farm import Farm

from reconciler.model.placement import Phase, Record

MACHINE = """\
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {{name: {name}}}
spec:
  cpus: {cpus}
  memory: 64Mi
  console: none
  rootDisk: {{size: 1Mi}}
  placement: {{host: {host}}}
"""

TYPE = """\
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: small}
spec: {cpus: 1, memory: 1Gi}
"""


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    made = Farm(tmp_path)
    made.write("type.yaml", TYPE)
    yield made
    made.stop()


def declare(farm: Farm, name: str, host: str = "h1", cpus: int = 1) -> None:
    farm.write(f"{name}.yaml", MACHINE.format(name=name, host=host, cpus=cpus))


def statuses(farm: Farm, kind: str = "VirtualMachine") -> dict[str, Any]:
    return {name: json.loads(text) for name, text in farm.store.statuses(kind).items()}


def test_a_machine_is_told_as_it_was_seen(farm: Farm) -> None:
    declare(farm, "web", "h2", cpus=2)
    declare(farm, "db")
    farm.settle()
    web = statuses(farm)["web"]
    assert web["uid"] == farm.domains()["web"].UUIDString()
    assert (web["host"], web["state"], web["cpus"], web["memory"]) == ("h2", "running", 2, 64 << 20)
    assert web["generation"] == 1
    farm.domains()["web"].destroy()
    farm.engine.rooms.observer.refresh()
    farm.engine.carry_out(farm.engine.look(), push=False)
    assert statuses(farm)["web"]["state"] == "shut off"
    farm.write("web.yaml", None)
    farm.settle()
    assert statuses(farm).keys() == {"db"}


def test_a_host_tells_what_it_has_and_what_is_free(farm: Farm) -> None:
    farm.tick()
    before = statuses(farm, "Host")["h1"]
    declare(farm, "web", cpus=2)
    farm.settle()
    after = statuses(farm, "Host")["h1"]
    assert (before["status"], before["domains"]["ours"], after["domains"]["ours"]) == ("Ready", 0, 1)
    for part, size in (("cpus", 2), ("memory", 64 << 20)):
        assert before["free"][part] - after["free"][part] == size
        assert after["capacity"][part] - after["allocated"][part] == after["free"][part]
    assert [pool["name"] for pool in after["pools"]] == ["default"]


def test_what_rests_on_a_host_that_is_silent_is_unknown_and_not_gone(farm: Farm) -> None:
    declare(farm, "web", "h2")
    declare(farm, "db", "h1")
    farm.settle()
    seen = statuses(farm)["web"]
    farm.silence("h2")
    farm.tick()
    assert statuses(farm)["web"] == seen | {"state": "unknown", "stateReason": ""}
    assert statuses(farm)["db"]["state"] == "running"
    assert statuses(farm, "Host")["h2"] == {
        "status": "Unreachable",
        "message": "no answer",
        "labels": {},
        "maintenance": False,
    }
    farm.stop()
    farm.start()
    farm.silence("h2")
    farm.tick()
    assert statuses(farm)["web"]["state"] == "unknown", "a restart does not change that"
    farm.silence()
    farm.settle()
    assert statuses(farm)["web"] == seen


def test_a_machine_that_was_never_seen_has_what_is_on_record(farm: Farm) -> None:
    declare(farm, "web", "h2")
    farm.store.put_records([Record("web", "1-2-3", "h2", 4, Phase.INTENDED)])
    farm.silence("h2")
    farm.tick()
    web = statuses(farm)["web"]
    assert (web["host"], web["uid"], web["generation"], web["state"]) == ("h2", "1-2-3", 4, "unknown")


def test_what_nobody_changed_is_not_written_again(farm: Farm) -> None:
    declare(farm, "web")
    farm.settle()
    before = farm.store.changes().topics
    for _ in range(3):
        farm.engine.rooms.observer.refresh()
        farm.tick()
    assert farm.store.changes().topics == before


def test_what_is_no_machine_is_told_by_host(farm: Farm) -> None:
    farm.write(
        "things.yaml",
        """\
apiVersion: reconciler/v1
kind: Network
metadata: {name: lan}
spec: {mode: isolated}
---
apiVersion: reconciler/v1
kind: Volume
metadata: {name: data}
spec: {size: 1Mi, host: h2}
""",
    )
    farm.settle()
    (first, second) = statuses(farm, "Network")["lan"]["hosts"]
    assert (first["host"], first["active"], first["ours"], second["host"]) == ("h1", True, True, "h2")
    data = statuses(farm, "Volume")["data"]
    assert (data["host"], data["pool"], data["state"], data["machines"]) == ("h2", "default", "present", [])
    farm.silence("h2")
    farm.tick()
    assert statuses(farm, "Volume")["data"]["state"] == "unknown"
    assert [one["host"] for one in statuses(farm, "Network")["lan"]["hosts"]] == ["h1"]
