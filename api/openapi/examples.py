"""Examples of bodies, and the curl command of an operation."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

Document = Mapping[str, Any]

EXAMPLES: dict[str, dict[str, Any]] = {
    "VirtualMachine": {
        "metadata": {"name": "web-1", "labels": {"app": "web"}},
        "spec": {"instanceType": "small", "image": "debian-13", "interfaces": [{"network": "default"}]},
    },
    "InstanceType": {"metadata": {"name": "small"}, "spec": {"cpus": 1, "memory": "1Gi"}},
    "Image": {
        "metadata": {"name": "debian-13"},
        "spec": {"path": "/var/lib/libvirt/images/debian-13.qcow2"},
    },
    "StoragePool": {
        "metadata": {"name": "fast"},
        "spec": {"type": "dir", "path": "/srv/fast", "hosts": {"names": ["kvm1"]}},
    },
    "Volume": {"metadata": {"name": "data"}, "spec": {"pool": "fast", "size": "20Gi"}},
    "Network": {
        "metadata": {"name": "lan"},
        "spec": {"mode": "nat", "subnet": "192.168.77.0/24"},
    },
    "VirtualMachinePool": {
        "metadata": {"name": "runners"},
        "spec": {
            "size": {"max": 10, "warm": 2},
            "template": {"spec": {"instanceType": "small", "image": "debian-13"}},
        },
    },
}
"""Of each kind, without what every manifest begins with."""

_DEPTH = 6


def manifest(kind: str) -> dict[str, Any] | None:
    """A whole manifest, or None: there is no example of this kind."""
    found = EXAMPLES.get(kind)
    return {"apiVersion": "reconciler/v1", "kind": kind, **found} if found else None


def example(schema: Mapping[str, Any], document: Document, depth: int = 0) -> Any:
    """Something that fits a schema: its own example, or the simplest thing of its type."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return manifest(name) or example(document["components"]["schemas"].get(name, {}), document, depth)
    for known in ("example", "const", "default"):
        if known in schema:
            return schema[known]
    for several in ("examples", "enum"):
        if schema.get(several):
            return schema[several][0]
    for options in ("oneOf", "anyOf", "allOf"):
        if schema.get(options):
            return example(schema[options][0], document, depth)
    return _simplest(schema, document, depth)


def _simplest(schema: Mapping[str, Any], document: Document, depth: int) -> Any:
    kind = schema.get("type")
    if kind == "object" and depth < _DEPTH:
        properties = schema.get("properties", {})
        names = schema.get("required") or list(properties)[:4]
        return {name: example(properties.get(name, {}), document, depth + 1) for name in names}
    plain: dict[object, Any] = {"object": {}, "array": [], "integer": 1, "number": 1, "boolean": True}
    return plain.get(kind, "text")


def curl(method: str, path: str, operation: Mapping[str, Any], document: Document) -> str:
    """The command that asks for an operation, with a token from a file and every name an example."""
    shared = document["paths"][path].get("parameters", [])
    parameters = [*shared, *operation.get("parameters", [])]
    named = {one["name"]: one for one in parameters if one["in"] == "path"}

    def value(found: re.Match[str]) -> str:
        one = named[found[1]]
        return quote(str(one.get("example") or example(one.get("schema", {}), document)), safe="")

    url = "$SERVER" + re.sub(r"\{(\w+)\}", value, path)
    asked = [one for one in parameters if one["in"] == "query" and one.get("required")]
    if asked:
        url += "?" + "&".join(
            f"{one['name']}={quote(str(example(one['schema'], document)), safe='')}" for one in asked
        )
    parts = ["curl"]
    if method not in ("get", "post") or (method == "post" and "requestBody" not in operation):
        parts.append(f"-X {method.upper()}")
    if operation.get("security") != []:
        parts.append('-H "Authorization: Bearer $(cat ~/.config/reconciler/token)"')
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        media, about = next(iter(body.items()))
        parts.append(f"-H 'Content-Type: {media}'")
        told = json.dumps(example(about.get("schema", {}), document), ensure_ascii=True)
        parts.append(f"-d {shlex.quote(told)}")
    parts.append(f'"{url}"')
    return " \\\n  ".join([" ".join(parts[:2]), *parts[2:]])
