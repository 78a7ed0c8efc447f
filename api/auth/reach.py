"""What a manifest reaches besides the object itself, for callers whose grants do not reach everything.

A manifest can name others' data: a volume, a machine to be cloned, a file of a host, a secret.  Whoever may
change only some objects must not get at others that way.  What an object says already may stay.

Instance types, images, networks and storage pools are made to be used by all: naming one asks for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from reconciler.errors import ForbiddenError
from reconciler.model.access import Caller, Role, Thing

LabelsOf = Callable[[str, str], Mapping[str, str]]
"""Labels of the object of this kind and name; empty if there is none."""

_HOST = "host"
"""Not an object: something of a host, or of the controller."""

_SECRETS = frozenset({"secretref", "userdatafrom"})
_OF_HOSTS = frozenset({"xmltemplate", "playbook", "bridge", "hostdevices", "devices"}) | _SECRETS

Claim = tuple[str, str]
"""Kind and name of an object, or `_HOST` and what it is."""


def require_reach(caller: Caller, before: object, after: object, labels_of: LabelsOf) -> None:
    """Refuse a change that would reach what the caller may not change by itself.

    Args:
        caller: Who asks.
        before: The manifest as it is, plain data; None if there is none.
        after: As it would be; None if it goes.
        labels_of: For the question whether they may.

    Raises:
        ForbiddenError: With everything that is out of their reach.
    """
    if caller.may(Role.OPERATOR):
        return
    had, has = set(_claims(_spec(before))), set(_claims(_spec(after)))
    # A disk that is plugged into a machine, or pulled out of it, changes the machine as well.
    changed = (has - had) | (set(_attached(before)) ^ set(_attached(after)))
    refused = [
        name if kind == _HOST else f"{kind} {name!r}"
        for kind, name in sorted(changed)
        if kind == _HOST or not caller.may(Role.OPERATOR, Thing(kind, name, labels_of(kind, name)))
    ]
    if refused:
        raise ForbiddenError(
            f"{caller.name} may not use {', '.join(refused)}",
            hint="your grants reach only some objects: let somebody whose reach everything write this part",
        )


def _spec(manifest: object) -> object:
    return manifest.get("spec") if isinstance(manifest, Mapping) else None


def _attached(manifest: object) -> Iterator[Claim]:
    spec = _spec(manifest)
    for key, value in spec.items() if isinstance(spec, Mapping) else ():
        if _plain(key) == "attachto" and isinstance(value, Mapping):
            yield "VirtualMachine", str(value.get("machine", ""))


def _claims(data: object, *, guest: bool = False) -> Iterator[Claim]:
    """What the data names. With `guest` it is what a guest is told, where a path is the guest's own."""
    if isinstance(data, (list, tuple)):
        for one in data:
            yield from _claims(one, guest=guest)
    if isinstance(data, str) and data.startswith("/") and not guest:
        yield _HOST, f"the path {data}"
    for key, value in data.items() if isinstance(data, Mapping) else ():
        word = _plain(key)
        if value is None or value in ([], ()):
            continue
        if word in (_SECRETS if guest else _OF_HOSTS):
            yield _HOST, f"{key} {_shown(value)}"
        elif word in ("volume", "cloneof") and not guest:
            yield _named(word, value)
        else:
            yield from _claims(value, guest=guest or word == "cloudinit")


def _named(word: str, value: object) -> Claim:
    if isinstance(value, str):
        return "Volume" if word == "volume" else "VirtualMachine", value
    return _HOST, f"the volume {_shown(value)}"


def _plain(key: object) -> str:
    """A field's name, however it is spelt: both ``cloneOf`` and ``clone_of`` are read."""
    return str(key).replace("_", "").lower()


def _shown(value: object) -> str:
    return repr(value)[:100]
