"""Which guests have to be looked at, and what follows from what was found. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from reconciler.model.domain import DomainState, ObservedDomain
from reconciler.model.guest import Readiness
from reconciler.model.manifest import VirtualMachine
from reconciler.model.readiness import GuestAnswer, GuestCheck, GuestRecord
from reconciler.model.status import ConditionStatus
from reconciler.model.units import format_duration
from reconciler.planner.survey import Survey

_TO_LOG_IN = Readiness(tcp_port=22)
"""What a playbook needs, where the manifest does not say when its machine is ready."""

Verdict = tuple[ConditionStatus, str, str]


def wish_of(vm: VirtualMachine) -> Readiness | None:
    """When a machine counts as ready; None: as soon as it runs."""
    return vm.spec.readiness or (_TO_LOG_IN if vm.spec.provision is not None else None)


def guest_checks(survey: Survey) -> dict[str, GuestCheck]:
    """What to look at in each running machine whose manifest says when it is ready, by machine."""
    return dict(_checks(survey))


def _checks(survey: Survey) -> Iterator[tuple[str, GuestCheck]]:
    machines = survey.situation.desired.machines
    for name, vm in machines.items():
        if vm.spec.readiness is None and vm.spec.provision is None:
            continue
        domain = survey.located.get(name) or survey.suspended.get(name)
        if domain is None and name in survey.situation.held:
            domain = survey.index.ours.get(name)  # it is left alone, and may well be ready
        check = check_of(vm, domain) if domain is not None else None
        if check is not None:
            yield name, check


def check_of(vm: VirtualMachine, domain: ObservedDomain) -> GuestCheck | None:
    """What to look at in this machine, or None: it does not run, or nothing is asked."""
    wish = wish_of(vm)
    if wish is None or domain.state is not DomainState.RUNNING or domain.run is None:
        return None
    return GuestCheck(
        vm=vm.name,
        uid=domain.uuid,
        host=domain.host,
        run=domain.run,
        agent=wish.agent,
        address=wish.address,
        tcp_port=wish.tcp_port,
        timeout=wish.timeout,
    )


def is_ready(check: GuestCheck, record: GuestRecord | None) -> bool:
    """True if this very run was found ready before: it is not asked again until it restarts."""
    return record is not None and record.ready is not None and _same(check, record)


def _same(check: GuestCheck, record: GuestRecord) -> bool:
    return (record.uid, record.run, record.asked) == (check.uid, check.run, check.asked)


def followed(
    checks: Mapping[str, GuestCheck],
    known: Mapping[str, GuestRecord],
    answers: Mapping[str, GuestAnswer],
    now: float,
) -> dict[str, GuestRecord]:
    """What is known of each guest now, by machine.

    Args:
        checks: Of all running machines.
        known: What is on record, by uid.
        answers: What looking gave, by machine; an answer to another question does not count.
        now: Epoch seconds.
    """
    records = {}
    for vm, check in checks.items():
        record = known.get(check.uid)
        if record is None or not _same(check, record):
            since = record.since if record is not None and record.run == check.run else now
            record = GuestRecord(check.uid, vm, check.run, check.asked, since)
        answer = answers.get(vm)
        if record.ready is None and answer is not None and answer.check == check:
            ready = None if answer.waits_for else now
            if ready is not None or answer.waits_for != record.waits_for:
                record = GuestRecord(
                    check.uid, vm, check.run, check.asked, record.since, ready, answer.waits_for
                )
        records[vm] = record
    return records


def readiness_verdict(wish: Readiness, record: GuestRecord | None, now: float) -> Verdict:
    """What the condition Ready says of a machine that runs."""
    if record is not None and record.ready is not None:
        return ConditionStatus.TRUE, "Ready", f"it was found ready: {record.asked.replace('+', ', ')}"
    what = (record.waits_for if record else "") or "the first look at its guest"
    limit = format_duration(wish.timeout)
    if record is not None and now - record.since >= wish.timeout:
        return ConditionStatus.FALSE, "ReadinessTimeout", f"after {limit} it still waits for {what}"
    return ConditionStatus.FALSE, "Waiting", f"waits for {what}; a warning follows after {limit}"


def playbook_digest(path: str) -> str:
    """Thirty-two hex digits that stand for a playbook's path."""
    return hashlib.sha256(path.encode()).hexdigest()[:32]
