# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings image files to a host over Ansible's own connection.

The work is cut into calls of a few seconds: between them we tell how far it is, and notice that nobody
waits any more.  ``playbooks/library/reconciler_image.py`` does it on the host.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from .images import Report, Wanted
from .outcome import StepError

_MODULE = "reconciler_image"
_PIECE, _LARGEST_PIECE = 128 << 20, 1 << 30
"""Bytes that travel from the controller at once: at first, and at most."""
_PIECE_MAY_TAKE = 5.0
"""Seconds. Pieces double as long as they take less: each costs a round of its own."""
_SECONDS = (2.0, 4.0, 8.0, 16.0)
"""How long the host works in its first calls; then always as long as in the last of these."""
_FRUITLESS = 3
"""Attempts in a row that may bring nothing."""
_BUSY_MAY_TAKE = 600.0
"""Seconds to wait for another writer that gets nowhere."""
_PAUSE = 1.0
_CHUNK = 4 << 20
_TRANSIENT = frozenset({"FetchFailed", "TransferFailed"})

Answer = Mapping[str, Any]


class AnsibleCarrier:
    """A `Carrier`, in the middle of an action of Ansible's.

    Args:
        action: Runs modules on the host, and transfers files to it. It is not made for several threads.
        variables: Of the host.
    """

    def __init__(self, action: ActionBase, variables: dict[str, Any]) -> None:
        self._action = action
        self._variables = variables

    def fetch(self, url: str, want: Wanted, report: Report) -> None:
        """Let the host fetch a file.

        Raises:
            StepError: HostUnreachable, ChecksumMismatch, ImageRefused, PoolFull or FetchFailed.
        """
        self._bring({"do": "fetch", "url": url}, want, _Going("FetchFailed", report))

    def clone(self, source: str, want: Wanted, report: Report) -> None:
        """Let the host copy a file of its own.

        Raises:
            StepError: HostUnreachable, ChecksumMismatch, ImageRefused, PoolFull or CopyFailed.
        """
        self._bring({"do": "clone", "source": source}, want, _Going("CopyFailed", report))

    def copy(self, source: Path, want: Wanted, report: Report) -> None:
        """Copy a file of the controller into a folder of the host.

        Raises:
            StepError: HostUnreachable, ChecksumMismatch, ImageRefused, PoolFull or CopyFailed.
        """
        length = source.stat().st_size
        going = _Going("CopyFailed", report, ours=True)
        # A part from an earlier attempt is asked for where it would save much.
        have = going.on(self._append(want, 0, length)) if length > _PIECE else 0
        size = _PIECE
        while have is not None:
            began = time.monotonic()
            have = going.on(self._send_piece(source, want, have, length, size))
            if time.monotonic() - began < _PIECE_MAY_TAKE:
                size = min(2 * size, _LARGEST_PIECE)

    def chains(self, paths: list[str]) -> dict[str, list[str] | None]:
        """The files that each of these lies over; None where that cannot be told.

        Raises:
            StepError: HostUnreachable or CopyFailed.
        """
        found: dict[str, list[str] | None] = self._module({"do": "chains", "paths": paths})["chains"]
        return found

    def snapshot(self, path: str, act: str, name: str) -> str | None:
        """Take, restore or delete a snapshot inside of a qcow2 file.

        Raises:
            StepError: HostUnreachable, DiskInUse, SnapshotMissing or SnapshotFailed.
        """
        answer = self._module({"do": "snapshot", "target": path, "act": act, "snapshot": name})
        if answer.get("trouble"):
            raise StepError(str(answer["trouble"]), _plain(str(answer["message"])))
        return str(answer["did"]) or None

    def _bring(self, work: dict[str, Any], want: Wanted, going: _Going) -> None:
        calls = 0
        more: int | None = 0
        while more is not None:
            seconds = _SECONDS[min(calls, len(_SECONDS) - 1)]
            more = going.on(self._module(work | asdict(want) | {"seconds": seconds}))
            calls += 1

    def _send_piece(self, source: Path, want: Wanted, offset: int, length: int, size: int) -> Answer:
        """Send what follows at `offset` of the file, at most `size`, and have it put there."""
        at_once = length <= _PIECE
        arrived = self._action._connection._shell.join_path(self._action._make_tmp_path(), "image-piece")
        with tempfile.NamedTemporaryFile(prefix="image-piece-") as piece:
            if not at_once:
                with source.open("rb") as file:
                    file.seek(offset)
                    left = size
                    while left and (chunk := file.read(min(left, _CHUNK))):
                        left -= piece.write(chunk)
                piece.flush()
            try:
                self._action._transfer_file(str(source) if at_once else piece.name, arrived)
            except AnsibleConnectionFailure as error:
                raise StepError("HostUnreachable", _plain(str(error))) from error
            except AnsibleError as error:
                raise _refused("CopyFailed", _plain(str(error))) from error
        return self._append(want, 0 if at_once else offset, length, arrived)

    def _append(self, want: Wanted, offset: int, length: int, piece: str = "") -> Answer:
        """Put an arrived piece at its place; without one, ask how much there is."""
        work = {"do": "append", "piece": piece, "offset": offset, "length": length}
        return self._module(work | asdict(want))

    def _module(self, arguments: dict[str, Any]) -> Answer:
        try:
            answer: Answer = self._action._execute_module(
                module_name=_MODULE, module_args=arguments, task_vars=self._variables
            )
        except AnsibleConnectionFailure as error:
            raise StepError("HostUnreachable", _plain(str(error))) from error
        except AnsibleError as error:
            raise _refused("CopyFailed", _plain(str(error))) from error
        if answer.get("unreachable"):
            raise StepError("HostUnreachable", _plain(str(answer.get("msg", ""))))
        if answer.get("failed"):
            told = [str(answer[key]) for key in ("msg", "module_stderr") if answer.get(key)]
            raise _refused("CopyFailed", _plain(": ".join(told) or str(answer)))
        return answer


class _Going:
    """Decides after each call whether to go on: as long as the file grows, and a few times when it does not.

    Args:
        word: Reason of a failure that has no better one.
        report: Told how far it is.
        ours: The source is on the controller.
    """

    def __init__(self, word: str, report: Report, *, ours: bool = False) -> None:
        self._word = word
        self._ours = ours
        self._report = report
        self._have = -1
        self._fruitless = 0
        self._older: bool | None = None
        self._busy_until = time.monotonic() + _BUSY_MAY_TAKE

    def on(self, answer: Answer) -> int | None:
        """Bytes that are there, from which to go on; None when all is done.

        Raises:
            StepError: It gets nowhere, or never will.
        """
        if answer.get("done"):
            return None
        if self._older is None:  # is some of it from an earlier attempt?
            self._older = bool(answer.get("began"))
        if answer.get("trouble") == "ChecksumMismatch" and self._older:
            # What was there may have been of another file. It was thrown away: now from the beginning.
            self._older, self._have = False, -1
            return 0
        self._judge(answer)
        have = int(answer.get("size", max(self._have, 0)))
        if have > self._have or (answer.get("busy") and time.monotonic() < self._busy_until):
            self._fruitless = 0
        else:
            self._fruitless += 1
            time.sleep(_PAUSE)
        self._have = max(self._have, have)
        self._report(have, answer.get("total"))
        return have

    def _judge(self, answer: Answer) -> None:
        trouble = answer.get("trouble")
        lost = trouble and trouble not in _TRANSIENT
        if not lost and self._fruitless < _FRUITLESS:
            return
        reason = str(trouble) if lost else self._word
        message = _plain(str(answer.get("message") or "nothing more arrives"))
        # A file of the controller may be whole again a moment later; what is elsewhere is what it is.
        wrong = reason == "ChecksumMismatch" and not self._ours
        raise StepError(reason, message, terminal=wrong or bool(answer.get("terminal")))


def _plain(text: str) -> str:
    """Ansible shows what a program said as Python would write it."""
    return text.replace("\\r", " ").replace("\\n", " ")


def _refused(reason: str, text: str) -> StepError:
    return StepError("PoolFull" if "No space left" in text else reason, text)
