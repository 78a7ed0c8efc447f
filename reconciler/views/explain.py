"""Why a machine is where it is, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from reconciler.allocator.explain import explain_lines
from reconciler.engine import Look
from reconciler.errors import UsageError
from reconciler.model.domain import ObservedDomain
from reconciler.model.plan import Blocked
from reconciler.views.glance import Data, domains_by_name


def explain(look: Look, vm: str) -> Data:
    """``data`` for programs, and ``lines`` for people.

    Raises:
        UsageError: No such machine is desired.
    """
    if vm not in look.desired.machines:
        raise UsageError(f"no machine {vm!r} is desired", hint="see: reconciler get vms")
    decision = look.decisions.get(vm)
    blocked = next((entry for entry in look.plan.blocked if entry.vm == vm), None)
    domain = domains_by_name(look).get(vm)
    data = {
        "vm": vm,
        "host": domain.host if domain else None,
        "decision": asdict(decision) if decision else None,
        "blocked": {"reason": blocked.reason, "message": blocked.message} if blocked else None,
    }
    return {
        "data": data,
        "lines": [*_lines(vm, domain, blocked), *(explain_lines(decision) if decision else ())],
    }


def _lines(vm: str, domain: ObservedDomain | None, blocked: Blocked | None) -> Iterator[str]:
    if domain is not None:
        yield f"{vm} is on {domain.host}. A machine that exists stays where it is."
    if blocked is not None:
        yield f"{vm} is blocked: {blocked.reason}: {blocked.message}"
