"""The domain XML reader: a corpus of varied domains, and what must hold for any.

After a deliberate change, write the expected files anew and read the difference:

    python tests/property/test_domain_xml.py --regenerate
"""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.domain import CONFIG_JSON, Applied, DiskConfig, DomainConfig, InterfaceConfig
from reconciler.observed.domain_xml import DomainXmlError, parse_domain, parse_memory

CASES = Path(__file__).parent.parent / "cases" / "domain_xml"
FILES = sorted([*CASES.glob("*.xml"), *CASES.glob("ours/*.xml")])
OWNER = "default"
UUID = "0b6f1f7c-5a57-4b0e-8f7e-0a4a1d2a9a99"


def as_json(xml_file: Path) -> str:
    """What was read; a field that is as if it had not been there is left out."""
    parsed = parse_domain(xml_file.read_text(), OWNER)
    shown = {"config": _set_fields(parsed.config), "foreign_owner": parsed.foreign_owner}
    if parsed.applied is not None:
        shown["applied"] = asdict(parsed.applied) | {"config": _set_fields(parsed.applied.config)}
    return json.dumps(shown, indent=2, default=str) + "\n"


def _set_fields(config: DomainConfig) -> object:
    return json.loads(CONFIG_JSON.dump_json(config, exclude_defaults=True))


@pytest.mark.parametrize("xml_file", FILES, ids=lambda path: path.stem)
def test_corpus(xml_file):
    expected = xml_file.with_suffix(".json")
    assert expected.exists(), f"regenerate: {expected.name} is missing"
    assert json.loads(as_json(xml_file)) == json.loads(expected.read_text())


def test_every_field_is_exercised_by_the_corpus():
    seen: dict[str, set[str]] = {}
    for xml_file in CASES.rglob("*.xml"):
        for name, value in asdict(parse_domain(xml_file.read_text(), OWNER).config).items():
            seen.setdefault(name, set()).add(json.dumps(value))
    # libvirt keeps autostart outside the XML.
    assert {name for name, values in seen.items() if len(values) < 2} == {"autostart"}


@pytest.mark.parametrize(
    ("text", "unit", "size"),
    [
        ("3", None, 3 << 10),
        ("3", "b", 3),
        ("3", "bytes", 3),
        ("3", "k", 3 << 10),
        ("3", "KB", 3000),
        ("3", "KiB", 3 << 10),
        ("3", "M", 3 << 20),
        ("3", "MB", 3_000_000),
        ("3", "GiB", 3 << 30),
        ("3", "GB", 3 * 10**9),
        ("3", "TiB", 3 << 40),
        ("3", "t", 3 << 40),
        ("3", "furlong", None),
        ("three", "KiB", None),
        ("", "KiB", None),
        (None, "KiB", None),
    ],
)
def test_memory_units(text, unit, size):
    assert parse_memory(text, unit) == size


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<domain",
        "<network/>",
        "<!DOCTYPE domain [<!ENTITY a 'b'>]><domain><name>&a;</name></domain>",
        "<domain>\ud800</domain>",
    ],
)
def test_what_is_no_domain_is_refused(xml):
    with pytest.raises(DomainXmlError):
        parse_domain(xml, OWNER)


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
TAGS = """
name memory vcpu os type loader metadata devices disk interface source target driver mac model serial
console description weird {urn:x}y cpu feature topology numa cell cputune vcpupin emulatorpin numatune
memoryBacking hugepages page tpm backend watchdog channel rng video graphics listen filesystem hostdev
address vendor product boot driver iotune total_bytes_sec readonly firmware
"""
tags = st.sampled_from(TAGS.split())
ATTRIBUTES = """
type unit current dev bus device address network file x mode name policy cores id cpus memory cpuset size
nodeset version model action port listen dir slot domain order enabled secure
"""
attributes = st.dictionaries(
    st.sampled_from(ATTRIBUTES.split()),
    words,
    max_size=3,
)


def _element(tag, attrs, text, inner):
    name, declared = ("y", " xmlns='urn:x'") if tag.startswith("{") else (tag, "")
    spelled = "".join(f" {key}={quoteattr(value)}" for key, value in attrs.items())
    return f"<{name}{declared}{spelled}>{escape(text)}{''.join(inner)}</{name}>"


def elements(children):
    return st.builds(
        _element,
        tags,
        attributes,
        words,
        st.lists(children, max_size=4),
    )


@given(st.lists(st.recursive(words.map(escape), elements, max_leaves=20), max_size=6))
def test_whatever_stands_in_a_domain_never_raises(parts):
    parsed = parse_domain(f"<domain type='kvm'>{''.join(parts)}</domain>", OWNER)
    assert parsed.applied is None


sizes = st.integers(min_value=1, max_value=1 << 50)
disks = st.builds(
    DiskConfig,
    target=st.sampled_from(["vda", "vdb", "vdc"]),
    bus=st.just("virtio"),
    path=words,
    format=st.sampled_from(["qcow2", "raw"]),
    size=st.none() | sizes,
    name=words,
)
interfaces = st.builds(
    InterfaceConfig,
    mac=st.sampled_from(["52:54:00:00:00:01", "52:54:00:00:00:02"]),
    network=words,
    bridge=st.none(),
    model=st.none() | words,
    name=words,
)
configs = st.builds(
    DomainConfig,
    name=words,
    uuid=st.just(UUID),
    virt_type=st.none() | words,
    cpus=st.none() | st.integers(1, 512),
    memory=st.none() | sizes,
    disks=st.lists(disks, unique_by=lambda disk: disk.target, max_size=3).map(
        lambda some: tuple(sorted(some, key=lambda disk: disk.target))
    ),
    interfaces=st.lists(interfaces, unique_by=lambda nic: nic.mac, max_size=2).map(tuple),
    description=st.none() | words,
    template=st.none() | words,
)
marks = st.builds(
    Applied,
    owner=st.just(OWNER),
    uid=st.just(UUID),
    name=words,
    generation=st.integers(1, 10**9),
    spec_hash=words,
    config=configs,
    image=words,
    deletion_policy=st.sampled_from(["Retain", "Delete"]),
    protect=st.booleans(),
    stop_timeout=st.integers(0, 10**6),
)


def marked(applied, devices=""):
    attrs = {
        "owner": applied.owner,
        "uid": applied.uid,
        "name": applied.name,
        "generation": str(applied.generation),
        "hash": applied.spec_hash,
        "image": applied.image,
        "deletionPolicy": applied.deletion_policy,
        "protect": str(applied.protect).lower(),
        "stopTimeout": str(applied.stop_timeout),
    }
    spelled = "".join(f" {key}={quoteattr(value)}" for key, value in attrs.items())
    text = escape(CONFIG_JSON.dump_json(applied.config).decode())
    mark = f"<r:vm xmlns:r='urn:reconciler:vm:v1'{spelled}>{text}</r:vm>"
    return (
        f"<domain type='kvm'><name>n</name><uuid>{UUID}</uuid><metadata>{mark}</metadata>"
        f"<devices>{devices}</devices></domain>"
    )


def disk_xml(disk):
    return (
        f"<disk type='file' device='disk'><driver type='{disk.format}'/><source file={quoteattr(disk.path)}/>"
        f"<target dev='{disk.target}' bus='{disk.bus}'/></disk>"
    )


def interface_xml(nic):
    model = f"<model type={quoteattr(nic.model)}/>" if nic.model is not None else ""
    return (
        f"<interface type='network'><mac address='{nic.mac}'/><source network={quoteattr(nic.network)}/>"
        f"{model}</interface>"
    )


@given(marks)
def test_a_mark_reads_back_as_it_was_written(applied):
    assert parse_domain(marked(applied), OWNER).applied == applied


@given(marks, st.text(min_size=1, max_size=5).filter(lambda owner: owner != OWNER))
def test_a_mark_of_another_owner_is_none(applied, owner):
    parsed = parse_domain(marked(applied), owner)
    assert (parsed.applied, parsed.foreign_owner) == (None, OWNER)
    assert parsed.config.template is None


@given(marks)
def test_devices_that_are_as_pushed_equal_what_was_pushed(applied):
    devices = "".join(map(disk_xml, applied.config.disks)) + "".join(
        map(interface_xml, applied.config.interfaces)
    )
    config = parse_domain(marked(applied, devices), OWNER).config
    assert config.disks == applied.config.disks
    assert config.interfaces == applied.config.interfaces
    assert config.template == applied.config.template


@given(marks, disks)
def test_a_size_is_believed_only_of_the_disk_it_was_pushed_for(applied, moved):
    elsewhere = replace(moved, path=moved.path + "-moved")
    known = {disk.target: disk for disk in applied.config.disks}
    (seen,) = parse_domain(marked(applied, disk_xml(elsewhere)), OWNER).config.disks
    same = known.get(moved.target)
    if same is None:
        assert (seen.name, seen.size) == (None, None)
    else:
        assert seen.name == same.name
        assert seen.size == (same.size if same.path == elsewhere.path else None)


if __name__ == "__main__" and "--regenerate" in sys.argv:
    for case in FILES:
        case.with_suffix(".json").write_text(as_json(case))
