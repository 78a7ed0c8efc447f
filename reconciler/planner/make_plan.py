"""The plan: what happens to each machine, put together and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from reconciler.model.domain import ObservedDomain
from reconciler.model.placement import Decision, Phase
from reconciler.model.plan import Action, Blocked, Plan, Verb
from reconciler.planner import same_host
from reconciler.planner.actions import Place
from reconciler.planner.blueprint import Blueprint, blueprint
from reconciler.planner.machine import Task, plan_creation, plan_deletion, plan_located
from reconciler.planner.newcomer import Newcomer
from reconciler.planner.ordering import ordered
from reconciler.planner.outcome import UNCHANGED, Outcome
from reconciler.planner.resources import plan_resources
from reconciler.planner.resources.dependencies import linked
from reconciler.planner.situation import Memo, Remembered, Site
from reconciler.planner.steps import undefine_id
from reconciler.planner.survey import Survey


def make_plan(
    survey: Survey,
    decisions: Mapping[str, Decision],
    new_uid: Callable[[str], str],
    memo: Memo | None = None,
) -> Plan:
    """What has to be done to make the observed state the desired one.

    Args:
        survey: The situation, sorted.
        decisions: The allocator's answers to `survey.demands`, by machine.
        new_uid: Gives a fresh uid to a machine, by name; asked in the order of names.
        memo: Of the last tick. Machines whose inputs are the same objects cost next to nothing.
    """
    outcomes = [*plan_resources(survey), *_Planning(survey, decisions, new_uid, memo or Memo()).outcomes()]
    notes = [*survey.notes]
    changes, blocked = [], list(survey.blocked.values())
    for outcome in outcomes:
        notes += outcome.notes
        if outcome.change is not None:
            changes.append(outcome.change)
        if outcome.blocked is not None:
            blocked.append(outcome.blocked)
    return Plan(
        revision=survey.situation.desired.revision,
        changes=tuple(sorted(changes, key=lambda change: change.vm)),
        actions=ordered(linked(_actions(outcomes))),
        blocked=tuple(sorted(blocked, key=lambda refusal: refusal.vm)),
        unchanged=len(survey.located) + len(survey.suspended) - _notable(outcomes, survey),
        notes=tuple(notes),
    )


def _notable(outcomes: Iterable[Outcome], survey: Survey) -> int:
    """How many located machines are not simply as they shall be."""
    names = {(o.change or o.blocked).vm for o in outcomes if o.change or o.blocked}  # type: ignore[union-attr]
    return len(names & survey.located.keys())


def _actions(outcomes: Iterable[Outcome]) -> list[Action]:
    """All actions once: what frees room, what belongs to hosts, what machines share, then machines."""
    every = {action.id: action for outcome in outcomes for action in outcome.actions}
    deleting = {
        outcome.change.vm for outcome in outcomes if outcome.change and outcome.change.verb is Verb.DELETE
    }

    def rank(action: Action) -> tuple[int, str]:
        group = 0 if action.vm in deleting else 1 if "/" in action.vm else 2 if not action.vm else 3
        return group, action.vm or action.id

    return sorted(every.values(), key=rank)


class _Planning:
    """One outcome for each machine that is not blocked, suspended or unchanged."""

    def __init__(
        self, survey: Survey, decisions: Mapping[str, Decision], new_uid: Callable[[str], str], memo: Memo
    ) -> None:
        self.survey = survey
        self.situation = survey.situation
        self.decisions = decisions
        self.new_uid = new_uid
        self.memo = memo

    def outcomes(self) -> list[Outcome]:
        """By kind, then by name."""
        return [
            *(plan_deletion(name, self.survey.leaving[name]) for name in sorted(self.survey.leaving)),
            *self._located(),
            *(self._newcomer(self.survey.newcomers[name]) for name in sorted(self.survey.newcomers)),
        ]

    def _located(self) -> list[Outcome]:
        """Machines that have a domain. The unchanged majority passes through the first few lines."""
        desired, remembered = self.situation.desired, self.memo.outcomes
        machines, presets, images, templates = (
            desired.machines,
            desired.instance_types,
            desired.images,
            desired.templates,
        )
        sites = {
            name: self.memo.site(host, self.situation.fleet[name])
            for name, host in self.situation.hosts.items()
            if self.situation.known(name)
        }
        found: list[tuple[str, Outcome]] = []
        for name, domain in self.survey.located.items():
            vm, last = machines[name], remembered.get(name)
            if (
                last is not None
                and last.vm is vm
                and last.domain is domain
                and last.site is sites[domain.host]
                and (last.instance_type is None or presets.get(last.instance_type.name) is last.instance_type)
                and (last.image is None or images.get(last.image.name) is last.image)
                and (last.template is None or templates.get(last.template) == last.template_text)
            ):
                outcome = last.outcome
            else:
                outcome = self._compare(blueprint(desired, vm), domain, sites[domain.host])
            if outcome is not UNCHANGED:
                found.append((name, outcome))
        self._forget_strangers()
        return [self._with_uid(name, outcome) for name, outcome in sorted(found, key=lambda pair: pair[0])]

    def _forget_strangers(self) -> None:
        """Machines that are gone would stay in the memo for ever."""
        remembered, located = self.memo.outcomes, self.survey.located
        if len(remembered) > len(located) + 1000:
            for name in remembered.keys() - located.keys():
                del remembered[name]

    def _compare(self, plan: Blueprint, domain: ObservedDomain, site: Site) -> Outcome:
        task = self._task(plan, domain.host)
        outcome = plan_located(task, domain)
        if not outcome.actions:
            # With actions the domain is about to change anyway.
            self.memo.outcomes[plan.name] = Remembered(
                plan.vm,
                plan.instance_type,
                plan.image,
                plan.template,
                plan.template_text,
                domain,
                site,
                outcome,
            )
        return outcome

    def _with_uid(self, name: str, outcome: Outcome) -> Outcome:
        """A replacement gets its uid only here, in the order of names; other outcomes are complete."""
        if outcome.change is None or outcome.change.verb is not Verb.REPLACE:
            return outcome
        desired, domain = self.situation.desired, self.survey.located[name]
        record = self.situation.records.get(name)
        begun = record is not None and record.phase is Phase.INTENDED and record.uid != domain.uuid
        # One that was begun and not finished keeps the uid that it chose then.
        uid = record.uid if record is not None and begun else self.new_uid(name)
        return plan_located(self._task(blueprint(desired, desired.machines[name]), domain.host), domain, uid)

    def _newcomer(self, newcomer: Newcomer) -> Outcome:
        decision = self.decisions.get(newcomer.vm)
        refusal = self._refusal(newcomer, decision)
        if refusal or decision is None or decision.host is None:
            reason, message = refusal or ("NoHostFits", "no host was found")
            return Outcome(blocked=Blocked(newcomer.vm, reason, message, decision=decision))
        plan = blueprint(self.situation.desired, self.situation.desired.machines[newcomer.vm])
        uid = newcomer.uid or self.new_uid(newcomer.vm)
        after = [undefine_id(name) for name in decision.after]
        return plan_creation(self._task(plan, decision.host), newcomer, uid, decision, after)

    def _refusal(self, newcomer: Newcomer, decision: Decision | None) -> tuple[str, str] | None:
        """Why this decision cannot be followed; a third party's allocator is not taken at its word."""
        if decision is None or decision.host is None:
            given = decision.message or "no host fits" if decision else "the allocator gave no answer"
            return "NoHostFits", given
        if not self.situation.known(decision.host):
            return "HostUnknown", f"the allocator chose {self.situation.why_unknown(decision.host)}"
        if decision.host in self.survey.same:
            return same_host.REASON, same_host.told(self.survey.same[decision.host])
        if newcomer.only not in (None, decision.host) or decision.host in newcomer.not_on:
            return "NoHostFits", f"the allocator chose {decision.host}, where it cannot be"
        staying = sorted(set(decision.after) - self.survey.leaving.keys())
        if staying:
            return (
                "NoRoomYet",
                f"it waits for room on {decision.host}, but {', '.join(staying)} cannot be removed now",
            )
        return None

    def _task(self, plan: Blueprint, host: str) -> Task:
        place = Place(self.situation.hosts[host], self.situation.fleet[host])
        return Task(plan, place, self.situation.owner)
