"""A decision as a sentence for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reconciler.allocator.company import ANTI_AFFINITY, RESIDENT, SPREAD
from reconciler.allocator.filters import ROOM, STANDING
from reconciler.model.capacity import Demand

_FILTERS = {each.reason: each for each in STANDING + ROOM}
_COMPANY_PHRASES = {
    ANTI_AFFINITY: ("holds a machine it must keep away from", "hold machines it must keep away from"),
    RESIDENT: ("holds a machine that keeps it away", "hold machines that keep it away"),
    SPREAD: ("would make the spread uneven", "would make the spread uneven"),
}


def refused_sentence(demand: Demand, rejected: Mapping[str, int], hosts: Collection[str]) -> str:
    """``no host fits: 2 of 3 hosts lack memory (need 64Gi), 1 is in maintenance``.

    Args:
        demand: The machine.
        rejected: Reason to number of hosts.
        hosts: The names of all hosts.
    """
    if not hosts:
        return "no host fits: the inventory is empty"
    for pin, what in ((demand.placement.host, "it is pinned to"), (demand.only, "its disks lie on")):
        if pin is not None and pin not in hosts:
            return f"no host fits: {what} {pin}, which is not in the inventory"
    ordered = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    parts = [_part(demand, reason, count) for reason, count in ordered]
    total = len(hosts)
    first = ordered[0][1]
    noun = "host" if total == 1 else "hosts"
    parts[0] = parts[0].replace(str(first), f"{first} of {total} {noun}", 1)
    return "no host fits: " + ", ".join(parts)


def placed_sentence(host: str, fitting: int, algorithm: str, after: Collection[str]) -> str:
    """``h2: the best of 5 hosts that fit (best-fit)``."""
    noun = "host" if fitting == 1 else "hosts"
    choice = f"the only {noun} that fits" if fitting == 1 else f"the best of {fitting} {noun} that fit"
    how = "where it belongs" if algorithm == "pinned" else f"{choice} ({algorithm})"
    wait = f", once {', '.join(after)} {'has' if len(after) == 1 else 'have'} been deleted" if after else ""
    return f"{host}: {how}{wait}"


def _part(demand: Demand, reason: str, count: int) -> str:
    known = _FILTERS.get(reason)
    one, many = known.phrases if known else _COMPANY_PHRASES[reason]
    need = known.need(demand) if known else ""
    return f"{count} {one if count == 1 else many}" + (f" ({need})" if need else "")
