"""Whose life is over: clients that know objects by number must not meet another under the same one."""

from __future__ import annotations

from collections.abc import Collection

from reconciler.model.placement import is_machine
from reconciler.model.pool import Member, MemberState
from reconciler.planner.lent.life import FOR_GOOD
from reconciler.planner.situation import Situation
from reconciler.store.base import Store


def note_living(store: Store, situation: Situation, said: Collection[str]) -> None:
    """End the numbers of objects that this tick finds gone.

    A machine lives as long as something is said of it: until its domain is gone, even if nobody desires it.

    Args:
        store: Gets it.
        situation: What the tick has read.
        said: What conditions were said of: machines' names, and other objects' keys.
    """
    desired = situation.desired
    store.note_living(
        {
            "VirtualMachine": {name for name in said if is_machine(name)},
            "Volume": {key.removeprefix("Volume/") for key in said if key.startswith("Volume/")},
            "Image": desired.images,
            "InstanceType": desired.instance_types,
            "Host": situation.hosts,
            "Member": {one.vm for one in store.members() if not _goes(one)},
        }
    )


def _goes(member: Member) -> bool:
    """Its slot becomes free; one that retires to be made anew stays who it is."""
    return member.state is MemberState.RETIRING and member.message in FOR_GOOD
