"""Every rendered domain is what it was, fits libvirt's schema, and can be defined.

``UPDATE_GOLDEN=1 pytest tests/contract/test_push_render.py`` writes the expected files anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
import yaml
from push_world import node

from reconciler.errors import RenderError
from reconciler.model.domain import (
    CONFIG_JSON,
    METADATA_NAMESPACE,
    Applied,
    DiskConfig,
    DomainConfig,
    InterfaceConfig,
)
from reconciler.model.operations import CreateVolume
from reconciler.push.render import HostTraits, render_domain, render_volume
from reconciler.push.template import UserTemplate

FOLDER = Path(__file__).parents[1] / "cases" / "render"
CASES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}


def _inputs(case: dict[str, Any]) -> tuple[DomainConfig, Applied, HostTraits, UserTemplate | None]:
    raw = dict(case["config"])
    for interface in raw.get("interfaces") or ():
        interface.setdefault("network", None)
        interface.setdefault("bridge", None)
    config = CONFIG_JSON.validate_python(raw)
    extra = {"generation": 1, **case.get("applied", {})}
    applied = Applied(
        owner="default", uid=config.uuid, name=config.name, spec_hash="0" * 32, config=config, **extra
    )
    template = UserTemplate(**case["template"]) if "template" in case else None
    return config, applied, HostTraits(**case.get("traits", {})), template


@pytest.fixture(scope="module")
def conn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[libvirt.virConnect]:
    with node(tmp_path_factory.mktemp("node")) as conn:
        yield conn


@pytest.mark.parametrize("name", CASES)
def test_the_xml_is_what_it_was(name: str) -> None:
    xml = render_domain(*_inputs(CASES[name]))
    expected = FOLDER / f"{name}.xml"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(xml)
    assert xml == expected.read_text()


@pytest.mark.parametrize("name", CASES)
def test_the_xml_fits_libvirts_schema(name: str, conn: libvirt.virConnect) -> None:
    xml = render_domain(*_inputs(CASES[name]))
    # An element that no schema knows shows whether the schema is looked at: that comes before anything else.
    unknown = xml.replace("</domain>", "<nonsense/></domain>")
    assert _refusal(conn, unknown) == libvirt.VIR_ERR_XML_INVALID_SCHEMA
    # What the test driver cannot run is the next test's matter.
    assert _refusal(conn, xml) != libvirt.VIR_ERR_XML_INVALID_SCHEMA


def _refusal(conn: libvirt.virConnect, xml: str) -> int | None:
    try:
        conn.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefine()
    except libvirt.libvirtError as error:
        return int(error.get_error_code())
    return None


@pytest.mark.parametrize("name", CASES)
def test_libvirt_defines_it_and_keeps_what_was_meant(name: str, conn: libvirt.virConnect) -> None:
    config, applied, traits, template = _inputs(CASES[name])
    config = replace(config, virt_type="test", arch=None, machine=None)
    domain = conn.defineXMLFlags(render_domain(config, applied, traits, template), 0)
    try:
        assert (domain.name(), domain.UUIDString()) == (config.name, config.uuid)
        assert domain.maxMemory() * 1024 >= (config.max_memory or config.memory or 0)
        assert domain.vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_CONFIG) == config.cpus
        if config.description:
            found = domain.metadata(
                libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG
            )
            assert found == config.description
        mark = domain.metadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA_NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
        )
        assert f'uid="{config.uuid}"' in mark
    finally:
        domain.undefine()


def test_every_modelled_field_is_in_some_case() -> None:
    seen: set[str] = set()
    for case in CASES.values():
        config, applied, _, _ = _inputs(case)
        for part in (config, applied, *(config.disks or ()), *(config.interfaces or ())):
            seen |= {
                f"{type(part).__name__}.{field.name}"
                for field in fields(part)
                if getattr(part, field.name) != (None if field.default is MISSING else field.default)
            }
    everything = {
        f"{kind.__name__}.{field.name}"
        for kind in (DomainConfig, Applied, DiskConfig, InterfaceConfig)
        for field in fields(kind)
    }
    assert everything - seen == set()


def test_the_cases_have_no_leftovers() -> None:
    assert {path.stem for path in FOLDER.glob("*.xml")} == CASES.keys()


def test_an_overlay_leaves_to_the_host_what_only_the_host_knows() -> None:
    xml = render_volume(CreateVolume("default", "w.qcow2", "qcow2", None, "base.qcow2", "qcow2"))
    assert "<capacity" not in xml
    assert "<path />" in xml


def test_a_mark_for_another_machine_never_leaves() -> None:
    config, applied, traits, _ = _inputs(CASES["minimal"])
    with pytest.raises(RenderError, match="uid"):
        render_domain(config, replace(applied, uid="22222222-0000-4000-8000-000000000001"), traits)
