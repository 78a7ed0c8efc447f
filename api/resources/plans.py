"""``/plans``: what would be done, now or with another desired state. Nothing is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from falcon.asgi import Request, Response

from api.conventions import media
from api.kinds import ALL
from api.operation import Answer, operation
from api.services import Services
from api.views import Views
from reconciler.model.access import Caller, Role, Thing
from reconciler.model.placement import parse_key
from reconciler.model.plan import PLAN_JSON, Plan


def routes(services: Services, views: Views) -> Iterable[tuple[str, object]]:
    """The paths of plans."""
    yield "/api/v1/plans", Plans(services, views)
    yield "/api/v1/plans/latest", Latest(services, views)


class Plans:
    """Plans that are made when somebody asks."""

    def __init__(self, services: Services, views: Views) -> None:
        self._services = services
        self._views = views

    @operation(
        "makePlan",
        summary="Plan",
        description="Looks at every host, and says what would be done now. Another desired state is planned "
        "with `?dryRun=true` of its write.",
        tag="plans",
        answers=(Answer(200, "The plan.", "Plan"),),
        problems=(409, 422),
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """As much of it as the caller may see."""
        plan = await self._services.run(self._services.planner.plan)
        await self._services.run(show_plan, req, resp, plan, self._views)


class Latest:
    """The same, for those who only read."""

    def __init__(self, services: Services, views: Views) -> None:
        self._services = services
        self._views = views

    @operation(
        "getLatestPlan",
        summary="What would be done now",
        tag="plans",
        answers=(Answer(200, "The plan.", "Plan"),),
        problems=(409, 422),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """As much of it as the caller may see."""
        plan = await self._services.run(self._services.planner.plan)
        await self._services.run(show_plan, req, resp, plan, self._views)


def show_plan(req: Request, resp: Response, plan: Plan, views: Views) -> None:
    """Answer with a plan, as `reconciler plan -o json` prints it."""
    plan = _visible(plan, req.context.caller, views)
    form = media.wanted(req)
    if form == media.JSON:
        resp.data = PLAN_JSON.dump_json(plan)
        resp.content_type = form
        return
    media.say(req, resp, PLAN_JSON.dump_python(plan, mode="json"), form)


def _visible(plan: Plan, caller: Caller, views: Views) -> Plan:
    """What somebody may see of a plan whose grants do not reach everything."""
    if caller.may(Role.VIEWER):
        return plan
    labels: dict[str, Mapping[str, str]] = {}

    def seen(key: str) -> bool:
        kind, name, _ = parse_key(key)
        if key not in labels and kind in ALL:
            view = views.one(views.moment(ALL[kind]), name)
            labels[key] = view.labels if view is not None else {}
        return bool(key) and caller.may(Role.VIEWER, Thing(kind, name, labels.get(key, {})))

    actions = [action for action in plan.actions if seen(action.vm)]
    known = {action.id for action in actions}
    return replace(
        plan,
        changes=tuple(change for change in plan.changes if seen(change.vm)),
        # Ids have names of others in them.
        actions=tuple(
            replace(action, after=tuple(one for one in action.after if one in known)) for action in actions
        ),
        blocked=tuple(refusal for refusal in plan.blocked if seen(refusal.vm)),
        notes=(),
    )
