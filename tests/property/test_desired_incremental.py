"""Reading again gives exactly what reading for the first time gives, whatever happened in between."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.desired.source import Source, open_source
from reconciler.errors import DesiredStateError, Problem
from reconciler.model.config import SourceConfig
from reconciler.model.desired import DesiredState

ENVELOPE = "---\napiVersion: reconciler/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def document(kind: str, name: str, spec: str) -> str:
    return ENVELOPE.format(kind=kind, name=name, spec=spec)


DOCUMENTS = [
    *(document("VirtualMachine", name, "{cpus: 1, memory: 1Gi}") for name in "ab"),
    document("VirtualMachine", "a", "{cpus: 2, memory: 1Gi, interfaces: [{network: n}]}"),
    document("VirtualMachine", "c", "{instanceType: small}"),
    document(
        "VirtualMachine", "d", "{cpus: 1, memory: 1Gi, interfaces: [{network: n, mac: 52:54:00:00:00:01}]}"
    ),
    document(
        "VirtualMachine", "e", "{cpus: 1, memory: 1Gi, interfaces: [{network: n, mac: 52:54:00:00:00:01}]}"
    ),
    document("VirtualMachine", "f", "{cpus: 1, memory: 1Gi, xmlTemplate: t.j2}"),
    document("VirtualMachine", "g", "{cpus: 8, instanceType: small}"),
    document("InstanceType", "small", "{cpus: 1, maxCpus: 4, memory: 1Gi}"),
    document("InstanceType", "small", "{cpus: 1, memory: 2Gi}"),
    document("InstanceType", "small", "{cpus: one, memory: 2Gi}"),
    document("Image", "raw", "{path: t.j2, format: raw}"),
    document("VirtualMachine", "h", "{cpus: 1, memory: 1Gi, image: raw}"),
    document("Nonsense", "x", "{}"),
    "---\nbroken: [\n",
]
# Mostly right ones, so that a whole that is right is common enough.
contents = st.lists(st.sampled_from(DOCUMENTS[:2] * 3 + DOCUMENTS), max_size=3).map("".join)
edits = st.lists(
    st.dictionaries(
        st.sampled_from(["1.yaml", "2.yaml", "sub/3.yaml", "t.j2"]), st.none() | contents, max_size=3
    ),
    min_size=2,
    max_size=6,
)


def outcome(source: Source) -> DesiredState | tuple[Problem, ...]:
    try:
        return source.read()
    except DesiredStateError as error:
        return error.problems


@given(edits)
@settings(max_examples=120, deadline=None)
def test_reading_again_equals_reading_afresh(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:  # type: ignore[type-arg]
    root = tmp_path_factory.mktemp("source")
    (root / "sub").mkdir()
    config = SourceConfig(path=str(root))
    source = open_source(config, Path("/"))
    for step in steps:
        for name, content in step.items():
            if content is None:
                (root / name).unlink(missing_ok=True)
            else:
                (root / name).write_text(content)
        now = outcome(source)
        assert now == outcome(open_source(config, Path("/")))
        again = outcome(source)
        assert again is now if isinstance(now, DesiredState) else again == now


def test_a_long_walk_sees_right_and_wrong_states(tmp_path: Path) -> None:
    """Hypothesis prefers short stories; this is one long one, in which both outcomes are common."""
    chance = random.Random(7)
    config = SourceConfig(path=str(tmp_path))
    source = open_source(config, Path("/"))
    right = 0
    for _ in range(300):
        name = chance.choice(["1.yaml", "2.yaml", "3.yaml", "t.j2"])
        text = chance.choice(DOCUMENTS)
        (tmp_path / name).write_text(text) if chance.random() < 0.8 else (tmp_path / name).unlink(
            missing_ok=True
        )
        now = outcome(source)
        assert now == outcome(open_source(config, Path("/")))
        right += isinstance(now, DesiredState)
    assert 50 < right < 250
