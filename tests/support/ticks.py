"""What a daemon would tell the store, told by a test: machines run, volumes are where they belong.

It is no daemon: it has no hosts, and so no truth of its own.  The lab has both.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from reconciler import bookkeeping
from reconciler.model.host import Host
from reconciler.model.placement import Phase, Record, VolumeRecord
from reconciler.model.pool import MemberState
from reconciler.model.status import Condition, ConditionStatus, Retry
from reconciler.planner.lent.life import FOR_GOOD
from reconciler.planner.situation import Situation
from reconciler.store.base import Store, Subject

GIB = 1 << 30
HOSTS: Mapping[str, dict[str, Any]] = {
    name: {
        "status": "Ready",
        "labels": labels,
        "capacity": {"cpus": 8, "memory": 4 * GIB, "disk": 100 * GIB},
        "free": {"cpus": 6, "memory": 3 * GIB + 5, "disk": 99 * GIB},
    }
    for name, labels in {"beta": {"seed/pmid": "7"}, "alpha": {}, "gamma": {"seed/pmid": "2"}}.items()
}


class Ticks:
    """Ticks again and again in a thread, while in a ``with``.

    Attributes:
        refused: Machine or ``Volume/name`` to the reason why it cannot be.
        terminal: Machines whose making failed for good.
        cold: Machines into which nothing can be plugged while they run.
        addresses: Machine to address.
    """

    def __init__(self, desired: Any, store: Store) -> None:
        self._desired = desired
        self._store = store
        self.refused: dict[str, str] = {}
        self.terminal: set[str] = set()
        self.cold: set[str] = set()
        self.addresses: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._lock = threading.Lock()

    def __enter__(self) -> Ticks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.tick()

    def tick(self) -> None:
        """One look, and what it tells."""
        with self._lock:
            state, store = self._desired.read(), self._store
            machines = {
                name: vm for name, vm in state.machines.items() if name not in {*self.refused, *self.terminal}
            }
            held = {
                volume.name: volume.spec.attach_to.machine
                for volume in state.volumes.values()
                if volume.spec.attach_to is not None and volume.spec.attach_to.machine not in self.cold
            }
            said = {name: self._said(name, held) for name in state.machines}
            said |= {f"Volume/{name}": self._of_volume(name, held) for name in state.volumes}
            lent = self._lend()
            with store.transaction():
                store.put_records(Record(name, f"uid-{name}", "alpha", 1, Phase.PLACED) for name in machines)
                store.delete_records(store.records().keys() - machines.keys())
                store.put_volumes(
                    VolumeRecord(name, f"uid-{name}", "alpha", "default", "Delete", Phase.PLACED)
                    for name in held
                )
                store.delete_volumes(store.volumes().keys() - state.volumes.keys())
                store.put_retries(
                    Retry(name, 1, 0.0, True, "", "it cannot be made") for name in self.terminal
                )
                running = {name: self._row(name) for name in (*machines, *lent)}
                store.set_statuses("VirtualMachine", running, complete=True)
                users = {
                    name: json.dumps({"machines": [held[name]] if held.get(name) in machines else []})
                    for name in state.volumes
                }
                store.set_statuses("Volume", users, complete=True)
                store.set_statuses("Host", {name: json.dumps(told) for name, told in HOSTS.items()})
                store.set_conditions(Subject.VM, said, complete=True)
                hosts = {name: Host(name, "test:///default") for name in HOSTS}
                bookkeeping.note_living(store, Situation(state, hosts, {}), said)

    def _row(self, name: str) -> str:
        addresses = [{"address": self.addresses[name]}] if name in self.addresses else []
        return json.dumps({"host": "alpha", "uid": f"uid-{name}", "state": "running", "addresses": addresses})

    def _said(self, name: str, held: Mapping[str, str]) -> tuple[Condition, ...]:
        reason = self.refused.get(name) or ("Failed" if name in self.terminal else "")
        status = ConditionStatus.FALSE if reason else ConditionStatus.TRUE
        cold = name in self.cold and name not in held.values()
        waits = ConditionStatus.TRUE if cold else ConditionStatus.FALSE
        volumes = self._store.ids("Volume").values()
        message = ", ".join(f"disks[volume-{number}]" for number in volumes) + ": restart it"
        return (
            *(Condition(kind, status, reason or "Running", "told") for kind in ("Placed", "Ready", "Synced")),
            Condition("RestartRequired", waits, "ChangesWait" if cold else "NothingWaits", message),
        )

    def _of_volume(self, name: str, held: Mapping[str, str]) -> tuple[Condition, ...]:
        reason = self.refused.get(f"Volume/{name}") or ("InSync" if name in held else "WaitForFirstMachine")
        status = ConditionStatus.TRUE if reason == "InSync" else ConditionStatus.FALSE
        return tuple(Condition(kind, status, reason, "told") for kind in ("Ready", "Synced"))

    def _lend(self) -> list[str]:
        """Members become available, or go."""
        store, now = self._store, self._store.lease_time()
        for one in store.members():
            if one.state is MemberState.CREATING and one.vm in self.refused:
                store.step_member(one.vm, [one.state], MemberState.ERROR, now, message=self.refused[one.vm])
            elif one.state in (MemberState.CREATING, MemberState.CLEANING):
                store.step_member(one.vm, [one.state], MemberState.AVAILABLE, now)
            elif one.state is MemberState.RETIRING and one.message in FOR_GOOD:
                store.delete_members([one.vm])
        return [one.vm for one in store.members() if one.state is not MemberState.ERROR]
