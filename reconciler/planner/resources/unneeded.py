"""Networks of ours that nobody declares for a host any more: removed, once nothing on it uses them."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model.domain import ObservedDomain
from reconciler.model.host import Host, ObservedHost, ObservedNetwork
from reconciler.model.operations import UndefineNetwork
from reconciler.model.placement import on_host
from reconciler.model.plan import Blocked, Change, Impact, Verb
from reconciler.planner.diff import mark_of
from reconciler.planner.networks import KIND, is_ours
from reconciler.planner.outcome import Outcome
from reconciler.planner.pending import meant_for
from reconciler.planner.steps import Steps, undefine_id
from reconciler.planner.survey import Survey

_REASON = "it is no longer desired"


def plan_surplus(survey: Survey, host: Host, observed: ObservedHost) -> Iterator[Outcome]:
    """One outcome for each network of ours that shall not be on this host."""
    situation = survey.situation
    for name, network in sorted(observed.network_configs.items()):
        manifest = situation.desired.networks.get(name)
        if manifest is not None and meant_for(manifest.spec.hosts, host):
            continue
        if is_ours(network, situation.owner, host.name):
            key = on_host(KIND, name, host.name)
            yield (
                Outcome(blocked=situation.held[key])
                if key in situation.held
                else _remove(survey, key, network, observed)
            )


def _remove(survey: Survey, key: str, network: ObservedNetwork, observed: ObservedHost) -> Outcome:
    wanting = _wanted_by(survey, network.name, observed.name)
    if wanting:
        message = (
            f"{_REASON}, but the manifest of {wanting} names it: declare it again, or change that manifest"
        )
        return Outcome(blocked=Blocked(key, "NetworkInUse", message, observed.name))
    after = []
    for domain in _users(observed, network.name):
        mark = mark_of(domain)
        if mark is None or survey.leaving.get(mark.name) is not domain:
            message = (
                f"{_REASON}, but the domain {domain.name} on {observed.name} uses it: it stays until then"
            )
            return Outcome(blocked=Blocked(key, "NetworkInUse", message, observed.name))
        after.append(undefine_id(mark.name))
    steps = Steps(key, network.uuid, observed.name)
    steps.add(UndefineNetwork(network.name, network.uuid), _REASON, Impact.DESTROY, after=after)
    change = Change(key, network.uuid, observed.name, Verb.DELETE, Impact.DESTROY, _REASON)
    return Outcome(change, tuple(steps.actions))


def _wanted_by(survey: Survey, network: str, host: str) -> str:
    """A machine that is or may come to be on this host and that names the network; empty if there is none."""
    for name, vm in sorted(survey.situation.desired.machines.items()):
        domain = survey.index.ours.get(name)
        if domain is not None and domain.host != host:
            continue
        if any(interface.network == network for interface in vm.spec.interfaces):
            return name
    return ""


def _users(observed: ObservedHost, network: str) -> list[ObservedDomain]:
    """Domains that use a network now or at their next start."""
    return [
        domain
        for domain in sorted(observed.domains.values(), key=lambda domain: domain.name)
        if any(
            interface.network == network
            for config in (domain.config, domain.live)
            if config is not None
            for interface in config.interfaces or ()
        )
    ]
