"""Whether the desired state is right, as plain data: what `validate -o json` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reconciler.errors import DesiredStateError
from reconciler.model.desired import DesiredState

_FIELDS = ("file", "line", "column", "path", "message", "object")


def validation(read: Callable[[], DesiredState]) -> dict[str, Any]:
    """``valid``, ``problems``, and for what is valid its ``revision`` and how many there are of each kind."""
    try:
        state = read()
    except DesiredStateError as error:
        problems = [{field: getattr(one, field) for field in _FIELDS} for one in error.problems]
        return {"valid": False, "problems": problems}
    counts = {
        "machines": len(state.machines),
        "instanceTypes": len(state.instance_types),
        "images": len(state.images),
        "storagePools": len(state.pools),
        "volumes": len(state.volumes),
        "networks": len(state.networks),
        "virtualMachinePools": len(state.machine_pools),
    }
    return {"valid": True, "problems": [], "revision": state.revision, **counts}
