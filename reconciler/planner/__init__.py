"""Desired against observed: what has to be done, in which order, and what must not. Pure.

situation.py   everything a plan depends on, and the memo that makes an idle tick cheap
survey.py      who is where, who needs a place, who must wait (newcomer.py, index.py, capacity.py)
resolve.py     a manifest into a domain's configuration (blueprint.py, ignore.py)
diff.py        field by field (fields.py is the table, devices.py the lists, runstate.py the state)
consent.py     what may happen now and what waits
machine.py     one machine's part of the plan (actions.py, steps.py)
make_plan.py   all of it, in order (ordering.py)
limits.py      when a plan stops whole
adopt.py       taking over a domain that exists, and letting go
conditions.py  what is said of each machine
backoff.py     when a machine that failed is tried again
"""

from reconciler.planner.actions import Place
from reconciler.planner.adopt import Adoption, adopt, forget
from reconciler.planner.conditions import conditions
from reconciler.planner.limits import check_limits
from reconciler.planner.make_plan import make_plan
from reconciler.planner.situation import Memo, Situation
from reconciler.planner.survey import Survey, survey

__all__ = [
    "Adoption",
    "Memo",
    "Place",
    "Situation",
    "Survey",
    "adopt",
    "check_limits",
    "conditions",
    "forget",
    "make_plan",
    "survey",
]
