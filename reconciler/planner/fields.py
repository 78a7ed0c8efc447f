"""The fields of a domain, one row each: how two values compare and what a difference takes.

A row that is missing here is a field that nobody compares; a test counts them.  Disks and interfaces are
lists and have their own file, `devices.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reconciler.model.domain import DomainConfig
from reconciler.model.plan import Impact

Compare = Callable[[Any, Any], bool]

# Alias as people write it, and what libvirt resolves it to. Others resolve to themselves: virt-7.2.
_MACHINE_ALIASES = {"q35": "pc-q35", "pc": "pc-i440fx"}


def same_memory(wanted: int, observed: int) -> bool:
    """Equal in KiB, rounded up: libvirt keeps no finer grain."""
    return -(-wanted // 1024) == -(-observed // 1024)


def enough_memory(wanted: int, observed: int) -> bool:
    """A running machine may have a higher ceiling than it is asked to have: nothing is missing."""
    return -(-observed // 1024) >= -(-wanted // 1024)


def same_machine(wanted: str, observed: str) -> bool:
    """``q35`` is ``pc-q35-7.2``, ``pc`` is ``pc-i440fx-7.2``, ``virt`` is ``virt-7.2``."""
    return wanted == observed or observed.startswith(f"{_MACHINE_ALIASES.get(wanted, wanted)}-")


def same_text(wanted: str, observed: str) -> bool:
    """The line ends that XML normalises do not count."""
    return wanted.replace("\r\n", "\n") == observed.replace("\r\n", "\n")


def _never(_wanted: DomainConfig, _live: DomainConfig) -> bool:
    return False


def _always(_wanted: DomainConfig, _live: DomainConfig) -> bool:
    return True


def _cpus_fit(wanted: DomainConfig, live: DomainConfig) -> bool:
    return (wanted.cpus or 0) <= (live.max_cpus or 0)


def _memory_fits(wanted: DomainConfig, live: DomainConfig) -> bool:
    return enough_memory(wanted.memory or 0, live.max_memory or 0)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of `DomainConfig`.

    Attributes:
        name: The attribute, which is also the path of its `FieldChange`.
        impact: What it takes to change it in a running domain, unless `hot` says that it can be live.
        same: Compares a desired value with one that is persistent.
        enough: Compares a desired value with the running one.
        hot: True if this running domain takes the desired value live.
        in_live: The running configuration carries the field.
        absent: What an observed None stands for; None itself means that it equals nothing.
        reported: A difference is shown and never acted on.
    """

    name: str
    impact: Impact = Impact.RESTART
    same: Compare = operator.eq
    enough: Compare | None = None
    hot: Callable[[DomainConfig, DomainConfig], bool] = _never
    in_live: bool = True
    absent: Any = None
    reported: bool = False

    def equal(self, wanted: Any, observed: Any) -> bool:
        """True if a persistent or applied value is the desired one."""
        return self._compare(self.same, wanted, observed)

    def satisfied(self, wanted: Any, running: Any) -> bool:
        """True if the running value will do."""
        return self._compare(self.enough or self.same, wanted, running)

    def _compare(self, compare: Compare, wanted: Any, observed: Any) -> bool:
        value = self.absent if observed is None else observed
        return value is not None and compare(wanted, value)


SCALARS: tuple[Field, ...] = (
    # A domain cannot be renamed by defining it, nor while it runs: `virsh domrename` is the person's own.
    Field("name", reported=True),
    Field("virt_type"),
    Field("arch", impact=Impact.REPLACE),
    Field("machine", same=same_machine),
    Field("firmware"),
    Field("cpus", hot=_cpus_fit),
    Field("max_cpus", enough=operator.le),
    Field("memory", same=same_memory, hot=_memory_fits),
    Field("max_memory", same=same_memory, enough=enough_memory),
    Field("console"),
    Field("description", same=same_text, hot=_always, absent=""),
    Field("autostart", impact=Impact.NONE, in_live=False, absent=False),
    Field("template"),
)
