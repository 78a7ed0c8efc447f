"""There and back: XML to a configuration, to a manifest, to a plan, and to XML again."""

from __future__ import annotations

from dataclasses import fields, replace

from reconciler.model.domain import Applied, DomainConfig, DomainState, ObservedDomain
from reconciler.model.host import Host, HostStatus, ObservedHost
from reconciler.model.manifest import VirtualMachine
from reconciler.observed.domain_xml import parse_domain
from reconciler.planner.actions import Place
from reconciler.planner.adopt import Adoption, adopt
from reconciler.planner.blueprint import Blueprint
from reconciler.planner.diff import diff
from reconciler.planner.hardware import as_pinned
from reconciler.push.render import HostTraits, render_domain

OWNER = "default"
HOST = "h1"
UUID = "0b6f1f7c-5a57-4b0e-8f7e-0a4a1d2a9a99"


def place(cpus: int = 0) -> Place:
    """A host that answers and cannot tell what it is capable of."""
    return Place(Host(HOST, "test:///default"), ObservedHost(HOST, HostStatus.READY, cpus=cpus))


def observed(xml: str, live: str | None = None) -> ObservedDomain:
    """What we would see of a domain with this XML."""
    parsed = parse_domain(xml, OWNER)
    running = parse_domain(live, OWNER) if live is not None else None
    config = replace(parsed.config, uuid=parsed.config.uuid or UUID, name=parsed.config.name.strip())
    return ObservedDomain(
        host=HOST,
        config=replace(config, autostart=False),
        live=running.config if running else None,
        state=DomainState.RUNNING if running else DomainState.SHUT_OFF,
        applied=parsed.applied,
        applied_live=running.applied if running else None,
    )


def adopted(domain: ObservedDomain) -> Adoption:
    """Take it over; `adopt` itself refuses a domain whose next plan would not be empty.

    Raises:
        ReconcilerError: It cannot be.
    """
    return adopt(domain, place(), OWNER)


def differences(vm: VirtualMachine | None, wanted: DomainConfig, domain: ObservedDomain) -> list[str]:
    """What the next plan would change, as ``path: before -> after``."""
    vm = vm or VirtualMachine.model_validate(
        {"metadata": {"name": "any"}, "spec": {"cpus": 1, "memory": "1Gi", "runStrategy": "Manual"}}
    )
    found = diff(Blueprint(vm), wanted, as_pinned(domain, place().observed.cpus))
    return [f"{d.change.path}: {d.change.before!r} -> {d.change.after!r}" for d in found]


def rendered(config: DomainConfig, virt_type: str = "kvm") -> str:
    """The XML of a configuration, with a mark."""
    applied = Applied(OWNER, config.uuid, config.name, 1, "0" * 32, config)
    return render_domain(config, applied, HostTraits(virt_type=virt_type))


def lost(before: DomainConfig, after: DomainConfig) -> dict[str, tuple[object, object]]:
    """Fields that are set in `before` and are something else in `after`."""
    return {
        field.name: (was, now)
        for field in fields(DomainConfig)
        if (was := getattr(before, field.name)) not in (None, ())
        and was != (now := getattr(after, field.name))
    }
