"""What commands ask of a server: the same data that they would find here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

import click
from pydantic import BaseModel, ValidationError

from reconciler.cli.server import Server
from reconciler.client import Client, Operation
from reconciler.errors import LimitError, NotFoundError, ReconcilerError, UsageError
from reconciler.model.desired import DesiredState
from reconciler.model.manifest import InstanceType, VirtualMachine
from reconciler.model.plan import Plan
from reconciler.model.storage import Image, Volume

T = TypeVar("T", bound=BaseModel)

_OVER_LIMITS = "it would not be carried out: "
"""What a server's plan notes where a safety limit would stop it."""


def connect(server: Server, token: str | None) -> Remote:
    """A server to ask."""
    ca, cert = (str(path) if path else None for path in (server.ca, server.cert))
    return Remote(Client(server.url, token=token, ca=ca, cert=cert))


class Remote:
    """A server, in the words of the commands.

    Args:
        client: Speaks to it.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    # What is

    def view(self, name: str, about: str = "") -> Any:
        """What a view of `reconciler.views` shows there."""
        if name == "vms":
            return list(self.client.objects("virtualmachines"))
        return self.client.view(name, about)

    def objects(self, collection: str) -> Iterator[Mapping[str, Any]]:
        """Every object of a collection."""
        return self.client.objects(collection)

    def machine(self, name: str) -> VirtualMachine:
        """A desired machine.

        Raises:
            UsageError: There is none of this name.
        """
        try:
            return _read(VirtualMachine, self.client.get("virtualmachines", name).data)
        except NotFoundError as error:
            raise UsageError(f"no machine {name!r} is desired", hint="see: reconciler get vms") from error

    def desired(self, vm: str) -> DesiredState:
        """A machine, and what it may refer to; other machines are not in it."""
        return DesiredState(
            "",
            {vm: self.machine(vm)},
            {one["metadata"]["name"]: _read(InstanceType, one) for one in self.objects("instancetypes")},
            {one["metadata"]["name"]: _read(Image, one) for one in self.objects("images")},
            volumes={one["metadata"]["name"]: _read(Volume, one) for one in self.objects("volumes")},
        )

    def events(
        self, *, vm: str | None, host: str | None, limit: int, follow: bool
    ) -> Iterator[Mapping[str, Any]]:
        """The newest events, oldest first, and with `follow` those that come, for ever."""
        page = self.client.events(vm=vm, host=host, limit=min(limit, 1000))
        yield from reversed(list(islice(page.items, limit)))
        if not follow:
            return
        for kind, _id, event in self.client.watch(vm=vm, host=host, after=page.cursor):
            if kind == "gap":
                click.echo("some events are not on record any more: see `reconciler events`", err=True)
            elif kind not in ("end", "hello"):
                yield event

    def plan(self, *, allow_deletions: bool = True) -> Plan:
        """What would be done there now.

        Raises:
            LimitError: It would not be, and deletions are not allowed.
        """
        made = self.client.plan()
        if not allow_deletions:
            check_limits(made)
        return made

    # What operators vouch for

    def retry(self, machines: Collection[str] | None) -> tuple[str, ...]:
        """Forget failures; of all machines for None. Whose they were."""
        body: dict[str, Any] = {"all": True} if machines is None else {"machines": sorted(machines)}
        return tuple(self.client.ask("POST", "/api/v1/commands/retry", body=body).data["machines"])

    def consequence(self, host: str) -> str:
        """What follows from a host's death. Raises if it lives."""
        return self.client.vouch(host, "declare-dead", dry_run=True)

    def vouch(self, host: str, word: str) -> str:
        """Say ``assume-empty``, ``declare-dead`` or ``withdraw`` of a host."""
        return self.client.vouch(host, word)

    # What takes a while

    def carried_out(self, operation: Operation) -> Operation:
        """Wait for an operation, telling how far it is; whoever interrupts this takes it back."""
        said = ""
        try:
            while not operation.state.final:
                if operation.message != said:
                    said = operation.message
                    click.echo(f"  {said}", err=True)
                operation = self.client.operation(operation.id, wait=10.0)
        except KeyboardInterrupt:
            self._take_back(operation)
            raise
        return operation

    def _take_back(self, operation: Operation) -> None:
        try:
            self.client.cancel(operation.id)
            click.echo("\nTaken back: nothing was done.", err=True)
        except ReconcilerError:
            click.echo(f"\n{operation.id} was begun and goes on; see: reconciler events", err=True)

    def own(self, word: str, about: str) -> Operation:
        """Have the daemon ``adopt``, ``forget`` or ``discard``, and wait until it did.

        Raises:
            ReconcilerError: It did not.
        """
        asked = self.client.act(f"/commands/{word}", body={"about": about})
        return self.carried_out(asked).check()


def check_limits(plan: Plan) -> None:
    """Refuse a server's plan that a safety limit would stop.

    Raises:
        LimitError: It would.
    """
    for note in plan.notes:
        if note.startswith(_OVER_LIMITS):
            raise LimitError(note.removeprefix(_OVER_LIMITS))


def _read(model: type[T], data: Mapping[str, Any]) -> T:
    """A manifest of the server's, without its status."""
    try:
        return model.model_validate({name: value for name, value in data.items() if name != "status"})
    except ValidationError as error:
        told = re.sub(r"\s+", " ", str(error))
        raise ReconcilerError(
            f"the server has an object that this version cannot read: {told}",
            hint="use the same version of reconciler here and there",
        ) from error
