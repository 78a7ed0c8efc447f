"""The reference in the documents is the one that this version prints."""

from __future__ import annotations

from pathlib import Path

from reconciler.desired.reference import reference

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference.md"


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text() == reference(), "reconciler schema -o markdown > docs/reference.md"


def test_every_field_is_explained() -> None:
    bare = [line for line in reference().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert bare == []
