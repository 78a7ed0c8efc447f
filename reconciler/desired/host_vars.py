"""One host's inventory variables -> `Host`, or every mistake in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from reconciler.desired.decode import validate
from reconciler.desired.host_uri import CONNECTION_VARIABLES, Wrapper, make_uri
from reconciler.desired.yaml_file import show_path
from reconciler.imports.seed import PMID, PMID_LABEL
from reconciler.model.envelope import Name
from reconciler.model.host import Host
from reconciler.model.units import Size, parse_duration

PREFIX = "reconciler_"

_URI = re.compile(r"[a-z][a-z0-9]*(\+[a-z0-9]+)?://\S*")


def _check_uri(uri: str) -> str:
    if not _URI.fullmatch(uri):
        raise ValueError(f"{uri!r} is not a libvirt URI such as qemu+ssh://root@host/system")
    return uri


def _mapping(value: object) -> object:
    """INI inventories write ``rack=r1,zone=a`` where YAML has a mapping."""
    if not isinstance(value, str):
        return value
    pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
    if not all(equals and key.strip() for key, equals, _ in pairs):
        raise ValueError(f"{value!r} is no mapping: write for example rack=r1,zone=a")
    return {key.strip(): text.strip() for key, _, text in pairs}


def _words(value: object) -> object:
    """INI inventories write ``a,b`` where YAML has a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _seconds(value: object) -> object:
    return value if isinstance(value, float) else float(parse_duration(_number(value)))


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class HostVariables(BaseModel):
    """Our host variables without their prefix; the defaults are those of `Host`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    uri: Annotated[str, AfterValidator(_check_uri)] | None = None
    labels: Annotated[dict[str, str], BeforeValidator(_mapping)] = {}
    cpu_overcommit: Factor = 4.0
    memory_overcommit: Factor = 1.0
    reserved_memory: Size = 512 << 20
    virt_type: Literal["kvm", "qemu", "lxc", "test"] | None = None
    pool: Name = "default"
    maintenance: bool = False
    deadline: Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)] = 15.0
    xml_allow: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()


def make_host(
    name: str, variables: Mapping[str, object], state_dir: Path
) -> tuple[Host | None, Wrapper | None, list[str]]:
    """The host, the ssh script that its URI needs, and the mistakes: ``variable: what is wrong``."""
    relevant = {
        key: value
        for key, value in variables.items()
        if key.startswith(PREFIX) or key in CONNECTION_VARIABLES
    }
    mistakes = [f"{key}: {message}" for key, value in relevant.items() for message in _not_plain(value)]
    if mistakes:
        return None, None, mistakes
    ours = {key.removeprefix(PREFIX): value for key, value in relevant.items() if key.startswith(PREFIX)}
    checked, wrong = validate(HostVariables, ours)
    mistakes = [f"{PREFIX}{show_path(mistake.path)}: {_prefixed(mistake.message)}" for mistake in wrong]
    if checked is None:
        return None, None, mistakes
    uri, wrapper = checked.uri, None
    if uri is None:
        try:
            uri, wrapper = make_uri(name, relevant, checked.virt_type, state_dir)
        except ValueError as error:
            return None, None, [str(error)]
    values = {field: getattr(checked, field) for field in HostVariables.model_fields}
    return Host(name=name, **{**values, "uri": uri, "labels": _labels(checked, variables)}), wrapper, []


def _labels(checked: HostVariables, variables: Mapping[str, object]) -> Mapping[str, str]:
    """Its labels, with the number that it had in the older interface among them."""
    number = str(variables.get(PMID, ""))
    known = re.fullmatch(r"[1-9][0-9]{0,8}", number)
    return {**checked.labels, PMID_LABEL: number} if known else checked.labels


def _not_plain(value: object) -> Iterator[str]:
    """Ansible would evaluate this before use; we take inventory values as they stand."""
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        yield "a template ({{ … }}) cannot stand here: write the value itself"
    elif isinstance(value, Mapping):
        if "__ansible_vault" in value:
            yield "a vault value cannot stand here: it is not secret"
        for part in value.values():
            yield from _not_plain(part)
    elif isinstance(value, list):
        for part in value:
            yield from _not_plain(part)


def _prefixed(message: str) -> str:
    """Name fields as the inventory does."""
    return re.sub(r"(unknown field|did you mean) `", rf"\1 `{PREFIX}", message).replace(
        "unknown field", "unknown variable"
    )
