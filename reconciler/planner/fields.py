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
from reconciler.model.hardware import check_set, members
from reconciler.model.parts import CdromConfig, GraphicsConfig, NumaCell
from reconciler.model.plan import Impact

Compare = Callable[[Any, Any], bool]

# Alias as people write it, and what libvirt resolves it to. Others resolve to themselves: virt-7.2.
_CPU_MODES = frozenset({"host-passthrough", "host-model", "maximum"})
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


def numbers(text: str) -> frozenset[int] | str:
    """What a set of cpus or nodes means, however it is written; text that is no such set means itself."""
    try:
        return members(check_set(text))
    except ValueError:
        return text


def same_pinning(wanted: tuple[str, ...], observed: tuple[str, ...]) -> bool:
    """Each cpu on the same cpus of the host."""
    return _pins(wanted) == _pins(observed)


def _pins(pinning: tuple[str, ...]) -> dict[str, frozenset[int] | str]:
    return {cpu: numbers(where) for cpu, _, where in (pin.partition("=") for pin in pinning)}


def same_cells(wanted: tuple[NumaCell, ...], observed: tuple[NumaCell, ...]) -> bool:
    """The same cpus and KiB in each node."""
    cells = [[(numbers(cell.cpus), -(-cell.memory // 1024)) for cell in side] for side in (wanted, observed)]
    return cells[0] == cells[1]


def same_numatune(wanted: str, observed: str) -> bool:
    """The same mode and nodes."""
    sides = [side.partition(":") for side in (wanted, observed)]
    return [(mode, numbers(nodes)) for mode, _, nodes in sides[:1]] == [
        (mode, numbers(nodes)) for mode, _, nodes in sides[1:]
    ]


def same_cpu_model(wanted: str, observed: str) -> bool:
    """A running ``host-model`` is shown as the model that it became."""
    return wanted == observed or (wanted == "host-model" and observed not in _CPU_MODES)


def has_features(wanted: tuple[str, ...], observed: tuple[str, ...]) -> bool:
    """A running machine shows further features, which come with its model."""
    seen = dict(feature.split("=", 1) for feature in observed)
    for feature in wanted:
        name, _, policy = feature.partition("=")
        if policy in ("require", "force") and seen.get(name) not in ("require", "force"):
            return False
        if policy in ("disable", "forbid") and seen.get(name) in ("require", "force"):
            return False
    return True


def same_tpm(wanted: str, observed: str) -> bool:
    """Without a version the host chooses one, and says which."""
    return wanted == observed or (wanted == "emulator" and observed.startswith("emulator:"))


def same_screens(wanted: tuple[GraphicsConfig, ...], observed: tuple[GraphicsConfig, ...]) -> bool:
    """Where neither address nor port is asked for, whichever the host chose will do."""
    return len(wanted) == len(observed) and all(
        mine.type == theirs.type and mine.listen in (None, theirs.listen) and mine.port in (None, theirs.port)
        for mine, theirs in zip(wanted, observed, strict=True)
    )


def same_drives(wanted: tuple[CdromConfig, ...], observed: tuple[CdromConfig, ...]) -> bool:
    """The same drives with the same in them; what they are called is ours."""
    return _trays(wanted) == _trays(observed)


def _trays(drives: tuple[CdromConfig, ...]) -> list[tuple[str, str, str | None]]:
    return sorted((drive.target, drive.bus, drive.path) for drive in drives)


def _never(_wanted: DomainConfig, _live: DomainConfig) -> bool:
    return False


def _always(_wanted: DomainConfig, _live: DomainConfig) -> bool:
    return True


def _cpus_fit(wanted: DomainConfig, live: DomainConfig) -> bool:
    return (wanted.cpus or 0) <= (live.max_cpus or 0)


def _memory_fits(wanted: DomainConfig, live: DomainConfig) -> bool:
    return enough_memory(wanted.memory or 0, live.max_memory or 0)


def _only_media(wanted: DomainConfig, live: DomainConfig) -> bool:
    """Media are changed in a running machine; a drive comes and goes with its next start."""
    drives = [{(one.target, one.bus) for one in side.cdroms or ()} for side in (wanted, live)]
    return drives[0] == drives[1]


def _pluggable(wanted: DomainConfig, live: DomainConfig) -> bool:
    """PCI devices are plugged while it runs, USB devices only into a controller that it was started with."""
    new = set(wanted.host_devices or ()) - set(live.host_devices or ())
    has_usb = any(device.startswith("usb:") for device in live.host_devices or ())
    return has_usb or not any(device.startswith("usb:") for device in new)


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
    Field("cpu_model", enough=same_cpu_model),
    Field("cpu_features", enough=has_features, absent=()),
    Field("topology"),
    Field("pinning", same=same_pinning, hot=_always, absent=()),
    Field("numa", same=same_cells, absent=()),
    Field("numatune", same=same_numatune, absent="none"),
    Field("hugepages", absent="none"),
    Field("secure_boot", absent=False),
    Field("tpm", same=same_tpm, absent="none"),
    Field("watchdog", absent="none"),
    Field("agent", absent=False),
    Field("rng", absent=False),
    Field("video", absent="none"),
    Field("graphics", same=same_screens, absent=()),
    Field("consoles", absent=()),
    Field("cdroms", same=same_drives, hot=_only_media, absent=()),
    Field("filesystems", absent=()),
    Field("host_devices", hot=_pluggable, absent=()),
    Field("boot", absent=()),
)
