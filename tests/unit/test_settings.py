"""What children get of our environment."""

from __future__ import annotations

import pytest

from reconciler.settings import utf8_locale


@pytest.mark.parametrize(
    ("variables", "added"),
    [
        ({}, {"LC_ALL": "C.UTF-8"}),
        ({"LANG": "de_DE.UTF-8"}, {}),
        ({"LANG": "C.utf8"}, {}),
        ({"LANG": "de_DE.ISO-8859-1"}, {"LC_ALL": "C.UTF-8"}),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}),
        ({"LANG": "de_DE.UTF-8", "LC_CTYPE": "POSIX"}, {"LC_ALL": "C.UTF-8"}),
    ],
)
def test_ansible_always_gets_a_locale_that_it_takes(
    variables: dict[str, str], added: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert utf8_locale() == added
