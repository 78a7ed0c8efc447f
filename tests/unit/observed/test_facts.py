"""Facts about a host, from its capabilities."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from reconciler.observed.facts import _uuid

OWN = "4c4c4544-0042-3510-8052-b4c04f564433"


@pytest.mark.parametrize(
    ("told", "known"),
    [
        (f"<uuid>{OWN.upper()}</uuid>", OWN),
        ("", ""),
        ("<uuid/>", ""),
        ("<uuid>00000000-0000-0000-0000-000000000000</uuid>", ""),
        ("<uuid>FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF</uuid>", ""),
        ("<uuid>03000200-0400-0500-0006-000700080009</uuid>", ""),
    ],
)
def test_a_uuid_that_many_boards_have_is_none(told: str, known: str) -> None:
    assert _uuid(ET.fromstring(f"<capabilities><host>{told}</host></capabilities>")) == known
