"""Plan -> one JSON document per host, which the action plugin reads.

The document is data and stays data: Ansible gets to know the path of its folder, nothing else.  What a
template did wrong becomes a step of kind ``refused``, so that only what depends on it stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from reconciler.errors import RenderError
from reconciler.model.domain import Applied, DomainConfig
from reconciler.model.host import Fleet, Host
from reconciler.model.operations import (
    AttachDisk,
    AttachHostDevice,
    AttachInterface,
    ChangeMedia,
    CreateVolume,
    Define,
    DefineNetwork,
    DefinePool,
    DetachHostDevice,
    Mark,
    Operation,
    PutSeed,
    Redefine,
    RestoreSnapshot,
)
from reconciler.model.plan import Action, Plan
from reconciler.push.render import (
    HostTraits,
    render_cdrom,
    render_disk,
    render_domain,
    render_host_device,
    render_interface,
    render_mark,
    render_network,
    render_pool,
    render_volume,
)
from reconciler.push.template import UserTemplate

DOCUMENT_VERSION = 1
"""Of the document; the plugin refuses any other."""

_BEST_FIRST = ("kvm", "qemu", "lxc", "test")


@dataclass(frozen=True, slots=True)
class HostPlanner:
    """Writes the documents of a plan.

    Attributes:
        owner: Name of this installation in the mark of its domains.
        parallel: Operations side by side on one host.
        hosts: The inventory.
        fleet: What was observed; a host that is not in it is rendered for by its inventory alone.
        templates: Text of the users' XML templates, by path.
        workers_lock: File that every worker holds while it works, or None when run by hand.
    """

    owner: str
    parallel: int
    hosts: Mapping[str, Host]
    fleet: Fleet
    templates: Mapping[str, str] = field(default_factory=dict)
    workers_lock: str | None = None

    def document(self, host: str, actions: Iterable[Action]) -> dict[str, Any]:
        """The document of one host.

        Args:
            host: Inventory name; it must be in `hosts`.
            actions: Its actions, in order.
        """
        return {
            "version": DOCUMENT_VERSION,
            "host": host,
            "uri": self.hosts[host].uri,
            "deadline": self.hosts[host].deadline,
            "owner": self.owner,
            "parallel": self.parallel,
            "workers_lock": self.workers_lock,
            "actions": [self._step(action) for action in actions],
        }

    def _step(self, action: Action) -> dict[str, Any]:
        step = {
            "id": action.id,
            "vm": action.vm,
            "uid": action.uid,
            "after": list(action.after),
            "impact": action.impact.value,
            "reason": action.reason,
        }
        try:
            return step | self._parameters(action.operation, self._traits(action.host))
        except RenderError as error:
            return step | {"kind": "refused", "refusal": "RenderRefused", "message": str(error)}

    def _parameters(self, operation: Operation, traits: HostTraits) -> dict[str, Any]:
        """The operation's own fields, with the rendered XML in the place of model types."""
        match operation:
            case Define(config, applied, template):
                xml = self._domain(config, applied, traits, template)
                rendered = {"name": config.name, "xml": xml, "validate": template is not None}
            case Redefine(config, applied, fields, template):
                rendered = {"fields": fields, "xml": self._domain(config, applied, traits, template)}
            case DefineNetwork():
                rendered = asdict(operation) | {"xml": render_network(operation, self.owner)}
            case _:
                rendered = _rendered(operation)
        return {"kind": operation.kind} | rendered

    def _domain(
        self, config: DomainConfig, applied: Applied, traits: HostTraits, template: str | None
    ) -> str:
        return render_domain(config, applied, traits, self._template(template))

    def _template(self, path: str | None) -> UserTemplate | None:
        if path is None:
            return None
        if path not in self.templates:
            raise RenderError(f"{path}: the desired state has no such XML template")
        return UserTemplate(path, self.templates[path])

    def _traits(self, name: str) -> HostTraits:
        host, observed = self.hosts[name], self.fleet.get(name)
        usable = observed.virt_types if observed else frozenset()
        best = next((kind for kind in _BEST_FIRST if kind in usable), "kvm")
        return HostTraits(
            virt_type=host.virt_type or best,
            arch=(observed.arch if observed else "") or "x86_64",
            xml_allow=host.xml_allow,
        )


def _rendered(operation: Operation) -> dict[str, Any]:
    """Likewise, for operations that need nothing of their host."""
    match operation:
        case Mark(applied):
            return {"xml": render_mark(applied)}
        case RestoreSnapshot(name, applied):
            return {"name": name, "mark": render_mark(applied)}
        case PutSeed(pool, volume, told):
            # Not its files: their bytes come over a socket, with the secrets in them.
            return {"pool": pool, "volume": volume, "digest": told}
        case DefinePool():
            return asdict(operation) | {"xml": render_pool(operation)}
        case CreateVolume():
            return asdict(operation) | {"xml": render_volume(operation)}
        case _:
            return _device(operation) or asdict(operation)


def _device(operation: Operation) -> dict[str, Any]:
    """Likewise, for operations on a device; nothing for any other."""
    match operation:
        case AttachDisk(disk):
            return {"target": disk.target, "path": disk.path, "xml": render_disk(disk)}
        case AttachInterface(interface):
            return {"mac": interface.mac, "xml": render_interface(interface)}
        case ChangeMedia(drive):
            return {"target": drive.target, "path": drive.path, "xml": render_cdrom(drive)}
        case AttachHostDevice(device) | DetachHostDevice(device):
            return {"device": device, "xml": render_host_device(device)}
        case _:
            return {}


def waves(plan: Plan) -> list[tuple[Action, ...]]:
    """The plan's actions in runs that follow each other; one, unless a host waits for another host.

    Within a run a host knows only its own actions, so whatever must follow an action of another host
    (a domain leaves one host before it is defined on the next) goes into a later run.
    """
    by_id = {action.id: action for action in plan.actions}
    numbers: dict[str, int] = {}
    for action in plan.actions:
        earlier = [by_id[before] for before in action.after if before in by_id]
        numbers[action.id] = max(
            (numbers[before.id] + (before.host != action.host) for before in earlier), default=0
        )
    grouped: list[list[Action]] = [[] for _ in range(max(numbers.values(), default=-1) + 1)]
    for action in plan.actions:
        grouped[numbers[action.id]].append(action)
    return [tuple(group) for group in grouped]


def without(action: Action, done: Iterable[str]) -> Action:
    """The action, no longer waiting for what is done."""
    settled = frozenset(done)
    return replace(action, after=tuple(before for before in action.after if before not in settled))
