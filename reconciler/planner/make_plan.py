"""The plan: what happens to each machine, put together and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from reconciler.model.domain import ObservedDomain
from reconciler.model.manifest import VirtualMachine
from reconciler.model.placement import Decision, Phase
from reconciler.model.plan import Action, Blocked, Plan, Verb
from reconciler.planner import same_host
from reconciler.planner.actions import Place
from reconciler.planner.addressing import foreign_network
from reconciler.planner.blueprint import Blueprint, blueprint
from reconciler.planner.clone import copies
from reconciler.planner.machine import Task, plan_creation, plan_deletion, plan_located
from reconciler.planner.newcomer import Newcomer
from reconciler.planner.ordering import ordered
from reconciler.planner.outcome import UNCHANGED, Outcome
from reconciler.planner.resources import plan_resources
from reconciler.planner.resources.dependencies import linked
from reconciler.planner.resources.handover import settled
from reconciler.planner.situation import Memo, Remembered, Site
from reconciler.planner.steps import undefine_id
from reconciler.planner.survey import Survey
from reconciler.planner.volumes import machines_with_volumes


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
    resources = plan_resources(survey, decisions)
    planning = _Planning(survey, decisions, new_uid, memo or Memo())
    machines = planning.outcomes()
    outcomes = [*resources, *settled(survey, resources, machines, planning.without)]
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


_NO_ADDRESSES: Mapping[str, str] = {}


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
            *(self._leaver(name, self.survey.leaving[name]) for name in sorted(self.survey.leaving)),
            *self._located(),
            *(self._newcomer(self.survey.newcomers[name]) for name in sorted(self.survey.newcomers)),
        ]

    def _leaver(self, name: str, domain: ObservedDomain) -> Outcome:
        return plan_deletion(name, domain, self.situation.fleet[domain.host])

    def _located(self) -> list[Outcome]:
        """Machines that have a domain. The unchanged majority passes through the first few lines."""
        desired, remembered = self.situation.desired, self.memo.outcomes
        machines, presets, images, templates, networks = (
            desired.machines,
            desired.instance_types,
            desired.images,
            desired.templates,
            desired.networks,
        )
        sites = {
            name: self.memo.site(host, self.situation.fleet[name])
            for name, host in self.situation.hosts.items()
            if self.situation.known(name)
        }
        granted = self.survey.addresses
        # What a machine with volumes hangs on is spread over other manifests and pools.
        with_volumes = machines_with_volumes(desired)
        found: list[tuple[str, Outcome]] = []
        for name, domain in self.survey.located.items():
            vm, last = machines[name], remembered.get(name)
            if (
                last is not None
                and name not in with_volumes
                and last.vm is vm
                and last.domain is domain
                and last.site is sites[domain.host]
                and last.addresses == granted.get(name, _NO_ADDRESSES)
                and (last.instance_type is None or presets.get(last.instance_type.name) is last.instance_type)
                and (last.image is None or images.get(last.image.name) is last.image)
                and (last.template is None or templates.get(last.template) == last.template_text)
                and all(
                    networks.get(i.network) is last.networks.get(i.network)
                    for i in vm.spec.interfaces
                    if i.network is not None
                )
            ):
                outcome = last.outcome
            else:
                outcome = self._compare(self._blueprint(vm), domain, sites[domain.host])
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
        if not outcome.actions and not plan.volumes:
            # With actions the domain is about to change anyway.
            self.memo.outcomes[plan.name] = Remembered(
                plan.vm,
                plan.instance_type,
                plan.image,
                plan.template,
                plan.template_text,
                plan.networks,
                domain,
                site,
                outcome,
                plan.addresses,
            )
        return outcome

    def _with_uid(self, name: str, outcome: Outcome) -> Outcome:
        """A replacement gets its uid only here, in the order of names; other outcomes are complete."""
        if outcome.change is None or outcome.change.verb is not Verb.REPLACE:
            return outcome
        vm, domain = self.situation.desired.machines[name], self.survey.located[name]
        record = self.situation.records.get(name)
        begun = record is not None and record.phase is Phase.INTENDED and record.uid != domain.uuid
        # One that was begun and not finished keeps the uid that it chose then.
        uid = record.uid if record is not None and begun else self.new_uid(name)
        return plan_located(self._task(self._blueprint(vm), domain.host), domain, uid)

    def without(self, name: str, volumes: frozenset[str]) -> Outcome:
        """A located machine as if it were not to have some of its volumes."""
        domain = self.survey.located[name]
        plan = self._blueprint(self.situation.desired.machines[name])
        kept = tuple(one for one in plan.volumes if one.volume.name not in volumes)
        return plan_located(self._task(replace(plan, volumes=kept), domain.host), domain)

    def _newcomer(self, newcomer: Newcomer) -> Outcome:
        decision = self.decisions.get(newcomer.vm)
        refusal = self._refusal(newcomer, decision)
        if refusal or decision is None or decision.host is None:
            reason, message = refusal or ("NoHostFits", "no host was found")
            return Outcome(blocked=Blocked(newcomer.vm, reason, message, decision=decision))
        plan = self._blueprint(self.situation.desired.machines[newcomer.vm])
        if plan.vm.spec.clone_of:
            plan = replace(plan, copies=copies(plan.vm, decision.host, self.survey.index))
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
        return self._foreign(newcomer.vm, decision.host) or self._no_room(decision)

    def _foreign(self, vm: str, host: str) -> tuple[str, str] | None:
        """An address is promised only in a network of ours."""
        for interface in self.situation.desired.machines[vm].spec.interfaces:
            if interface.address is not None and interface.network is not None:
                foreign = foreign_network(self.situation, vm, interface.network, host)
                if foreign is not None:
                    return foreign.reason, foreign.message
        return None

    def _no_room(self, decision: Decision) -> tuple[str, str] | None:
        staying = sorted(set(decision.after) - self.survey.leaving.keys())
        if staying:
            return (
                "NoRoomYet",
                f"it waits for room on {decision.host}, but {', '.join(staying)} cannot be removed now",
            )
        return None

    def _blueprint(self, vm: VirtualMachine) -> Blueprint:
        plan = blueprint(self.situation.desired, vm, self.situation.owner)
        addresses = self.survey.addresses.get(vm.name)
        return replace(plan, addresses=addresses) if addresses else plan

    def _task(self, plan: Blueprint, host: str) -> Task:
        place = Place(self.situation.hosts[host], self.situation.fleet[host])
        return Task(plan, place, self.situation.owner)
