"""One difference, with what the planner has to know to act on it."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.plan import FieldChange


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs.

    Attributes:
        change: The field, as people see it.
        covers: The name under which a manifest's `ignore` list covers it (see `ignore.IGNORABLE`).
        persistent: The persistent configuration has to be written.
        live: The running instance differs.
        device: Target of the disk, or MAC of the interface; empty for other fields.
        reported: Shown, and never acted on: there is nothing that we could or should do about it.
        refusal: A reason (CamelCase) to leave the whole machine alone until its manifest changes.
    """

    change: FieldChange
    covers: str
    persistent: bool = False
    live: bool = False
    device: str = ""
    reported: bool = False
    refusal: str = ""
