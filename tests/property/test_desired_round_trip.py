"""What we write, we read back as the same; what anybody writes, we read or refuse, and never crash."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reconciler.desired.decode import SharedParts, decode_data, decode_text
from reconciler.desired.schema import json_schema
from reconciler.desired.writer import to_plain, to_yaml
from reconciler.desired.yaml_file import documents, is_text, to_data
from reconciler.errors import DesiredStateError, Problem
from reconciler.model.envelope import Metadata
from reconciler.model.manifest import (
    AntiAffinity,
    Console,
    ExtraDisk,
    Firmware,
    InstanceType,
    InstanceTypeSpec,
    Interface,
    Object,
    Placement,
    Policy,
    RootDisk,
    RunStrategy,
    Spread,
    UpdatePolicy,
    VirtualMachine,
    VirtualMachineSpec,
)
from reconciler.model.storage import DeletionPolicy, DiskBus, DiskFormat, Image, ImageSpec

# Words that some reader of YAML takes for something else than text.
WORDS = """true yes off null ~ 1 010 1e3 1.10 0x1f 1_0 52:54:00:12:34:56 2024-01-01 = << - : # & * ! % @ `
{{x}} .inf ]]>"""
SPACED = [
    "",
    " ",
    "a: b",
    "- a",
    "a #b",
    "'",
    '"',
    "\\",
    "\n",
    "a\n b\n",
    "\ttab",
    "é",
    "\u2028",
    "\x85",
    "\U0001f600",
]
TRICKY = st.sampled_from([*WORDS.split(), *SPACED])
texts = st.one_of(TRICKY, st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
words = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
names = st.one_of(
    words,
    st.text(
        st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="/"), min_size=1, max_size=20
    ),
).filter(lambda name: name[0] not in ".-" and name == name.strip())
labels = st.dictionaries(texts, texts, max_size=3)
sizes = st.one_of(st.integers(1, 1 << 50), st.sampled_from([1 << 20, 3 << 29, 1 << 30, 10**9]))
macs = st.integers(0, (1 << 40) - 1).map(lambda number: (0x52 << 40 | number).to_bytes(6, "big").hex(":"))
absent = st.none()


def printable(text: str) -> bool:
    return all(ord(c) >= 32 or c in "\t\n" for c in text) and not any(c in "￾￿" for c in text)


selectors = st.dictionaries(texts, texts, min_size=1, max_size=2)
placements = st.builds(
    Placement,
    host=absent | names,
    host_selector=labels,
    anti_affinity=st.lists(
        st.builds(AntiAffinity, selector=selectors, over=texts, policy=st.sampled_from(Policy)), max_size=2
    ).map(tuple),
    spread=st.lists(
        st.builds(Spread, selector=selectors, max_skew=st.integers(1, 9), policy=st.sampled_from(Policy)),
        max_size=1,
    ).map(tuple),
)
root_disks = st.one_of(
    st.builds(
        RootDisk,
        size=absent | sizes,
        pool=absent | names,
        bus=st.sampled_from(DiskBus),
        format=st.sampled_from(DiskFormat),
    ),
    texts.map(lambda text: RootDisk(path="/" + text)),
)
extra_disks = st.builds(
    ExtraDisk, name=words.filter(lambda name: name != "root"), size=sizes, bus=st.sampled_from(DiskBus)
)
interfaces = st.one_of(
    st.builds(Interface, name=absent | words, network=names, mac=absent | macs),
    st.builds(Interface, bridge=names, model=words),
)


def unique(strategy: st.SearchStrategy, *fields: str) -> st.SearchStrategy:  # type: ignore[type-arg]
    def key(field: str) -> object:
        return lambda item: getattr(item, field) or object()

    return st.lists(strategy, max_size=2, unique_by=tuple(key(field) for field in fields)).map(tuple)  # type: ignore[arg-type]


specs = st.builds(
    VirtualMachineSpec,
    instance_type=names,
    cpus=absent | st.integers(1, 64),
    memory=absent | st.integers(1 << 20, 1 << 45),
    root_disk=absent | root_disks,
    disks=unique(extra_disks, "name"),
    interfaces=unique(interfaces, "name", "mac"),
    firmware=absent | st.sampled_from(Firmware),
    console=absent | st.sampled_from(Console),
    description=absent | texts.filter(printable),
    autostart=absent | st.booleans(),
    run_strategy=st.sampled_from(RunStrategy),
    placement=placements,
    update_policy=st.sampled_from(UpdatePolicy),
    deletion_policy=st.sampled_from(DeletionPolicy),
    stop_timeout=st.integers(0, 10**7),
    protect=st.booleans(),
    ignore=st.lists(words, max_size=2).map(tuple),
    xml_template=absent | texts,
)
metadata = st.builds(Metadata, name=names, labels=labels, annotations=labels)
objects: st.SearchStrategy[Object] = st.one_of(
    st.builds(VirtualMachine, metadata=metadata, spec=specs),
    st.builds(
        InstanceType,
        metadata=metadata,
        spec=st.builds(
            InstanceTypeSpec, cpus=st.integers(1, 64), memory=sizes, root_disk_size=absent | sizes
        ),
    ),
    st.builds(
        Image, metadata=metadata, spec=st.builds(ImageSpec, path=texts, format=st.sampled_from(DiskFormat))
    ),
)


@given(objects)
@settings(max_examples=150, deadline=None)
def test_what_is_written_reads_back_the_same(one: Object) -> None:
    written = to_yaml(one)
    assert decode_text(written, "f.yaml") == (one,)
    assert to_yaml(decode_text(written, "f.yaml")[0]) == written


@given(st.lists(objects, min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_several_documents_and_shared_parts_change_nothing(many: list[Object]) -> None:
    text = "---\n".join(to_yaml(one) for one in many)
    assert decode_text(text, "f.yaml") == tuple(many)
    pool = SharedParts()
    assert [decode_data(to_plain(one), pool)[0] for one in many * 2] == many * 2


@given(objects)
@settings(max_examples=60, deadline=None)
def test_the_schema_accepts_what_is_written(one: Object) -> None:
    import jsonschema  # noqa: PLC0415

    (document,) = documents(to_yaml(one).encode(), "f.yaml")
    jsonschema.Draft202012Validator(json_schema()).validate(to_data(document, []))


@given(texts)
@settings(max_examples=200)
def test_text_that_counts_as_text_is_read_as_text(text: str) -> None:
    if is_text(text) and text.isalnum():
        (document,) = documents(f"a: {text}\n".encode(), "f.yaml")
        assert to_data(document, []) == {"a": text}


@given(
    st.one_of(st.binary(max_size=60), st.text("{}[]:-*&!|>'\"#%@`?,\n\t ab~<0", max_size=60).map(str.encode))
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    problems: list[Problem] = []
    try:
        for document in documents(content, "f.yaml"):
            to_data(document, problems)
    except DesiredStateError as error:
        problems += error.problems
    for problem in problems:
        assert problem.file == "f.yaml"
        assert problem.message
        assert problem.line >= 1


FIELDS = "apiVersion kind metadata spec name labels cpus memory disks interfaces rootDisk x"
fields = st.sampled_from(FIELDS.split(" "))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["reconciler/v1", "VirtualMachine", "1Gi"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(fields, values, max_size=4), st.sampled_from(["VirtualMachine", "InstanceType", "Image"])
)
@settings(max_examples=150, deadline=None)
def test_any_data_becomes_a_manifest_or_sentences(data: dict[str, object], kind: str) -> None:
    made, mistakes = decode_data({"apiVersion": "reconciler/v1", **data, "kind": kind}, SharedParts())
    assert (made is None) == bool(mistakes)
    jargon = ("Input should", "valid", "pydantic", "dict", "NoneType", "[type=")
    for mistake in mistakes:
        assert not any(word in mistake.message for word in jargon), mistake


def test_the_strategies_make_what_the_model_allows() -> None:
    with pytest.raises(ValidationError):
        RootDisk(path="relative")
