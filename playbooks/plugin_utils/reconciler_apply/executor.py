# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of one host's steps: side by side where they may be, skipped where they must be."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt

from . import (
    claims,
    devices,
    domains,
    hardware,
    image_disposal,
    images,
    networks,
    own_volumes,
    pools,
    reservations,
    seeds,
    snapshots,
    volumes,
)
from .guard import Guard, working
from .outcome import CHANGED, FAILED, OK, SKIPPED, Interrupted, Result, Step, StepError, WouldChange
from .session import Session, open_host
from .trouble import failure

DOCUMENT_VERSION = 1

Operation = Callable[[Session, Step], "str | None"]
"""Carries out a step: a sentence if something changed, None if all was well already."""

_OPERATIONS: dict[str, Operation] = {
    "create-volume": volumes.create_volume,
    "delete-volume": volumes.delete_volume,
    "resize-volume": own_volumes.resize,
    "discard-volume": own_volumes.discard,
    "claim-volume": claims.claim_volume,
    "release-volume": claims.release_volume,
    "define-pool": pools.define_pool,
    "start-pool": pools.start_pool,
    "set-pool-autostart": pools.set_pool_autostart,
    "undefine-pool": pools.undefine_pool,
    "put-seed": seeds.put_seed,
    "define": domains.define,
    "redefine": domains.redefine,
    "undefine": domains.undefine,
    "start": domains.start,
    "stop": domains.stop,
    "take-snapshot": snapshots.take_snapshot,
    "restore-snapshot": snapshots.restore_snapshot,
    "delete-snapshot": snapshots.delete_snapshot,
    "set-memory": domains.set_memory,
    "set-cpus": domains.set_cpus,
    "set-description": domains.set_description,
    "set-autostart": domains.set_autostart,
    "mark": domains.write_mark,
    "unmark": domains.remove_mark,
    "attach-disk": devices.attach_disk,
    "detach-disk": devices.detach_disk,
    "attach-interface": devices.attach_interface,
    "detach-interface": devices.detach_interface,
    "grow-disk": devices.grow_disk,
    "set-limits": hardware.set_limits,
    "change-media": hardware.change_media,
    "pin-cpus": hardware.pin_cpus,
    "attach-host-device": hardware.attach_host_device,
    "detach-host-device": hardware.detach_host_device,
    **networks.OPERATIONS,
    **reservations.OPERATIONS,
}
_CARRIED: dict[str, Callable[[Session, Step, images.Carrier | None], str | None]] = {
    "ensure-image": images.ensure_image,
    "delete-image": image_disposal.delete_image,
    "snapshot-volume": own_volumes.snapshot,
}
"""Likewise, with the one that reaches the host's files."""
_MISSING = frozenset(
    ["DomainMissing", "ImageMissing", "NetworkMissing", "PoolMissing", "PoolInactive", "VolumeMissing"]
)
"""What an earlier step of the same check would have made."""
_MOST_THREADS = 64
_LONGEST_MESSAGE = 2000


class Progress:
    """Appends a line a step to a file that several workers share; one write is one line, whole."""

    def __init__(self, path: Path, host: str) -> None:
        self._path = path
        self._host = host

    def began(self, step: Step) -> None:
        """A step begins."""
        self._write({"event": "began", "id": step["id"], "vm": step["vm"]})

    def says(self, message: str) -> None:
        """Something that may take minutes is about to be done."""
        self._write({"event": "says", "message": message})

    def ended(self, result: Result) -> None:
        """A step ended."""
        self._write({"event": "ended"} | result.as_data())

    def _write(self, line: dict[str, Any]) -> None:
        data = json.dumps(line | {"host": self._host, "time": time.time()}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data.encode())
        finally:
            os.close(descriptor)


class Executor:
    """Carries out the document of one host.

    Args:
        document: What `reconciler.push.host_plan` wrote.
        directory: The run's folder: locks and progress.
        carrier: Brings image files; None sends them through libvirt.
        check: Say what would be done, and do nothing.
        tell: Called with each result as it comes.
    """

    def __init__(
        self,
        document: dict[str, Any],
        directory: Path,
        carrier: images.Carrier | None = None,
        *,
        check: bool = False,
        tell: Callable[[Result], None] = lambda _: None,
    ) -> None:
        if document["version"] != DOCUMENT_VERSION:
            raise ValueError(
                f"the plan has format version {document['version']}, this plugin reads {DOCUMENT_VERSION}"
            )
        self._document = document
        self._carrier = carrier if images.reaches_files(document["uri"]) else None
        self._check = check
        self._tell = tell
        self._guard = Guard(directory)
        self._progress = Progress(directory / "progress.jsonl", document["host"])
        self._steps: list[Step] = document["actions"]
        self._results: dict[str, Result] = {}
        self._carrying = threading.Lock()

    def run(self) -> list[Result]:
        """Carry everything out; one result for each step, in their order."""
        try:
            with working(self._document["workers_lock"]):
                self._guard.check()
                self._connected(open_host(self._document["uri"], self._document["deadline"]))
        except Interrupted as early:
            self._give_up(StepError(early.reason, str(early)), SKIPPED)
        except StepError as trouble:
            self._give_up(trouble, FAILED)
        return [self._results[step["id"]] for step in self._steps]

    def carry_out(self, conn: libvirt.virConnect) -> list[Result]:
        """Likewise, over a connection that is open already."""
        session = Session(
            conn,
            self._document["owner"],
            self._guard,
            check=self._check,
            parallel=self._document["parallel"],
            announce=self._progress.says,
        )
        self._side_by_side(session, list(self._steps))
        return [self._results[step["id"]] for step in self._steps]

    def _connected(self, conn: libvirt.virConnect) -> None:
        try:
            self.carry_out(conn)
        finally:
            conn.close()

    def _side_by_side(self, session: Session, waiting: list[Step]) -> None:
        """Start whatever is ready, note what ends, until nothing is left."""
        ended: queue.SimpleQueue[Result] = queue.SimpleQueue()
        running = 0
        while waiting or running:
            ready = [step for step in waiting if self._is_ready(step)]
            for step in ready[: _MOST_THREADS - running]:
                waiting.remove(step)
                running += 1
                self._in_thread(session, step, ended)
            if not running:  # a circle, or a step that waits for one that is not here
                for step in waiting:
                    self._note(self._result(step, SKIPPED, "it waits for a step that is not in this plan"))
                return
            self._note(ended.get())
            running -= 1

    def _in_thread(self, session: Session, step: Step, ended: queue.SimpleQueue[Result]) -> None:
        def work() -> None:
            result = self._result(step, FAILED, "a mistake in the plugin", reason="InternalError")
            try:
                # What carries files for us is not made for several threads. It works without a lane: a large
                # image would be in the way of everything else.
                with self._carrying if step["kind"] in _CARRIED else session.lane:
                    result = self._attempt(session, step)
            finally:  # whatever happened: without an answer the host would wait for ever
                ended.put(result)

        # A daemon thread: one that is stuck in libvirt must not keep the worker from ending.
        threading.Thread(target=work, daemon=True, name=step["id"]).start()

    def _is_ready(self, step: Step) -> bool:
        return all(before in self._results for before in step["after"])

    def _attempt(self, session: Session, step: Step) -> Result:
        broken = [b for b in step["after"] if self._outcome(b) in (FAILED, SKIPPED)]
        if broken:
            return self._result(step, SKIPPED, f"{broken[0]} was not done", reason="DependencyFailed")
        began = time.monotonic()
        try:
            self._guard.check()
            self._progress.began(step)
            done = self._perform(session, step)
            result = self._result(step, CHANGED if done else OK, done or "")
        except WouldChange as change:
            result = self._result(step, CHANGED, str(change))
        except Interrupted as early:
            result = self._result(step, SKIPPED, str(early), reason=early.reason)
        except StepError as trouble:
            result = self._failed(step, trouble)
        except libvirt.libvirtError as error:
            result = self._failed(step, failure(error))
        except (OSError, ValueError, LookupError, SyntaxError) as error:  # unreadable XML is a SyntaxError
            result = self._failed(step, StepError("InternalError", f"{type(error).__name__}: {error}"))
        return replace(result, seconds=round(time.monotonic() - began, 4))

    def _perform(self, session: Session, step: Step) -> str | None:
        kind = step["kind"]
        if kind == "refused":
            raise StepError(step["refusal"], step["message"], terminal=True)
        if kind in _CARRIED:
            return _CARRIED[kind](session, step, self._carrier)
        if kind not in _OPERATIONS:
            raise StepError("Unsupported", f"this plugin knows no step of the kind {kind!r}", terminal=True)
        return _OPERATIONS[kind](session, step)

    def _failed(self, step: Step, trouble: StepError) -> Result:
        follows_a_change = any(self._outcome(before) == CHANGED for before in step["after"])
        if self._check and trouble.reason in _MISSING and follows_a_change:
            return self._result(step, CHANGED, f"would {step['kind']} after {step['after'][-1]}")
        return self._result(step, FAILED, trouble.message, reason=trouble.reason, terminal=trouble.terminal)

    def _result(
        self, step: Step, outcome: str, message: str, reason: str = "", *, terminal: bool = False
    ) -> Result:
        diff = step.get("diff") if outcome == CHANGED else None
        told = " ".join(message.split())[:_LONGEST_MESSAGE]
        return Result(step["id"], step["vm"], outcome, told, reason, terminal=terminal, diff=diff)

    def _outcome(self, step_id: str) -> str:
        found = self._results.get(step_id)
        return found.outcome if found else ""

    def _note(self, result: Result) -> None:
        self._results[result.id] = result
        self._progress.ended(result)
        self._tell(result)

    def _give_up(self, trouble: StepError, outcome: str) -> None:
        """The host as a whole cannot be worked on: a step that waits for another is skipped."""
        for step in self._steps:
            if step["id"] not in self._results:
                word = SKIPPED if step["after"] else outcome
                self._note(
                    self._result(step, word, trouble.message, trouble.reason, terminal=trouble.terminal)
                )
