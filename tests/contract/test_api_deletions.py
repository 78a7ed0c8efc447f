"""Deletions by name over HTTP, and the real engine behind them: no limit counts what somebody named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import falcon.testing
import pytest
from support.farm import Farm
from support.served import ADMIN, As

from api.app import create_app
from api.services import Services
from reconciler.daemon import Daemon
from reconciler.desired.writes import Repository
from reconciler.errors import LimitError
from reconciler.model.api_config import ApiConfig
from reconciler.model.config import LimitsConfig, SourceConfig
from reconciler.model.request import Act, Request, RequestState
from reconciler.requests import Desk
from reconciler.service.metrics import Metrics
from reconciler.service.notify import Notifier, Watchdog
from reconciler.service.wake import Waker

VMS = "/api/v1/virtualmachines"
MACHINE = """\
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {{name: {name}}}
spec: {{cpus: 1, memory: 64Mi, console: none, stopTimeout: 0s, deletionPolicy: Delete}}
"""
NAMES = [f"m{at}" for at in range(1, 10)]


@pytest.fixture
def farm(tmp_path: Path):
    made = Farm(tmp_path)
    rooms = made.engine.rooms
    made.engine.rooms = replace(rooms, config=rooms.config.model_copy(update={"limits": LimitsConfig()}))
    for name in NAMES:
        made.write(f"{name}.yaml", MACHINE.format(name=name))
    made.settle()
    yield made
    made.stop()


@pytest.fixture
def client(farm: Farm):
    config = ApiConfig()
    desired = Repository(SourceConfig(path=str(farm.source)), farm.folder, config)
    services = Services(config, "test", farm.store, desired, SimpleNamespace(), authenticator=As(ADMIN))  # type: ignore[arg-type]
    yield falcon.testing.TestClient(create_app(services))
    services.threads.shutdown()


def test_four_of_nine_that_are_deleted_by_name_go(farm: Farm, client: falcon.testing.TestClient) -> None:
    for name in NAMES[:4]:
        assert client.simulate_delete(f"{VMS}/{name}").status_code == 204
    farm.settle()
    assert set(farm.domains()) == set(NAMES[4:])
    assert farm.store.deletions() == {}


def test_one_that_git_takes_away_besides_is_counted_and_those_that_were_named_are_not(
    farm: Farm, client: falcon.testing.TestClient
) -> None:
    for name in NAMES[:4]:
        client.simulate_delete(f"{VMS}/{name}")
    for name in NAMES[4:7]:
        farm.write(f"{name}.yaml", None)
    with pytest.raises(LimitError, match=r"3 of 9 machines \(m5, m6, m7\)"):
        farm.tick()
    assert set(NAMES) <= set(farm.domains())


def test_an_admin_lets_a_tick_delete_more_for_just_what_is_desired_then(
    farm: Farm, client: falcon.testing.TestClient
) -> None:
    for name in NAMES[:4]:
        farm.write(f"{name}.yaml", None)
    with pytest.raises(LimitError):
        farm.tick()
    nobody, leave = Notifier(None), {"allowDeletions": "true"}
    daemon = Daemon(farm.engine, Waker(), nobody, Watchdog(nobody, None), Metrics())
    asked = client.simulate_post("/api/v1/apply", params=leave).headers["location"]
    farm.write(f"{NAMES[4]}.yaml", None)  # nobody has looked at this one
    daemon._turn(("call",))
    told = client.simulate_get(asked).json
    assert (told["state"], "5 of 9" in told["message"]) == ("failed", True)
    assert set(farm.domains()) == set(NAMES)
    asked = client.simulate_post("/api/v1/apply", params=leave).headers["location"]
    daemon._turn(("call",))
    assert client.simulate_get(asked).json["state"] == "done"
    assert set(farm.domains()) == set(NAMES[5:])


@pytest.mark.parametrize(("strategy", "returns"), [("Always", True), ("Manual", False)])
def test_who_stops_what_always_runs_is_told_that_it_comes_back(
    farm: Farm, client: falcon.testing.TestClient, strategy: str, returns: bool
) -> None:
    said = MACHINE.format(name="m1").replace("stopTimeout", f"runStrategy: {strategy}, stopTimeout")
    farm.write("m1.yaml", said)
    farm.settle()
    if not returns:
        client.simulate_post(f"{VMS}/m1/start")
    asked = client.simulate_post(f"{VMS}/m1/stop", json={"force": True})
    Desk(farm.engine, farm.clock).serve(lambda: False)
    told = client.simulate_get(asked.headers["location"]).json
    assert told["state"] == "done", told
    assert ("the next tick starts it again" in told["message"]) is returns


def test_an_act_on_what_has_no_place_yet_says_why(farm: Farm) -> None:
    huge = MACHINE.format(name="huge").replace("64Mi", "4096Gi")
    farm.write("huge.yaml", huge)
    farm.write("late.yaml", MACHINE.format(name="late"))
    for name in ("huge", "late"):
        farm.store.add_request(Request(Act.STOP, name), "ann", farm.clock())
    Desk(farm.engine, farm.clock).serve(lambda: False)
    late, huge_one = farm.store.requests(limit=2)
    assert (late.state, huge_one.state) == (RequestState.FAILED, RequestState.FAILED)
    assert "not made yet" in late.message
    assert "NoHostFits" in huge_one.message
    assert "no host that answers" not in late.message + huge_one.message
