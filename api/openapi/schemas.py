"""Every named schema of the document: those of resources, and those that the model gives."""

from __future__ import annotations

from typing import Any

from api.schemas import SCHEMAS, Schema, listing, ref
from reconciler.desired.schema import json_schema
from reconciler.model.manifest import KINDS
from reconciler.model.plan import PLAN_JSON

_PREFIX = "#/components/schemas/"


def components() -> dict[str, Schema]:
    """All of them by name, those of manifests first.

    Raises:
        ValueError: Two have the same name.
    """
    manifests, plans = _manifests(), _plans()
    lists = {f"{kind}List": listing(kind) for kind in KINDS}
    found: dict[str, Schema] = {}
    for part in (manifests, lists, plans, SCHEMAS):
        twice = found.keys() & part.keys()
        if twice:
            raise ValueError(f"several schemas are called {', '.join(sorted(twice))}")
        found |= part
    return found


def _manifests() -> dict[str, Schema]:
    """The kinds and what they are made of, each kind with a status that is ignored in what is sent."""
    found: dict[str, Schema] = _moved(json_schema()["$defs"], "")
    for kind in KINDS:
        about = "How it is, where it is known; ignored in what is sent."
        status = {"type": "object", "readOnly": True, "description": about}
        if f"{kind}Status" in SCHEMAS:
            status = {**ref(f"{kind}Status"), "readOnly": True, "description": about}
        found[kind]["properties"]["status"] = status
    return found


def _plans() -> dict[str, Schema]:
    whole = PLAN_JSON.json_schema()
    parts = _moved(whole.pop("$defs", {}), "Plan.")
    return {
        "Plan": _moved(whole, "Plan."),
        **{f"Plan.{name}": each for name, each in parts.items()},
    }


def _moved(value: Any, prefix: str) -> Any:
    """A copy whose references lead to the components, without generated titles."""
    if isinstance(value, list):
        return [_moved(each, prefix) for each in value]
    if not isinstance(value, dict):
        return value
    made = {
        key: _moved(each, prefix)
        for key, each in value.items()
        if not (key == "title" and isinstance(each, str))
    }
    target = made.get("$ref")
    if isinstance(target, str) and target.startswith("#/$defs/"):
        made["$ref"] = f"{_PREFIX}{prefix}{target.removeprefix('#/$defs/')}"
    mapping = made.get("discriminator", {})
    if isinstance(mapping, dict) and isinstance(mapping.get("mapping"), dict):
        made["discriminator"] = mapping | {
            "mapping": {
                name: f"{_PREFIX}{prefix}{str(each).removeprefix('#/$defs/')}"
                for name, each in mapping["mapping"].items()
            }
        }
    return made
