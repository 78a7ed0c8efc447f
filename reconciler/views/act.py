"""What an act on a machine or volume would do."""

from __future__ import annotations

from reconciler.engine import Look
from reconciler.model.plan import PLAN_JSON
from reconciler.model.request import REQUEST_JSON
from reconciler.requests import plan_act
from reconciler.views.glance import Data


def act(look: Look, request: str) -> Data:
    """The plan of a request (JSON of `reconciler.model.request.Request`).

    Raises:
        ReconcilerError: It cannot be done now, or must not.
    """
    made: Data = PLAN_JSON.dump_python(plan_act(look, REQUEST_JSON.validate_json(request)), mode="json")
    return made
