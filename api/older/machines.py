"""Machines of the orchestration layer: made, looked at, and destroyed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from api.older.deleting import delete
from api.older.frame import Asked
from api.older.ids import MACHINE, VOLUME, Ids
from api.older.reading import LastGood
from api.older.waiting import Verdict, settled
from api.services import Services
from reconciler.desired.writer import to_plain
from reconciler.errors import ConflictError, NotFoundError, ReconcilerError
from reconciler.model.access import Role, Thing
from reconciler.model.desired import DesiredState
from reconciler.model.envelope import API_VERSION
from reconciler.model.placement import Phase
from reconciler.model.status import ConditionStatus, ConditionType
from reconciler.model.storage import AttachTo
from reconciler.model.write import Change, Write, Written, version_of
from reconciler.store.base import Subject

_log = logging.getLogger(__name__)

NOWHERE: Mapping[str, object] = {"vmid": 0, "name": None, "instance_type": 0, "pmid": 0}
"""What is said of a machine that nobody knows."""

_NOT_YET = frozenset({"NotCreated", "ChangesPending", "Skipped", "DomainMissing", "Cancelled"})
"""Reasons of a machine that is on its way."""


class Machines:
    """The machines. Everything that does not wait blocks: it is for `Services.run`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._desired = services.desired
        self.look = LastGood(lambda: services.desired.read())  # noqa: PLW0108 (when first used)
        self.ids = Ids(services)

    # -- what there is ----------------------------------------------------------------------------------

    def status(self, name: str) -> Mapping[str, Any] | None:
        """How the machine was seen last; None if it never was, or is gone."""
        row = self._store.statuses(MACHINE).get(name)
        found: Mapping[str, Any] | None = json.loads(row) if row is not None else None
        return found

    def thing(self, desired: DesiredState, name: str) -> Thing:
        """For the question whether somebody may."""
        vm = desired.machines.get(name)
        if vm is not None:
            return Thing(MACHINE, name, vm.metadata.labels)
        for member in self._store.members():
            pool = desired.machine_pools.get(member.pool)
            if member.vm == name and pool is not None:
                return Thing(MACHINE, name, pool.spec.template.labels)
        return Thing(MACHINE, name)

    def named(self, asked: Asked, role: Role) -> str:
        """The machine whose number the call has.

        Raises:
            NotFoundError: There is none, or the caller may not.
        """
        number = asked.number("vmid")
        name = self.ids.name(MACHINE, number) if number else None
        known = name is not None and name in self._store.statuses(MACHINE)
        if name is None or not known or not asked.may(role, self.thing(self.look(), name)):
            raise NotFoundError(f"there is no machine {asked.given.get('vmid', '')!r}")
        return name

    def describe(self, asked: Asked, hosts: Mapping[str, int]) -> Mapping[str, object]:
        """The answer of ``/vm/query``."""
        try:
            name = self.named(asked, Role.VIEWER)
        except NotFoundError:
            return NOWHERE
        desired = self.look()
        vm = desired.machines.get(name)
        status = self.status(name) or {}
        return {
            "vmid": asked.number("vmid"),
            "name": name,
            "instance_type": self.ids.types(desired).get(vm.spec.instance_type or "", 0) if vm else 0,
            "pmid": hosts.get(status.get("host", ""), 0),
        }

    # -- made -------------------------------------------------------------------------------------------

    async def create(self, asked: Asked) -> int:
        """Make a machine, and answer with its number when it runs.

        Raises:
            ReconcilerError: It cannot be made; whatever was made of it is taken back.
        """
        run = self._services.run
        written = await run(self._begin, asked)
        name = written.key.removeprefix(f"{MACHINE}/")
        self._services.wake(f"older api: create {name}")
        if await settled(self._services, lambda: self._made(name)) is Verdict.DONE:
            return await run(self._number, name)
        why = await run(self._why, name)
        await run(self._take_back, asked, written)
        raise ConflictError(f"the machine {name} does not run: {why}")

    def _begin(self, asked: Asked) -> Written:
        name, desired = asked.given.get("name", ""), self._desired.read()
        type_ = _name_of(self.ids.types(desired), asked.number("instance_type"), "instance type")
        image = _name_of(self.ids.images(desired), asked.number("image_id"), "image")
        if not asked.may(Role.OPERATOR, Thing(MACHINE, name)):
            raise NotFoundError(f"{asked.caller.name} may make no machine {name!r}")
        if name in self._store.records() or name in self._store.statuses(MACHINE):
            raise ConflictError(f"there is a machine {name!r} already, or its disks are kept")
        network = self._services.config.older_apis.network
        spec: dict[str, object] = {"instanceType": type_, "image": image, "deletionPolicy": "Delete"}
        if network is not None:
            spec["interfaces"] = [{"network": network}]
        body = {"apiVersion": API_VERSION, "kind": MACHINE, "metadata": {"name": name}, "spec": spec}
        message = f"Create VirtualMachine {name}\n\nAsked for by /vm/create."
        return self._desired.write(
            Write(f"{MACHINE}/{name}", Change.CREATE, body, asked.caller.author, message)
        )

    def _made(self, name: str) -> Verdict:
        """Whether its domain is defined and started, or will not be."""
        if (self.status(name) or {}).get("state") == "running":
            return Verdict.DONE
        retry = self._store.retries().get(name)
        if retry is not None:
            return Verdict.FAILED if retry.terminal else Verdict.GOES_ON
        placed = self._condition(name, ConditionType.PLACED)
        refused = placed is not None and placed[0] is ConditionStatus.FALSE and placed[1] not in _NOT_YET
        return Verdict.FAILED if refused else Verdict.GOES_ON

    def _number(self, name: str) -> int:
        return self.ids.allot(MACHINE, name, seen=True)

    def _why(self, name: str) -> str:
        """What keeps it from running, in words."""
        retry = self._store.retries().get(name)
        if retry is not None:
            return retry.message
        ready = self._condition(name, ConditionType.READY)
        return f"{ready[1]}: {ready[2]}" if ready else "no tick has seen it; is the daemon running?"

    def _take_back(self, asked: Asked, written: Written) -> None:
        """Undo the commit, if nobody changed the machine since."""
        name = written.key.removeprefix(f"{MACHINE}/")
        message = f"Delete VirtualMachine {name}\n\nIt could not be made for /vm/create."
        match = version_of(written.after) if written.after is not None else None
        try:
            delete(asked, MACHINE, name, message, match)
            self._services.wake(f"older api: take back {name}")
        except ReconcilerError as error:
            _log.warning("request %s: %s is left as it is: %s", asked.id, written.key, error.message)

    # -- destroyed --------------------------------------------------------------------------------------

    async def destroy(self, asked: Asked) -> None:
        """Detach its volumes, delete it, and wait until it is gone.

        Raises:
            ReconcilerError: It may not be, or is still there.
        """
        name = await self._services.run(self._delete, asked)
        self._services.wake(f"older api: destroy {name}")
        if await settled(self._services, lambda: self._gone(name)) is not Verdict.DONE:
            raise ConflictError(f"the machine {name} is not gone yet")
        await self._services.run(self.ids.end, MACHINE, name)

    def _delete(self, asked: Asked) -> str:
        name, desired = self.named(asked, Role.OPERATOR), self._desired.read()
        vm = desired.machines.get(name)
        if vm is None:
            raise ConflictError(f"the machine {name} is a pool's, or nobody desires it any more")
        if vm.spec.protect:
            raise ConflictError(f"the machine {name} is protected", hint="take protect out of its manifest")
        attached = _attached_to(asked, desired, name)
        why = "\n\nAsked for by /vm/destroy."
        for volume in attached:
            self._attach(asked, volume, None, f"Detach Volume {volume} from {name}{why}")
        message = f"Delete VirtualMachine {name}{why}"
        try:
            # Just this version: one that is protected, or made anew, meanwhile is another one.
            delete(asked, MACHINE, name, message, version_of(to_plain(vm)))
        except ReconcilerError:
            for volume, to in attached.items():
                again = f"Attach Volume {volume} to {name} again\n\nThe machine could not be deleted."
                self._attach(asked, volume, to, again)
            raise
        return name

    def _attach(self, asked: Asked, volume: str, to: AttachTo | None, message: str) -> None:
        """Let a volume say whom it is attached to."""
        body = {"spec": {"attachTo": to_plain(to) if to is not None else None}}
        self._desired.write(Write(f"{VOLUME}/{volume}", Change.MERGE, body, asked.caller.author, message))

    def _gone(self, name: str) -> Verdict:
        record = self._store.records().get(name)
        there = (
            name in self._store.statuses(MACHINE)
            or name in self._store.conditions(Subject.VM)
            or (record is not None and record.phase is not Phase.RETAINED)
        )
        return Verdict.GOES_ON if there else Verdict.DONE

    def _condition(self, name: str, kind: ConditionType) -> tuple[ConditionStatus, str, str] | None:
        said = self._store.conditions(Subject.VM).get(name, ())
        return next(((one.status, one.reason, one.message) for one in said if one.type == kind), None)


def _attached_to(asked: Asked, desired: DesiredState, machine: str) -> Mapping[str, AttachTo]:
    """The volumes that say that they are attached to a machine.

    Raises:
        ConflictError: One of them is none that the caller may change.
    """
    found = {}
    for volume in desired.volumes.values():
        to = volume.spec.attach_to
        if to is None or to.machine != machine:
            continue
        if not asked.may(Role.OPERATOR, Thing(VOLUME, volume.name, volume.metadata.labels)):
            raise ConflictError(f"the machine {machine} has a volume that {asked.caller.name} may not detach")
        found[volume.name] = to
    return found


def _name_of(numbers: Mapping[str, int], number: int, what: str) -> str:
    found = next((name for name, known in numbers.items() if known == number), None)
    if found is None:
        raise NotFoundError(f"there is no {what} of this number")
    return found
