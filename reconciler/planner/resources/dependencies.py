"""Which actions wait for those of pools, networks and volumes in the same plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from reconciler.model.operations import (
    AttachDisk,
    AttachInterface,
    ClaimVolume,
    CreateVolume,
    Define,
    DiscardVolume,
    EnsureImage,
    Redefine,
    ReleaseVolume,
    ReserveAddress,
    ResizeVolume,
)
from reconciler.model.placement import on_host
from reconciler.model.plan import Action, Impact


def linked(actions: Sequence[Action]) -> list[Action]:
    """The actions, each after what makes the objects that it needs; most plans make none."""
    makers = _makers(actions)
    if not makers:
        return list(actions)
    return [_after(action, makers) for action in actions]


def _makers(actions: Iterable[Action]) -> Mapping[str, Sequence[str]]:
    """Ids of the actions that make an object or bring it up, by its key."""
    makers: dict[str, list[str]] = defaultdict(list)
    for action in actions:
        if "/" in action.vm and action.impact is not Impact.DESTROY:
            makers[action.vm].append(action.id)
    return makers


def _after(action: Action, makers: Mapping[str, Sequence[str]]) -> Action:
    more = [
        name
        for key in _needs(action)
        if key != action.vm
        for name in makers.get(key, ())
        if name not in action.after
    ]
    return replace(action, after=(*action.after, *more)) if more else action


def _needs(action: Action) -> Iterator[str]:
    """Keys of the objects that must be there before this action."""
    operation = action.operation
    match operation:
        case EnsureImage() | CreateVolume() | ResizeVolume() | DiscardVolume():
            yield on_host("StoragePool", operation.pool, action.host)
        case ClaimVolume() | ReleaseVolume():
            yield on_host("StoragePool", operation.pool, action.host)
        case Define(config) | Redefine(config):
            for interface in config.interfaces or ():
                yield from _network(interface.network, action.host)
            for disk in config.disks or ():
                yield from _volume(disk.volume)
        case AttachInterface(interface):
            yield from _network(interface.network, action.host)
        case ReserveAddress(network):
            yield from _network(network, action.host)
        case AttachDisk(disk):
            yield from _volume(disk.volume)
        case _:
            return


def _network(name: str | None, host: str) -> Iterator[str]:
    if name is not None:
        yield on_host("Network", name, host)


def _volume(name: str | None) -> Iterator[str]:
    if name is not None:
        yield f"Volume/{name}"
