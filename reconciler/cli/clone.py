"""`reconciler clone`: a new machine that begins as a copy of another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import click
from pydantic import ValidationError

from reconciler.cli.act import Change, Manner, change, desired, draft_of, edits, machine_file
from reconciler.cli.app import App, options
from reconciler.cli.completion import complete_host, complete_machine
from reconciler.cli.server import remotely
from reconciler.errors import UsageError
from reconciler.model.desired import DesiredState
from reconciler.model.guest import CloudInit
from reconciler.model.manifest import Interface, RunStrategy, VirtualMachine

_AUTO = "auto"


@click.command(
    epilog="""\b
Examples:
  reconciler stop web-1 && reconciler clone web-1 web-2 && reconciler start web-1
  reconciler clone db-1 db-test --halted"""
)
@click.argument("machine", metavar="VM", shell_complete=complete_machine)
@click.argument("new", metavar="NEW")
@click.option("--host", metavar="HOST", shell_complete=complete_host, help="Say it in the manifest too.")
@click.option("--halted", is_flag=True, help="Leave the copy off.")
@edits
@options
@remotely
def clone(app: App, machine: str, new: str, host: str | None, halted: bool, **manner: Any) -> int:
    """Write the manifest of a machine NEW that begins as a full copy of VM, and make it.

    VM has to be shut off, for its disks are copied, on its own host. NEW has MAC addresses of its own and no
    fixed address; what its guest keeps on its disks (host keys, a machine id) it shares with VM.
    """
    state = desired(app, machine)
    found = state.machines.get(machine)
    if found is None:
        raise UsageError(f"no machine {machine!r} is desired", hint="see: reconciler get vms")
    if new in state.machines:
        raise UsageError(f"there is a machine {new!r} already")
    refused = sorted(_not_copied(found))
    if refused:
        raise UsageError(f"{machine} cannot be copied whole: {'; '.join(refused)}")
    copy = copy_of(found, new, host, halted=halted)
    folder = PurePosixPath(machine_file(app, machine)).parent
    file = str(folder / (re.sub(r"[^A-Za-z0-9._-]", "-", new) + ".yaml"))
    wanted = Change(new, f"reconciler clone {machine} {new}", draft_of(app), list(_notes(state, found)))
    wanted.draft.add(file, copy)
    return change(
        app, Manner(manner["yes"], manner["output"], not manner["no_apply"], manner["author"]), wanted
    )


def copy_of(vm: VirtualMachine, new: str, host: str | None, *, halted: bool) -> VirtualMachine:
    """The manifest of a copy: what is a machine's own is left out.

    Args:
        vm: What it is a copy of.
        new: Its name.
        host: Where it shall be; None leaves that to where its disks are.
        halted: It stays off.

    Raises:
        UsageError: The name is none.
    """
    spec = vm.spec
    strategy = RunStrategy.ALWAYS if spec.run_strategy is RunStrategy.HALTED else spec.run_strategy
    made = spec.model_copy(
        update={
            "clone_of": vm.name,
            "run_strategy": RunStrategy.HALTED if halted else strategy,
            "interfaces": tuple(map(_own_addresses, spec.interfaces)),
            "placement": spec.placement.model_copy(update={"host": host}),
            "cloud_init": _own_cloud_init(spec.cloud_init, vm.name),
        }
    )
    try:
        metadata = type(vm.metadata).model_validate({**vm.metadata.model_dump(), "name": new})
    except ValidationError as error:
        raise UsageError(f"{new!r} is no name for a machine: {error.errors()[0]['msg']}") from error
    return VirtualMachine(metadata=metadata, spec=made)


def _own_addresses(interface: Interface) -> Interface:
    kept = interface.address if interface.address == _AUTO else None
    return interface.model_copy(update={"mac": None, "address": kept})


def _own_cloud_init(told: CloudInit | None, name: str) -> CloudInit | None:
    """Without what makes two machines one: the copy's instance-id is a new one by itself."""
    if told is None:
        return None
    hostname = None if told.hostname == name else told.hostname
    return told.model_copy(update={"instance_id": None, "hostname": hostname})


def _not_copied(vm: VirtualMachine) -> Iterator[str]:
    """Disks that are not the machine's own, so that nothing could be made a copy of them."""
    if vm.spec.root_disk is not None and vm.spec.root_disk.path is not None:
        yield f"its root disk is the file {vm.spec.root_disk.path}, which we did not make"
    for disk in vm.spec.disks:
        if disk.volume is not None:
            yield f"its disk {disk.name} is the volume {disk.volume}: copy it with a new Volume's source"
        elif disk.path is not None:
            yield f"its disk {disk.name} is the file {disk.path}, which we did not make"


def _notes(state: DesiredState, vm: VirtualMachine) -> Iterator[str]:
    for volume in state.volumes.values():
        if volume.spec.attach_to is not None and volume.spec.attach_to.machine == vm.name:
            yield f"the volume {volume.name}, which is attached to {vm.name}, is not copied"
    if vm.spec.cloud_init is not None and vm.spec.cloud_init.network_config is not None:
        yield "cloudInit.networkConfig is copied as it is: an address in it would be there twice"
