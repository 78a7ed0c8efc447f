"""`reconciler resize`: more or less cpus, memory and disk, in the manifest and on the host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from reconciler.cli.act import Change, Changes, Manner, change, desired, draft_of, edits, origin
from reconciler.cli.app import App, options
from reconciler.cli.completion import complete_machine
from reconciler.cli.server import remotely
from reconciler.errors import UsageError
from reconciler.model.desired import DesiredState
from reconciler.model.manifest import VirtualMachine
from reconciler.model.units import format_size, parse_size
from reconciler.planner.blueprint import Sizes, blueprint
from reconciler.planner.names import ROOT


@click.command(
    epilog="""\b
Examples:
  reconciler resize web-1 --cpus 4 --memory 4Gi
  reconciler resize web-1 --disk root=40Gi --disk data=200Gi"""
)
@click.argument("machine", metavar="VM", shell_complete=complete_machine)
@click.option("--cpus", type=click.IntRange(min=1), help="Virtual cpus.")
@click.option("--memory", metavar="SIZE", help="Memory, for example 4Gi.")
@click.option(
    "--disk",
    "disks",
    metavar="NAME=SIZE",
    multiple=True,
    help="A disk, which can only grow; may be repeated.",
)
@edits
@options
@remotely
def resize(
    app: App, machine: str, cpus: int | None, memory: str | None, disks: tuple[str, ...], **manner: Any
) -> int:
    """Change the size of a machine in its manifest, and carry it out.

    The plan says what happens while it runs. What is beyond its maxCpus or maxMemory raises them too, and
    waits for a restart; `reconciler restart` is the moment that you choose.
    """
    if cpus is None and memory is None and not disks:
        raise UsageError("say what shall be how large", hint="give --cpus, --memory or --disk NAME=SIZE")
    state = desired(app, machine)
    found = state.machines.get(machine)
    if found is None:
        raise UsageError(f"no machine {machine!r} is desired", hint="see: reconciler get vms")
    words = [f"--cpus {cpus}"] * (cpus is not None) + [f"--memory {memory}"] * (memory is not None)
    message = " ".join([f"reconciler resize {machine}", *words, *(f"--disk {disk}" for disk in disks)])
    wanted = Change(machine, message, draft_of(app))
    fields = {**_cpus(found, cpus), **_memory(found, memory)}
    volumes: dict[str, str | int] = {}
    for name, size in map(_named_size, disks):
        volume = next((disk.volume for disk in found.spec.disks if disk.name == name), None)
        if volume is not None:
            volumes[volume] = size
        else:
            fields |= _disk(found, name, size)
    if fields:
        wanted.draft.edit(origin(app, f"VirtualMachine/{machine}"), f"VirtualMachine/{machine}", fields)
    for volume, size in volumes.items():
        wanted.draft.edit(origin(app, f"Volume/{volume}"), f"Volume/{volume}", {("spec", "size"): size})
    owner = "" if app.remote else app.loaded.config.owner  # sizes do not depend on it
    wanted.notes += _notes(state, found, owner, fields)
    return change(
        app, Manner(manner["yes"], manner["output"], not manner["no_apply"], manner["author"]), wanted
    )


def _cpus(vm: VirtualMachine, cpus: int | None) -> Changes:
    """The fields to change: the maximum follows only where it was stated and is too small."""
    if cpus is None:
        return {}
    fields: Changes = {("spec", "cpus"): cpus}
    if vm.spec.max_cpus is not None and vm.spec.max_cpus < cpus:
        fields["spec", "maxCpus"] = cpus
    return fields


def _memory(vm: VirtualMachine, memory: str | None) -> Changes:
    if memory is None:
        return {}
    size = _size("--memory", memory)
    fields: Changes = {("spec", "memory"): _written(memory)}
    if vm.spec.max_memory is not None and vm.spec.max_memory < size:
        fields["spec", "maxMemory"] = fields["spec", "memory"]
    return fields


def _disk(vm: VirtualMachine, name: str, size: str | int) -> Changes:
    if name == ROOT:
        if vm.spec.root_disk is None and vm.spec.image is None and vm.spec.instance_type is None:
            raise UsageError(f"{vm.name} has no root disk")
        return {("spec", "rootDisk", "size"): size}
    names = [disk.name for disk in vm.spec.disks]
    if name not in names:
        raise UsageError(f"{vm.name} has no disk {name!r}; there is: {', '.join([ROOT, *names])}")
    return {("spec", "disks", names.index(name), "size"): size}


def _named_size(text: str) -> tuple[str, str | int]:
    name, equals, size = text.partition("=")
    if not equals:
        raise UsageError(f"--disk {text}: write NAME=SIZE, for example data=20Gi")
    _size(f"--disk {text}", size)
    return name, _written(size)


def _written(size: str) -> str | int:
    """As it stands in a manifest: plain bytes are a number."""
    return int(size) if size.isdigit() else size


def _size(option: str, text: str) -> int:
    try:
        return parse_size(_written(text))
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def _notes(state: DesiredState, vm: VirtualMachine, owner: str, fields: Changes) -> Iterable[str]:
    """What is beyond what the machine was started with, and so needs a restart."""
    sizes: Sizes = blueprint(state, vm, owner).sizes
    cpus = fields.get(("spec", "cpus"))
    if isinstance(cpus, int) and cpus > sizes.max_cpus:
        yield f"{cpus} cpus are more than its maximum of {sizes.max_cpus}: it needs a restart"
    memory = fields.get(("spec", "memory"))
    if memory is not None and parse_size(memory) > sizes.max_memory:
        told = format_size(sizes.max_memory)
        yield f"{memory} of memory is more than its maximum of {told}: it needs a restart"
