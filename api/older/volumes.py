"""Volumes of the orchestration layer: made, plugged in, taken out, and destroyed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from api.older.deleting import delete
from api.older.frame import Asked
from api.older.ids import MACHINE, VOLUME
from api.older.machines import Machines
from api.older.waiting import Verdict, settled
from api.services import Services
from reconciler.desired.writer import to_plain
from reconciler.errors import ConflictError, NotFoundError, UsageError
from reconciler.model.access import Role, Thing
from reconciler.model.desired import DesiredState
from reconciler.model.envelope import API_VERSION
from reconciler.model.status import ConditionStatus, ConditionType
from reconciler.model.storage import PoolType, Volume
from reconciler.model.write import Change, Write, Written, version_of
from reconciler.store.base import Subject

GIB = 1 << 30
LARGEST = 1 << 20
"""GiB: a size above it is a mistake."""

_RAW_ONLY = (PoolType.LOGICAL, PoolType.ZFS, PoolType.RBD)
_WAITS = "WaitForFirstMachine"
_NOT_YET = frozenset({"ChangesPending", "Skipped", "RetryLater"})


class Volumes:
    """The volumes. Everything that does not wait blocks: it is for `Services.run`."""

    def __init__(self, services: Services, machines: Machines) -> None:
        self._services = services
        self._store = services.store
        self._desired = services.desired
        self._machines = machines
        self._look = machines.look
        self._ids = machines.ids

    # -- what there is ----------------------------------------------------------------------------------

    def named(self, asked: Asked, role: Role) -> Volume:
        """The volume whose number the call has.

        Raises:
            NotFoundError: There is none, or the caller may not.
        """
        number = asked.number("volumeid")
        name = self._ids.name(VOLUME, number) if number else None
        found = self._look().volumes.get(name) if name is not None else None
        if found is None or not asked.may(role, Thing(VOLUME, found.name, found.metadata.labels)):
            raise NotFoundError(f"volumeid: {asked.given.get('volumeid', '')} does not exist")
        return found

    def describe(self, asked: Asked) -> Mapping[str, object]:
        """The answer of ``/volume/query``."""
        volume = self.named(asked, Role.VIEWER)
        told: dict[str, object] = {
            "volumeid": asked.number("volumeid"),
            "name": volume.name,
            "size": -(-volume.spec.size // GIB),
        }
        machine = self._machine(self._look(), volume)
        if machine is None:
            return {**told, "status": "available"}
        number = self._ids.allot(MACHINE, machine, seen=True) if self._machines.status(machine) else 0
        return {**told, "status": "attached", "vmid": number}

    def _machine(self, desired: DesiredState, volume: Volume) -> str | None:
        """Who has it, or is about to."""
        if volume.spec.attach_to is not None:
            return volume.spec.attach_to.machine
        for vm in desired.machines.values():
            if any(disk.volume == volume.name for disk in vm.spec.disks):
                return vm.name
        return next(iter(self._users(volume.name)), None)

    def _users(self, name: str) -> list[str]:
        """The machines in which it was seen last."""
        row = self._store.statuses(VOLUME).get(name)
        found: Mapping[str, Any] = json.loads(row) if row is not None else {}
        return list(found.get("machines", ()))

    # -- made -------------------------------------------------------------------------------------------

    async def create(self, asked: Asked) -> int:
        """Make a volume, and answer with its number when a tick has accepted it.

        Raises:
            ReconcilerError: It cannot be made; it is taken back.
        """
        run = self._services.run
        written, number = await run(self._begin, asked)
        name = written.key.removeprefix(f"{VOLUME}/")
        self._services.wake(f"older api: create {written.key}")
        if await settled(self._services, lambda: self._made(name)) is Verdict.DONE:
            return number
        why = await run(self._why, written.key)
        await run(self._take_back, asked, written)
        raise ConflictError(f"the volume {name} is not there: {why}")

    def _begin(self, asked: Asked) -> tuple[Written, int]:
        name, size = asked.given.get("name", ""), asked.number("size")
        if not 0 < size <= LARGEST:
            raise UsageError(f"size is GiB, 1 to {LARGEST}, not {asked.given.get('size', '')!r}")
        if not asked.may(Role.OPERATOR, Thing(VOLUME, name)):
            raise NotFoundError(f"{asked.caller.name} may make no volume {name!r}")
        if name in self._store.volumes() or f"{VOLUME}/{name}" in self._store.conditions(Subject.VM):
            raise ConflictError(f"there is a volume {name!r} already, or its data is kept")
        spec: dict[str, object] = {"size": f"{size}Gi", "deletionPolicy": "Delete"}
        pool = self._services.config.older_apis.pool
        if pool is not None:
            spec["pool"] = pool
            manifest = self._desired.read().pools.get(pool)
            if manifest is not None and manifest.spec.type in _RAW_ONLY:
                spec["format"] = "raw"
        body = {"apiVersion": API_VERSION, "kind": VOLUME, "metadata": {"name": name}, "spec": spec}
        message = f"Create Volume {name}\n\nAsked for by /volume/create."
        written = self._desired.write(
            Write(f"{VOLUME}/{name}", Change.CREATE, body, asked.caller.author, message)
        )
        # Before a tick can see it, so that every tick after this one knows whether it lives.
        return written, self._ids.allot(VOLUME, name)

    def _made(self, name: str) -> Verdict:
        """Whether it is there, or will be as soon as a machine gets it."""
        said = self._condition(f"{VOLUME}/{name}")
        if said is None or said[1] in _NOT_YET:
            return Verdict.GOES_ON
        return Verdict.DONE if said[0] is ConditionStatus.TRUE or said[1] == _WAITS else Verdict.FAILED

    def _take_back(self, asked: Asked, written: Written) -> None:
        name = written.key.removeprefix(f"{VOLUME}/")
        message = f"Delete Volume {name}\n\nIt could not be made for /volume/create."
        match = version_of(written.after) if written.after is not None else None
        delete(asked, VOLUME, name, message, match)
        self._ids.end(VOLUME, name)
        self._services.wake(f"older api: take back {written.key}")

    # -- destroyed --------------------------------------------------------------------------------------

    async def destroy(self, asked: Asked) -> None:
        """Delete a volume that nobody has, with its data, and wait until it is gone.

        Raises:
            ReconcilerError: Somebody has it, or it is still there.
        """
        name = await self._services.run(self._delete, asked)
        self._services.wake(f"older api: destroy Volume/{name}")
        if await settled(self._services, lambda: self._gone(name)) is not Verdict.DONE:
            raise ConflictError(f"the volume {name} is not gone yet")

    def _delete(self, asked: Asked) -> str:
        volume = self.named(asked, Role.OPERATOR)
        machine = self._machine(self._desired.read(), volume)
        if machine is not None:
            raise ConflictError(f"the volume {volume.name} is attached to {machine}")
        message = f"Delete Volume {volume.name}\n\nAsked for by /volume/destroy."
        # Of just this version: if it is attached meanwhile, that stands.
        match = version_of(to_plain(volume))
        delete(asked, VOLUME, volume.name, message, match)
        self._ids.end(VOLUME, volume.name)
        return volume.name

    def _gone(self, name: str) -> Verdict:
        there = name in self._store.volumes() or f"{VOLUME}/{name}" in self._store.conditions(Subject.VM)
        return Verdict.GOES_ON if there else Verdict.DONE

    # -- plugged in and taken out -----------------------------------------------------------------------

    async def attach(self, asked: Asked) -> None:
        """Plug a volume that nobody has into a machine, and wait until the machine has it.

        Raises:
            ReconcilerError: It cannot be; it is taken back.
        """
        run = self._services.run
        name, machine, written = await run(self._plug, asked)
        disk = _disk_name(asked)
        self._services.wake(f"older api: attach {name}")
        if await settled(self._services, lambda: self._has(machine, name, disk)) is Verdict.DONE:
            return
        why = await run(self._why, machine)
        await run(self._unplug, asked, name, f"It could not be attached to {machine}.", written)
        raise ConflictError(f"the machine {machine} does not have the volume {name}: {why}")

    def _plug(self, asked: Asked) -> tuple[str, str, Written]:
        machine, volume = self._machines.named(asked, Role.OPERATOR), self.named(asked, Role.OPERATOR)
        desired = self._desired.read()
        if (owner := self._machine(desired, volume)) is not None:
            raise ConflictError(f"the volume {volume.name} is attached to {owner}")
        if machine not in desired.machines:
            raise ConflictError(f"the machine {machine} is a pool's, or nobody desires it any more")
        to = {"machine": machine, "name": _disk_name(asked)}
        written = self._desired.write(
            Write(
                f"{VOLUME}/{volume.name}",
                Change.MERGE,
                {"spec": {"attachTo": to}},
                asked.caller.author,
                f"Attach Volume {volume.name} to {machine}\n\nAsked for by /volume/attach.",
                # Of just this version: of two who attach it at once, one is told no.
                version_of(to_plain(volume)),
            )
        )
        return volume.name, machine, written

    def _has(self, machine: str, name: str, disk: str) -> Verdict:
        """Whether it was seen in the machine; or what was done came to nothing."""
        waits = self._condition(machine, ConditionType.RESTART_REQUIRED)
        if waits is not None and waits[0] is ConditionStatus.TRUE and f"disks[{disk}]" in waits[2]:
            return Verdict.FAILED
        if machine in self._users(name):
            return Verdict.DONE
        retry = self._store.retries().get(machine)
        said = self._condition(machine)
        blocked = said is not None and said[0] is ConditionStatus.FALSE and said[1] in _NEVER
        return Verdict.FAILED if blocked or (retry is not None and retry.terminal) else Verdict.GOES_ON

    async def detach(self, asked: Asked) -> None:
        """Take a volume out of its machine, and wait until the machine has let go of it.

        Raises:
            ReconcilerError: Nobody has it, or the machine does not let go of it.
        """
        run = self._services.run
        volume = await run(self.named, asked, Role.OPERATOR)
        to = volume.spec.attach_to
        if to is None:
            raise ConflictError(f"the volume {volume.name} is not attached, or a machine's manifest has it")
        # Whoever pulls a disk out of a machine changes the machine.
        owner = await run(lambda: self._machines.thing(self._desired.read(), to.machine))
        if not asked.may(Role.OPERATOR, owner):
            raise NotFoundError(f"{asked.caller.name} may not change the machine of {volume.name}")
        await run(self._unplug, asked, volume.name, "Asked for by /volume/detach.", None)
        self._services.wake(f"older api: detach {volume.name}")
        done = await settled(self._services, lambda: self._free(volume.name))
        if done is not Verdict.DONE:
            raise ConflictError(f"the machine {to.machine} has not let go of the volume {volume.name} yet")

    def _unplug(self, asked: Asked, name: str, why: str, written: Written | None) -> None:
        match = version_of(written.after) if written is not None and written.after is not None else None
        body = {"spec": {"attachTo": None}}
        message = f"Detach Volume {name}\n\n{why}"
        self._desired.write(
            Write(f"{VOLUME}/{name}", Change.MERGE, body, asked.caller.author, message, match)
        )

    def _free(self, name: str) -> Verdict:
        return Verdict.GOES_ON if self._users(name) else Verdict.DONE

    # -- why --------------------------------------------------------------------------------------------

    def _condition(
        self, key: str, kind: ConditionType = ConditionType.SYNCED
    ) -> tuple[ConditionStatus, str, str] | None:
        said = self._store.conditions(Subject.VM).get(key, ())
        return next(((one.status, one.reason, one.message) for one in said if one.type == kind), None)

    def _why(self, key: str) -> str:
        retry = self._store.retries().get(key)
        said = self._condition(key)
        told = f"{said[1]}: {said[2]}" if said else "no tick has seen it; is the daemon running?"
        return retry.message if retry is not None else told


def _disk_name(asked: Asked) -> str:
    """What the disk is called in the machine: a name that no other disk of it has."""
    return f"volume-{asked.number('volumeid')}"


_NEVER = frozenset(
    {"VolumeElsewhere", "VolumeInUse", "VolumeClaimed", "VolumeMissing", "DuplicateVolume", "Failed"}
)
"""Reasons for which a machine gets no volume however long one waits."""
