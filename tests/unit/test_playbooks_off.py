"""Playbooks of machines are code of the repository: they can be switched off."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from reconciler.cli.playbooks import MachinePlaybooks


class _Untouched:
    """Fails whoever asks it for anything."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was used")


def test_nothing_is_run_asked_or_laid_out_while_they_are_off() -> None:
    nobody = cast("Any", _Untouched())
    task = cast("Any", SimpleNamespace(playbook="site.yml"))
    result = MachinePlaybooks(nobody, nobody, nobody, enabled=False)(task)
    assert (result.ok, result.reason) == (False, "ProvisionDisabled")
    assert "provision.enabled is false" in result.message
