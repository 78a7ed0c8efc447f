"""What we render comes back from real libvirt as it was meant: defined, and running, with QEMU and LXC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
import yaml
from support.round_trip import differences, observed, rendered
from support.world import World

from reconciler.model.domain import CONFIG_JSON, DomainConfig, ObservedDomain
from reconciler.model.parts import NumaCell

CASES = Path(__file__).parents[1] / "cases/render"
UNDEFINE = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM


def configs(kind: str) -> list[Any]:
    """The render cases of this domain type, without a template and an architecture that is not here."""
    found = []
    for path in sorted(CASES.glob("*.yaml")):
        case = yaml.safe_load(path.read_text())
        raw = case["config"]
        for interface in raw.get("interfaces") or ():
            interface.setdefault("network", None)
            interface.setdefault("bridge", None)
        config = CONFIG_JSON.validate_python(raw)
        if config.arch not in (None, "x86_64") or (config.virt_type == "lxc") != (kind == "lxc"):
            continue
        found.append(
            pytest.param(replace(config, virt_type=kind, template=None, autostart=None), id=path.stem)
        )
    return found


@contextmanager
def on(world: World, driver: str) -> Iterator[libvirt.virConnect]:
    uri = world.lab.host("lab1").uri.replace("qemu+", f"{driver}+", 1)
    with closing(libvirt.open(uri)) as conn:
        yield conn


def seen(conn: libvirt.virConnect, config: DomainConfig, *, start: bool) -> ObservedDomain:
    domain = conn.defineXMLFlags(rendered(config, config.virt_type or "qemu"), 0)
    try:
        if start:
            # Paused: what libvirt makes of it is to be seen, and the guest is to cost nothing.
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if config.virt_type == "qemu" else 0)
        kept = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        return observed(kept, domain.XMLDesc(0) if start else None)
    finally:
        if domain.isActive():
            domain.destroy()
        if config.virt_type == "qemu":
            domain.undefineFlags(UNDEFINE)
        else:
            domain.undefine()


def without_kvm(config: DomainConfig) -> DomainConfig:
    """The lab's hosts emulate: they have another best CPU."""
    return replace(config, cpu_model="host-model") if config.cpu_model == "host-passthrough" else config


def startable(config: DomainConfig) -> DomainConfig:
    """Without what a host has to have besides libvirt: files, folders, devices, huge pages, many cpus."""
    pins = config.pinning and ("0=0", "emulator=1")
    cells = config.numa and (NumaCell(f"0-{(config.max_cpus or 1) - 1}", config.max_memory or 0),)
    return replace(
        without_kvm(config),
        disks=(),
        seed=None,
        interfaces=tuple(one for one in config.interfaces or () if one.network == "default"),
        cpu_model="qemu64" if config.cpu_features else without_kvm(config).cpu_model,
        cpu_features=config.cpu_features and ("svm=disable",),
        pinning=pins,
        numa=cells,
        numatune=config.numatune and "preferred:0",
        hugepages=None,
        filesystems=None,
        host_devices=None,
        cdroms=config.cdroms and tuple(replace(drive, path=None) for drive in config.cdroms),
        graphics=config.graphics and tuple(one for one in config.graphics if one.type == "vnc"),
        boot=None,
    )


@pytest.mark.lab
@pytest.mark.parametrize("config", configs("qemu"))
def test_qemu_keeps_what_is_defined(config: DomainConfig, world: World) -> None:
    config = without_kvm(config)
    with on(world, "qemu") as conn:
        assert differences(None, config, seen(conn, config, start=False)) == []


@pytest.mark.lab
@pytest.mark.parametrize("config", configs("qemu"))
def test_qemu_runs_what_was_meant(config: DomainConfig, world: World) -> None:
    config = startable(config)
    with on(world, "qemu") as conn:
        assert differences(None, config, seen(conn, config, start=True)) == []


@pytest.mark.lab
@pytest.mark.parametrize("config", configs("lxc"))
@pytest.mark.parametrize("start", [False, True], ids=["defined", "running"])
def test_a_container_comes_back_as_it_was_meant(config: DomainConfig, start: bool, world: World) -> None:
    with on(world, "lxc") as conn:
        assert differences(None, config, seen(conn, config, start=start)) == []
