"""A desired machine without a domain: is it new, does it come back, or may it be somewhere out of sight?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.model.domain import ObservedDomain
from reconciler.model.manifest import VirtualMachine
from reconciler.model.placement import Phase, Record
from reconciler.model.plan import Blocked
from reconciler.planner import same_host
from reconciler.planner.index import FleetIndex, Kept
from reconciler.planner.situation import Situation


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A machine to be placed and made.

    Attributes:
        vm: Its name.
        uid: The uid that it had before, or None: it needs a new one.
        only: The host where its disks lie or where it was begun, or None: any.
        not_on: Hosts where another domain has its name.
        generation: The last one that is known of it.
        reason: Why it is made, in a few words.
    """

    vm: str
    uid: str | None = None
    only: str | None = None
    not_on: frozenset[str] = frozenset()
    generation: int = 0
    reason: str = "it is new"


_REASONS = {
    Phase.INTENDED: "its creation was begun and not finished",
    Phase.PLACED: "its domain was undefined behind our back",
    Phase.DELETING: "it is wanted again",
    Phase.RETAINED: "it comes back to its kept disks",
}


def newcomer(
    vm: VirtualMachine, situation: Situation, index: FleetIndex, same: same_host.Twins
) -> Newcomer | Blocked:
    """Where a machine that no host shows may be made, or why not now."""
    name = vm.metadata.name
    record = situation.records.get(name)
    kept = index.kept.get(name, {})
    found = _on_record(record, situation, kept) if record else _off_record(name, situation, kept)
    if isinstance(found, Blocked):
        return found
    needed = found.only or vm.spec.placement.host
    if needed is not None and needed in same:
        return same_host.blocked(name, needed, same)
    return _checked(vm, found, index)


def _on_record(record: Record, situation: Situation, kept: Kept) -> Newcomer | Blocked:
    name = record.vm
    if not situation.known(record.host):
        what = "its kept disks lie there" if record.phase is Phase.RETAINED else "it may still run there"
        message = (
            f"{situation.why_unknown(record.host)}, and {what}. It is made nowhere else until the host "
            f"answers; {situation.remedy(record.host)}"
        )
        return Blocked(name, "HostUnknown", message, host=record.host)
    if record.host not in kept.get(record.uid, ()):
        if record.phase is Phase.DELETING:
            return Newcomer(name, reason=_REASONS[record.phase])
        if record.phase is Phase.INTENDED and not _still_suits(name, situation, record.host):
            # Neither domain nor disk came of it, so a host that suits no longer has no claim.
            return Newcomer(name, uid=record.uid, reason=_REASONS[record.phase])
    return Newcomer(
        name,
        uid=record.uid,
        only=record.host,
        generation=record.generation,
        reason=_REASONS[record.phase],
    )


def _still_suits(vm: str, situation: Situation, host: str) -> bool:
    """True if the machine's wishes and the host's operator still allow it there."""
    placement = situation.desired.machines[vm].spec.placement
    described = situation.hosts[host]
    labels = described.labels
    return (
        placement.host in (None, host)
        and all(labels.get(key) == value for key, value in placement.host_selector.items())
        and not described.maintenance
    )


def _off_record(name: str, situation: Situation, places: Kept) -> Newcomer | Blocked:
    if situation.never_seen:
        host = min(situation.never_seen)
        mend = "" if situation.declarable(host) else f"{situation.remedy(host)}, or "
        message = (
            f"nothing is known about it, and {situation.why_unknown(host)} and was never seen: it may run "
            f"there; {mend}if it cannot: `reconciler hosts assume-empty {host}`"
        )
        return Blocked(name, "HostUnknown", message, host=host)
    if not places:
        lost = situation.dead.get(name)
        return (
            Newcomer(name, reason=_loss(situation.desired.machines[name], lost)) if lost else Newcomer(name)
        )
    if name in situation.members and name not in situation.dead:
        message = (
            f"disks of that name were kept ({', '.join(sorted(places))}), and are not its pool's: they would "
            "go with it. Move or delete them (`reconciler get disks --kept`)"
        )
        return Blocked(name, "SlotTaken", message)
    if len(places) > 1:
        listing = "; ".join(f"{uid} on {', '.join(hosts)}" for uid, hosts in sorted(places.items()))
        message = (
            f"disks of several machines of this name were kept: {listing}. "
            "Move or delete the volumes of all but one, or give the machine another name"
        )
        return Blocked(name, "AmbiguousDisks", message)
    [(uid, hosts)] = places.items()
    pinned = situation.desired.machines[name].spec.placement.host
    # A shared pool shows the same disks on several hosts.
    only = pinned if pinned in hosts else hosts[0]
    return Newcomer(name, uid=uid, only=only, reason=_REASONS[Phase.RETAINED])


def _loss(vm: VirtualMachine, record: Record) -> str:
    """Why it is made anew although it was there, and what that costs."""
    why = f"{record.host} was declared dead"
    spec = vm.spec
    if spec.image is None and spec.root_disk is None and not spec.disks:
        return why
    start = f"from its image {spec.image}" if spec.image else "with blank disks"
    return f"{why}; its disks stay there and it starts {start}"


def _checked(vm: VirtualMachine, found: Newcomer, index: FleetIndex) -> Newcomer | Blocked:
    """The same, unless a domain that is not ours or its own disks stand in the way."""
    name, pinned = found.vm, vm.spec.placement.host
    taken = _taken(found, index)
    if taken is not None:
        return taken
    in_the_way = {domain.host: domain for domain in index.by_domain_name.get(name, ())}
    if found.only is not None and pinned not in (None, found.only):
        message = (
            f"its disks lie on {found.only}, but placement.host says {pinned}: set it to {found.only}, "
            f"or move or delete the volumes of uid {found.uid} there"
        )
        return Blocked(name, "DisksElsewhere", message, host=found.only)
    needed = found.only or pinned
    if needed is not None and needed in in_the_way:
        message = (
            f"{needed} has a domain called {name!r} that is not ours: rename or remove it, "
            f"or `reconciler adopt {needed}/{name}`"
        )
        refusal = Blocked(name, "NameTaken", message, host=needed)
        return _refused(refusal, in_the_way[needed], "its name is taken by the domain")
    return replace(found, not_on=frozenset(in_the_way))


def _taken(found: Newcomer, index: FleetIndex) -> Blocked | None:
    """Why it cannot have the uid and the disks that it had: a domain that is not ours has them."""
    if found.uid is None:
        return None
    stranger = index.by_uuid.get(found.uid)
    if stranger is not None:
        message = (
            f"its domain {stranger.name!r} on {stranger.host} is there but lost our mark: "
            f"`reconciler adopt {stranger.host}/{stranger.name}` takes it back"
        )
        return _refused(
            Blocked(found.vm, "MarkLost", message, host=stranger.host), stranger, "it is there as the domain"
        )
    user = index.strangers_disks.get(found.uid)
    if user is not None:
        message = f"a disk of it is used by the domain {user.name!r} on {user.host}, which is not ours"
        refusal = Blocked(found.vm, "DiskInUse", message, host=user.host)
        return _refused(refusal, user, "a disk of it is used by the domain")
    return None


def _refused(refusal: Blocked, by: ObservedDomain, what: str) -> Blocked:
    """The same, unless the domain that is in the way is another installation's: only that one may let go."""
    owner = by.foreign_owner
    if not owner:
        return refusal
    message = (
        f"{what} {by.name!r} on {by.host}, which belongs to the installation {owner!r}: let that one forget "
        f"it, or set owner: {owner} in reconciler.yaml if this is the same installation"
    )
    return replace(refusal, reason="ForeignOwner", message=message)
