"""What an act plans and refuses: the same for a command and for the daemon that is asked."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler import requests
from reconciler.engine import Look
from reconciler.errors import ReconcilerError, StalePlanError, UsageError
from reconciler.model.domain import Applied, DiskConfig, DomainConfig, DomainState, ObservedDomain
from reconciler.model.envelope import Metadata
from reconciler.model.manifest import RunStrategy, VirtualMachine, VirtualMachineSpec
from reconciler.model.operations import RestoreSnapshot, Start, Stop
from reconciler.model.plan import Blocked
from reconciler.model.request import Act, Request
from reconciler.model.snapshot import Snapshot
from reconciler.requests import agreed, plan_act

UID = "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"
THEN = Snapshot("then", 12.5, "shutoff", False, ("/pool/root.qcow2",), marked=True)


def _look(**survey: Any) -> Look:
    """A look at one running machine, as far as an act asks for it."""
    config = DomainConfig(
        "web",
        UID,
        virt_type="kvm",
        disks=(DiskConfig("vda", "virtio", "/pool/root.qcow2", "qcow2", None, "root"),),
    )
    mark = Applied("default", UID, "web", 3, "hash", config, stop_timeout=9)
    domain = ObservedDomain("h1", config, config, DomainState.RUNNING, applied=mark, applied_live=mark)
    index = SimpleNamespace(ours={"web": domain}, twins={})
    found = {"index": index, "suspended": frozenset(), "same": {}, "blocked": {}} | survey
    spec = VirtualMachineSpec.model_validate({"cpus": 1, "memory": "1Gi", "stopTimeout": "7s"})
    manifest = VirtualMachine(metadata=Metadata(name="web"), spec=spec)
    return cast(
        "Look",
        SimpleNamespace(
            survey=SimpleNamespace(**found),
            desired=SimpleNamespace(machines={"web": manifest}),
            hosts={"h1": None},
            plan=SimpleNamespace(revision="abc", blocked=()),
            records={"web": SimpleNamespace(host="h1")},
            fleet={"h1": SimpleNamespace(known=False)},
        ),
    )


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[Snapshot]:
    """The snapshots that the host has."""
    found = [THEN]
    monkeypatch.setattr(requests, "read_snapshots", lambda _host, _uid: tuple(found))
    return found


def test_a_restart_says_who_asked_and_gives_the_guest_its_time() -> None:
    plan = plan_act(_look(), Request(Act.RESTART, "web"), "ann")
    assert [action.operation for action in plan.actions] == [Stop(7), Start()]
    assert (plan.changes[0].reason, plan.revision) == ("ann asked for it", "abc")
    forced = plan_act(_look(), Request(Act.RESTART, "web", force=True))
    assert (forced.actions[0].operation, forced.changes[0].reason) == (Stop(0), "it was asked for")
    bare = _look()
    bare.desired.machines.clear()  # type: ignore[attr-defined]
    assert plan_act(bare, Request(Act.STOP, "web")).actions[0].operation == Stop(9)


@pytest.mark.parametrize(
    ("survey", "code", "says"),
    [
        ({"suspended": frozenset({"web"})}, 1, "hands off"),
        ({"same": {"h1": ("h1", "h2")}}, 1, "several names"),
        ({"blocked": {"web": Blocked("web", "HostUnknown", "h1 is silent")}}, 7, "HostUnknown: h1 is silent"),
        (
            {
                "index": SimpleNamespace(ours={}, twins={}),
                "blocked": {"web": Blocked("web", "HostUnknown", "h1 is silent")},
            },
            7,
            "HostUnknown: h1 is silent",
        ),
        ({"index": SimpleNamespace(ours={}, twins={})}, 1, "on no host that answers"),
    ],
)
def test_what_the_loop_leaves_alone_is_left_alone(survey: dict[str, Any], code: int, says: str) -> None:
    with pytest.raises(ReconcilerError) as caught:
        plan_act(_look(**survey), Request(Act.RESTART, "web"))
    assert (caught.value.exit_code, says in caught.value.message) == (code, True), caught.value.message
    assert ReconcilerError.exit_code == 1


def test_a_machine_that_shall_be_off_is_not_restarted() -> None:
    look = _look()
    manifest = look.desired.machines["web"]
    off = manifest.spec.model_copy(update={"run_strategy": RunStrategy.HALTED})
    cast("dict[str, Any]", look.desired.machines)["web"] = manifest.model_copy(update={"spec": off})
    with pytest.raises(UsageError, match="desired to be off"):
        plan_act(look, Request(Act.RESTART, "web"))


@pytest.mark.parametrize("act", [Act.RESTORE, Act.DELETE_SNAPSHOT])
def test_only_what_was_agreed_on_is_restored_or_deleted(known: list[Snapshot], act: Act) -> None:
    request = agreed(_look(), Request(act, "web", "then"))
    assert (request.uid, request.taken) == (UID, 12.5)
    plan = plan_act(_look(), request, "ann")
    assert len(plan.actions) == 1
    if act is Act.RESTORE:
        assert isinstance(plan.actions[0].operation, RestoreSnapshot)
    with pytest.raises(StalePlanError, match="another machine by now"):
        plan_act(_look(), replace(request, uid="another"))
    known[:] = [replace(THEN, created=13.0)]
    with pytest.raises(StalePlanError, match="another one by now"):
        plan_act(_look(), request)
    known.clear()
    with pytest.raises(ReconcilerError, match="has no snapshot 'then'"):
        plan_act(_look(), request)
