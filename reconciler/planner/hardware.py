"""Desired state into the hardware part of a `DomainConfig`, and what that asks of a host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from reconciler.model.domain import DomainConfig, ObservedDomain
from reconciler.model.hardware import LOOPBACK, Cpu, Graphics, Tpm, check_set, members
from reconciler.model.host import ObservedHost
from reconciler.model.identity import interface_name
from reconciler.model.manifest import RootDisk, VirtualMachineSpec
from reconciler.model.parts import CdromConfig, FilesystemConfig, GraphicsConfig, IoLimits, NumaCell, Topology
from reconciler.model.units import format_size
from reconciler.planner.blueprint import Blueprint
from reconciler.planner.unresolved import CannotResolveError

SHED: Final[Mapping[str, Any]] = {
    "cpu_features": (),
    "pinning": (),
    "numa": (),
    "numatune": "none",
    "hugepages": "none",
    "secure_boot": False,
    "tpm": "none",
    "watchdog": "none",
    "agent": False,
    "rng": False,
    "graphics": (),
    "cdroms": (),
    "filesystems": (),
    "host_devices": (),
}
"""What a field is set to when it was applied and the manifest says it no more: it is taken away."""

FIELDS: Final = (
    *("cpu_model", "cpu_features", "topology", "pinning", "numa", "numatune", "hugepages", "secure_boot"),
    *("tpm", "watchdog", "agent", "rng", "video", "graphics", "consoles", "cdroms", "filesystems"),
    *("host_devices", "boot"),
)
"""Fields of `DomainConfig` that this file settles."""

TUNING: Final = ("cache", "io", "discard", "read_only", "limits")
"""Fields of a disk that say how it is read and written."""

_PREFIXES = {"sata": "sd", "scsi": "sd", "usb": "sd", "ide": "hd"}
_NO_LIMITS = IoLimits()

_NEEDS = {
    "virtiofs": "virtio-fs folders: install virtiofsd there, or use driver: 9p",
    "tpm:emulator": "an emulated TPM: install swtpm and swtpm-tools there",
    "tpm:passthrough": "its own TPM to a machine",
    "secure-boot": "UEFI with secure boot: install its firmware there (the package ovmf)",
    "graphics:spice": "SPICE: its QEMU was built without it; use vnc",
    "graphics:vnc": "VNC: its QEMU was built without it; use spice",
}


def with_hardware(
    config: DomainConfig,
    plan: Blueprint,
    observed: ObservedHost,
    previous: DomainConfig | None,
    taken: Iterable[str],
) -> DomainConfig:
    """The configuration with its hardware.

    Args:
        config: Sizes, disks and interfaces, settled.
        plan: The machine.
        observed: Its host.
        previous: What was last pushed: drives stay where they are, and what is no longer asked for goes.
        taken: Targets that devices of others occupy.

    Raises:
        CannotResolveError: The wishes contradict its sizes, or the host cannot fulfil them.
    """
    spec = plan.vm.spec
    fields = wishes(spec)
    old = previous or DomainConfig("", "")
    if config.virt_type == "lxc":
        _refuse_in_container(fields, old)
        fields["consoles"] = None
    fields["topology"] = _topology(spec.cpu, config.max_cpus or 1, old.topology)
    fields["cdroms"] = _cdroms(spec, config, previous, frozenset(taken))
    if fields["tpm"] == "emulator":
        # libvirt's own default is 1.2, which hardly a guest knows any more.
        fields["tpm"] = old.tpm if (old.tpm or "").startswith("emulator") else "emulator:2.0"
    for name, absent in SHED.items():
        if fields[name] is None and getattr(old, name) is not None:
            fields[name] = absent
    if spec.consoles is not None:
        fields["console"] = "serial" if "serial" in spec.consoles else "none"
    if spec.secure_boot:
        fields["firmware"] = "uefi"
        fields["machine"] = config.machine or ("q35" if observed.arch in ("x86_64", "i686", "") else None)
    config = replace(config, **fields, disks=_limited(config, previous))
    _refuse_contradictions(config, old, observed)
    missing = needs(config) - needs(old) - (needs(config) if observed.hardware is None else observed.hardware)
    if missing:
        raise CannotResolveError("HardwareMissing", f"{observed.name} cannot give {lacking(missing)}")
    pinning = without_idle_pins(config.pinning, observed.cpus)
    return replace(config, pinning=pinning, boot=_boot(spec, config))


def wishes(spec: VirtualMachineSpec) -> dict[str, Any]:
    """Fields of `DomainConfig` as far as the manifest alone settles them; None: not said."""
    cpu, numa, watchdog = spec.cpu, spec.numa, spec.watchdog
    cells = tuple(NumaCell(cell.cpus, cell.memory) for cell in numa.cells) if numa else ()
    nodes = numa.host_nodes if numa else None
    return {
        "cpu_model": cpu.model if cpu else None,
        "cpu_features": _features(cpu),
        "pinning": _pinning(cpu),
        "numa": cells or None,
        "numatune": f"{numa.mode}:{nodes}" if numa and nodes is not None else None,
        "hugepages": spec.hugepages,
        "secure_boot": spec.secure_boot,
        "tpm": _tpm(spec.tpm),
        "watchdog": f"{watchdog.model}:{watchdog.action}" if watchdog else None,
        "agent": _agent(spec),
        "rng": spec.rng,
        "video": spec.video,
        "consoles": tuple(sorted(map(str, spec.consoles))) if spec.consoles is not None else None,
        "filesystems": tuple(
            FilesystemConfig(folder.tag, folder.source, folder.driver)
            for folder in sorted(spec.filesystems, key=lambda folder: folder.tag)
        )
        if spec.filesystems is not None
        else None,
        "host_devices": tuple(sorted(device.key for device in spec.host_devices))
        if spec.host_devices is not None
        else None,
        "graphics": _graphics(spec.graphics),
    }


def without_idle_pins(pinning: tuple[str, ...] | None, cpus: int) -> tuple[str, ...] | None:
    """Without pins to all of the host's cpus: that is how libvirt shows a cpu that was set free."""
    if pinning is None or not cpus:
        return pinning
    everywhere = frozenset(range(cpus))
    return tuple(pin for pin in pinning if not everywhere <= _where(pin))


def as_pinned(domain: ObservedDomain, cpus: int) -> ObservedDomain:
    """The domain on a host of so many cpus, without pins that bind nothing."""
    live = domain.live
    if live is not None and live.pinning:
        live = replace(live, pinning=without_idle_pins(live.pinning, cpus))
        domain = replace(domain, live=live)
    if domain.config.pinning:
        config = replace(domain.config, pinning=without_idle_pins(domain.config.pinning, cpus))
        domain = replace(domain, config=config)
    return domain


def _where(pin: str) -> frozenset[int]:
    """The host's cpus in a pin; none of text that libvirt has and we cannot read."""
    try:
        return members(check_set(pin.partition("=")[2]))
    except ValueError:
        return frozenset()


def tuning(disk: RootDisk) -> dict[str, Any]:
    """Fields of `DiskConfig` for how a disk is read and written."""
    limits = disk.limits
    told = {name: getattr(disk, name) for name in TUNING if name != "limits"}
    if limits is None:
        return told
    return told | {"limits": IoLimits(**{name: count or 0 for name, count in limits.model_dump().items()})}


def needs(config: DomainConfig) -> frozenset[str]:
    """What the host has to be capable of, in the words of `ObservedHost.hardware`."""
    return frozenset(_needs({name: getattr(config, name) for name in _NEEDING}))


def needs_of(plan: Blueprint) -> frozenset[str]:
    """Likewise, of a machine that has no host yet."""
    return frozenset(_needs(wishes(plan.vm.spec)))


_NEEDING = ("filesystems", "tpm", "secure_boot", "graphics", "cpu_model")


def _needs(fields: Mapping[str, Any]) -> Iterator[str]:
    if any(folder.driver == "virtiofs" for folder in fields["filesystems"] or ()):
        yield "virtiofs"
    if fields["tpm"] not in (None, "none"):
        yield f"tpm:{fields['tpm'].partition(':')[0]}"
    if fields["secure_boot"]:
        yield "secure-boot"
    if fields["cpu_model"] is not None:
        yield f"cpu:{fields['cpu_model']}"
    for screen in fields["graphics"] or ():
        yield f"graphics:{screen.type}"


def lacking(missing: Iterable[str]) -> str:
    """What a host cannot give, in words, with what to do about it."""
    told = [
        _NEEDS.get(word)
        or f"the CPU model {word.partition(':')[2]}: `virsh domcapabilities` lists what it can"
        for word in sorted(missing)
    ]
    return "; ".join(told)


def unsaid(previous: DomainConfig, spec: VirtualMachineSpec) -> DomainConfig:
    """`previous`, without what the manifest of an adopted machine does not say: that is not taken away."""
    said = wishes(spec) | {"cdroms": spec.cdroms}
    left_out: dict[str, Any] = {name: None for name in SHED if said[name] is None}
    return replace(previous, **left_out)


def _refuse_in_container(fields: Mapping[str, Any], old: DomainConfig) -> None:
    new = {name: value for name, value in fields.items() if value is not None and name != "consoles"}
    asked = sorted(name for name, value in new.items() if value != getattr(old, name))
    if asked:
        raise CannotResolveError(
            "Unsupported", f"a container has no hardware of its own: take out {', '.join(asked)}"
        )


def _agent(spec: VirtualMachineSpec) -> bool | None:
    """A machine that is ready when its agent answers needs the channel that it answers on."""
    asked = spec.readiness is not None and spec.readiness.agent
    return True if spec.agent is None and asked else spec.agent


def _tpm(tpm: Tpm | None) -> str | None:
    if tpm is None:
        return None
    if tpm.device is not None:
        return f"passthrough:{tpm.device}"
    return f"emulator:{tpm.version}" if tpm.version else "emulator"


def _features(cpu: Cpu | None) -> tuple[str, ...] | None:
    if cpu is None or cpu.features is None:
        return None
    return tuple(sorted(f"{feature.name}={feature.policy}" for feature in cpu.features))


def _pinning(cpu: Cpu | None) -> tuple[str, ...] | None:
    if cpu is None or (cpu.pinning is None and cpu.emulator_pinning is None):
        return None
    pins = [f"{number}={where}" for number, where in sorted((cpu.pinning or {}).items())]
    return (*pins, *([f"emulator={cpu.emulator_pinning}"] if cpu.emulator_pinning is not None else ()))


def _topology(cpu: Cpu | None, most: int, old: Topology | None) -> Topology | None:
    """The parts that are said; the first that is not takes what is left of the machine's cpus."""
    if cpu is None or not cpu.has_topology:
        return None
    said = {name: getattr(cpu, name) for name in ("sockets", "cores", "threads", "dies")}
    if old is not None and said == {name: getattr(old, name) for name in said}:
        return old
    open_parts = [name for name, count in said.items() if count is None]
    product = 1
    for count in said.values():
        product *= count or 1
    rest, remainder = divmod(most, product)
    if remainder or (rest != 1 and not open_parts):
        told = " x ".join(f"{count} {name}" for name, count in said.items() if count is not None)
        raise CannotResolveError(
            "TopologyMismatch", f"cpu: {told} does not make the {most} cpus that it can have (maxCpus)"
        )
    counts = {name: count or 1 for name, count in said.items()}
    if open_parts:
        counts[open_parts[0]] = rest
    return Topology(**counts)


def _graphics(wanted: tuple[Graphics, ...] | None) -> tuple[GraphicsConfig, ...] | None:
    """Screens listen on the loopback address unless the manifest says otherwise."""
    if wanted is None:
        return None
    return tuple(GraphicsConfig(one.type, one.listen or LOOPBACK, one.port) for one in wanted)


def _cdroms(
    spec: VirtualMachineSpec, config: DomainConfig, previous: DomainConfig | None, taken: frozenset[str]
) -> tuple[CdromConfig, ...] | None:
    if spec.cdroms is None:
        return None
    old = {drive.name: drive for drive in (previous.cdroms if previous else None) or () if drive.name}
    busy = {*taken, *(disk.target for disk in config.disks or ()), *(drive.target for drive in old.values())}
    if previous is not None and previous.seed is not None:
        busy.add(previous.seed.target)
    drives = []
    for drive in spec.cdroms:
        known = old.get(drive.name)
        bus = drive.bus or (known.bus if known else _bus(config))
        if known is not None and known.target.startswith(_PREFIXES.get(bus, "?")):
            target = known.target
        else:
            target = next(name for name in _targets(_PREFIXES[bus]) if name not in busy)
            busy.add(target)
        drives.append(CdromConfig(target, bus, drive.path, drive.name))
    return tuple(sorted(drives, key=lambda drive: (len(drive.target), drive.target)))


def _targets(prefix: str) -> Iterator[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    yield from (prefix + letter for letter in letters)
    yield from (prefix + first + second for first in letters for second in letters)


def _bus(config: DomainConfig) -> str:
    """What firmware and installers of all systems can read; machines that are no PCs have neither."""
    return "sata" if config.arch in (None, "x86_64", "i686") else "scsi"


def _limited(config: DomainConfig, previous: DomainConfig | None) -> Any:
    """Limits that were applied and are said no more are lifted; likewise `read_only`."""
    if config.disks is None or previous is None:
        return config.disks
    old = {disk.target: disk for disk in previous.disks or ()}
    return tuple(
        replace(
            disk,
            limits=disk.limits or (_NO_LIMITS if known.limits is not None else None),
            read_only=False if disk.read_only is None and known.read_only is not None else disk.read_only,
        )
        if (known := old.get(disk.target)) is not None
        else disk
        for disk in config.disks
    )


def _boot(spec: VirtualMachineSpec, config: DomainConfig) -> tuple[str, ...] | None:
    """Keys of the devices that the manifest names; a name of both sorts means the disk."""
    if spec.boot is None:
        return None
    interfaces = zip(
        (interface_name(one, at) for at, one in enumerate(spec.interfaces)),
        config.interfaces or (),
        strict=False,
    )
    keys = {name: interface.mac for name, interface in interfaces}
    keys |= {drive.name: drive.target for drive in config.cdroms or () if drive.name}
    keys |= {disk.name: disk.target for disk in config.disks or () if disk.name}
    return tuple(keys[name] for name in spec.boot if name in keys)


def _refuse_contradictions(config: DomainConfig, old: DomainConfig, observed: ObservedHost) -> None:
    """What only shows once the sizes and the host are known. What is so already is libvirt's business."""
    if config.pinning != old.pinning or config.max_cpus != old.max_cpus:
        _refuse_pinning(config, observed)
    if config.numa != old.numa or config.max_memory != old.max_memory or config.max_cpus != old.max_cpus:
        _refuse_numa(config)


def _refuse_pinning(config: DomainConfig, observed: ObservedHost) -> None:
    most = config.max_cpus or 1
    for pin in config.pinning or ():
        cpu, _, where = pin.partition("=")
        if cpu != "emulator" and int(cpu) >= most:
            _refuse("PinningMismatch", f"cpu.pinning names cpu {cpu}, and it has {most} at most (from 0)")
        if observed.cpus and max(members(where), default=0) >= observed.cpus:
            _refuse("PinningMismatch", f"cpu.pinning names cpus {where}; {observed.name} has {observed.cpus}")


def _refuse_numa(config: DomainConfig) -> None:
    if not config.numa:
        return
    most = config.max_cpus or 1
    total = sum(cell.memory for cell in config.numa)
    listed = sorted(cpu for cell in config.numa for cpu in members(cell.cpus))
    if total != config.max_memory:
        told = (
            f"its cells have {format_size(total)}, and it {format_size(config.max_memory or 0)} (maxMemory)"
        )
        _refuse("NumaMismatch", told)
    if listed != list(range(most)):
        _refuse("NumaMismatch", f"its cells must list each of the {most} cpus (from 0) once")


def _refuse(reason: str, message: str) -> None:
    raise CannotResolveError(reason, message)
