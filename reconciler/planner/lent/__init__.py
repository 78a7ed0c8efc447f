"""Pools of machines that are lent: what their members are, what was seen of them, what becomes of them. Pure.

slots.py    the machine of a slot, and what it is made from
expand.py   members into machines of the desired state, and which of them must be left alone
seen.py     what one look says of each member
life.py     the steps of members: made, ready, lent, cleaned, retired
revert.py   the plan that gives a machine clean disks
report.py   counts and conditions of a pool
"""

from reconciler.planner.lent.expand import Expansion, Lent, expand
from reconciler.planner.lent.life import Step, Steps, Wish, steps
from reconciler.planner.lent.report import counts, pool_conditions
from reconciler.planner.lent.revert import leftovers, revert
from reconciler.planner.lent.seen import Seen, Trace, look_at_members, occupied

__all__ = [
    "Expansion",
    "Lent",
    "Seen",
    "Step",
    "Steps",
    "Trace",
    "Wish",
    "counts",
    "expand",
    "leftovers",
    "look_at_members",
    "occupied",
    "pool_conditions",
    "revert",
    "steps",
]
