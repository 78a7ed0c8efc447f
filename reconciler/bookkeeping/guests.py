"""What is remembered of guests: which are ready, and what became of the playbooks that are run once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from reconciler.model.host import Host
from reconciler.model.readiness import GuestAnswer, GuestCheck, Guests
from reconciler.planner import Survey
from reconciler.planner.readiness import followed, guest_checks, is_ready
from reconciler.store.base import Store


class Looks(Protocol):
    """Looks at guests in the background; `observed.readiness.Prober` does."""

    def attend(
        self, checks: Mapping[str, GuestCheck], hosts: Mapping[str, Host]
    ) -> Mapping[str, GuestAnswer]:
        """Look at these from now on; what is known of them, by machine."""


def look_at_guests(
    store: Store, prober: Looks | None, survey: Survey, hosts: Mapping[str, Host], now: float
) -> Guests:
    """What is known of the guests at this look. Waits for none of them.

    Args:
        store: What was found before.
        prober: Looks at those that are not ready yet; None: just what is on record.
        survey: Who is where.
        hosts: The inventory.
        now: Epoch seconds.
    """
    checks, known = guest_checks(survey), store.guests()
    open_ = {vm: check for vm, check in checks.items() if not is_ready(check, known.get(check.uid))}
    answers = prober.attend(open_, hosts) if prober is not None else {}
    records = followed(checks, known, answers, now)
    waiting = {vm: check for vm, check in open_.items() if records[vm].ready is None}
    return Guests(records, store.provisions(), waiting)


def note_guests(store: Store, survey: Survey, guests: Guests) -> None:
    """Remember what was found, also of machines that are out of sight; forget those that are gone."""
    machines = survey.situation.desired.machines
    unseen = {
        record.uid: record
        for record in store.guests().values()
        if record.vm in machines and record.vm not in survey.located
    }
    store.set_guests((unseen | {record.uid: record for record in guests.records.values()}).values())
    ours = survey.index.ours
    store.forget_provisions(
        [
            key
            for key, record in store.provisions().items()
            if record.vm not in machines and record.vm not in ours and record.state != "running"
        ]
    )
