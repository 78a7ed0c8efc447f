"""Runs the playbook of a machine: finds its address, makes its inventory, and leaves the rest to the push."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.desired.last_good import LastGood
from reconciler.desired.source import Source
from reconciler.errors import ReconcilerError
from reconciler.model.domain import GuestAddress
from reconciler.observed.fleet import Observer
from reconciler.observed.uri import parse_uri
from reconciler.provisioning import ProvisionResult, ProvisionTask
from reconciler.push.provision import Provisioner
from reconciler.views.ansible import Guest, view


@dataclass(frozen=True, slots=True)
class MachinePlaybooks:
    """See `reconciler.provisioning.RunsPlaybooks`. Called from several threads.

    Attributes:
        provisioner: Runs Ansible.
        source: Where the playbooks are.
        observer: Knows how to ask a host for a guest's addresses.
        enabled: False: none is run, and that is told.
    """

    provisioner: Provisioner
    source: Source | LastGood
    observer: Observer
    enabled: bool = True

    def __call__(self, task: ProvisionTask) -> ProvisionResult:
        """Run it to its end."""
        if not self.enabled:
            told = f"{task.playbook} was not run: provision.enabled is false in the configuration"
            return ProvisionResult(False, "ProvisionDisabled", told)
        uid = task.domain.uuid
        addresses = self.observer.ask_addresses(task.host, uid)
        guest = Guest(task.vm, task.host.name, uid, task.domain, addresses)
        route = parse_uri(task.host.uri)

        def through_host(_guest: Guest, _address: GuestAddress) -> Sequence[str] | None:
            # It was found ready from there, so from there it can be reached.
            return route.ssh_command() if route.over_ssh else None

        def lay_out(target: Path) -> Path:
            return self.source.place(task.revision, target)

        made = view([guest], through_host)
        try:
            trouble = self.provisioner.run(task.playbook, made.listing, uid, task.timeout, lay_out)
        except ReconcilerError as error:
            return ProvisionResult(False, "PlaybookMissing", error.message)
        if trouble is not None:
            return ProvisionResult(False, trouble.reason, trouble.message)
        return ProvisionResult(True, "Done", f"{task.playbook} was run")
