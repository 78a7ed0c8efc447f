"""There and back: what we render comes back as it was meant, and others' domains are taken as they are.

``tests/cases/domain_xml/libvirt`` holds domains from libvirt's own tests and documentation;
``expectations.yaml`` beside them says which of them cannot be adopted and why, and what rendering loses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
import yaml
from push_world import node
from support.round_trip import OWNER, adopted, differences, lost, observed, rendered
from test_push_render import CASES as RENDERED
from test_push_render import _inputs

from reconciler.desired.decode import decode_text
from reconciler.errors import ReconcilerError
from reconciler.model.domain import DomainConfig, ObservedDomain
from reconciler.model.host import Host, HostStatus, ObservedHost, Pool
from reconciler.model.manifest import VirtualMachine
from reconciler.observed.domain_xml import parse_domain
from reconciler.planner.blueprint import Blueprint
from reconciler.planner.resolve import domain_config
from reconciler.push.render import render_domain

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests/cases/domain_xml/libvirt"
FILES = sorted(CORPUS.glob("*.xml"))
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load((CORPUS / "expectations.yaml").read_text())
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*.yaml"))
UID = "22222222-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def conn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[libvirt.virConnect]:
    with node(tmp_path_factory.mktemp("node")) as conn:
        yield conn


def completed(path: Path, conn: libvirt.virConnect) -> str:
    """The XML as libvirt reports it; an example of its documentation is what people write."""
    text = path.read_text()
    if not path.stem.startswith("docs-"):
        return text
    text = re.sub(r"""(<domain[^>]*? ?type=)["']\w+["']""", r"\1'test'", text, count=1)
    for _ in range(2):
        text = re.sub(r"""(<type[^>]*?) (arch|machine)=["'][\w.-]+["']""", r"\1", text)
    domain = conn.defineXMLFlags(text, 0)
    try:
        return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    finally:
        domain.undefine()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_domain_of_other_people_is_adopted_as_it_is(path: Path, conn: libvirt.virConnect) -> None:
    xml = completed(path, conn)
    refusal = EXPECTED.get(path.stem, {}).get("refused")
    for domain in (observed(xml), observed(xml, live=xml)):
        if refusal is not None:
            with pytest.raises(ReconcilerError, match="cannot be adopted") as caught:
                adopted(domain)
            assert refusal in str(caught.value)
            continue
        adoption = adopted(domain)
        started = adoption.applied if domain.live else None
        marked = replace(domain, applied=adoption.applied, applied_live=started)
        assert differences(adoption.vm, adoption.applied.config, marked) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_rendering_loses_nothing_that_we_model(path: Path, conn: libvirt.virConnect) -> None:
    config = observed(completed(path, conn)).config
    back = parse_domain(rendered(config), OWNER).config
    found = lost(replace(config, autostart=None), back)
    assert sorted(found) == EXPECTED.get(path.stem, {}).get("lost", []), found


def test_the_corpus_is_large_and_its_expectations_are_about_it() -> None:
    assert len(FILES) >= 100
    assert EXPECTED.keys() <= {path.stem for path in FILES}
    assert sum("refused" in each for each in EXPECTED.values()) < len(FILES) / 4


def defined(conn: libvirt.virConnect, xml: str) -> ObservedDomain:
    """What we see of a domain that libvirt has defined and started."""
    domain = conn.defineXMLFlags(xml, 0)
    try:
        domain.create()
        kept = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        return observed(kept, domain.XMLDesc(0))
    finally:
        if domain.isActive():
            domain.destroy()
        domain.undefine()


@pytest.mark.parametrize("name", RENDERED)
def test_what_is_rendered_comes_back_as_it_was_meant(name: str, conn: libvirt.virConnect) -> None:
    config, applied, traits, template = _inputs(RENDERED[name])
    # The test driver knows one architecture, and no machine types.
    config = replace(config, virt_type="test", arch=None, machine=None, autostart=None)
    applied = replace(applied, config=config)
    domain = defined(conn, render_domain(config, applied, traits, template))
    assert domain.applied == applied
    assert differences(None, config, domain) == []


def machines() -> list[Any]:
    return [
        pytest.param(document, id=f"{path.stem}/{document.name}")
        for path in EXAMPLES
        if path.name != "reconciler.yaml"
        for document in decode_text(path.read_text(), str(path))
        if isinstance(document, VirtualMachine) and document.spec.instance_type is None
    ]


@pytest.mark.parametrize("vm", machines())
def test_every_example_comes_back_as_it_was_meant(vm: VirtualMachine, conn: libvirt.virConnect) -> None:
    vm, config = resolved(vm)
    domain = defined(conn, rendered(config, virt_type="test"))
    domain = replace(domain, host=vm.spec.placement.host or domain.host)
    assert differences(vm, config, domain) == []


def resolved(vm: VirtualMachine) -> tuple[VirtualMachine, DomainConfig]:
    """The machine, without what the test driver lacks, and what it becomes on a host that has the rest."""
    host = Host(vm.spec.placement.host or "h1", "test:///default", virt_type="test")
    root = [vm.spec.root_disk] if vm.spec.root_disk else []
    named = {disk.pool for disk in (*root, *vm.spec.disks) if disk.pool}
    pools = {name: Pool(name, "dir", f"/{name}", True, 1 << 50, 1 << 50) for name in {"default", *named}}
    seen = ObservedHost(host.name, HostStatus.READY, arch="x86_64", cpus=64, memory=1 << 40, pools=pools)
    # A disk that is a volume is one like others here: the volume's own manifest says the rest.
    disks = tuple(disk.model_copy(update={"volume": None}) for disk in vm.spec.disks)
    gone = {"image": None, "architecture": None, "machine": None, "cloud_init": None}
    spec = vm.spec.model_copy(update={**gone, "disks": disks})
    vm = vm.model_copy(update={"spec": spec})
    config = domain_config(Blueprint(vm), UID, host, seen)
    return vm, replace(config, machine=None, autostart=False if config.autostart is not None else None)
