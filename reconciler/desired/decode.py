"""One YAML document to one manifest; every mistake in it becomes a `Problem` with its place."""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from reconciler.desired.explain import Written, explain, found, suggest
from reconciler.desired.yaml_file import Document, Path, documents, to_data
from reconciler.errors import DesiredStateError, Problem
from reconciler.model.envelope import API_VERSION
from reconciler.model.manifest import KINDS, Interface, Object, Placement, RootDisk, VirtualMachine

Model = TypeVar("Model", bound=BaseModel)

_NO_MANIFEST = (
    "if this is not a manifest, put the manifests into a folder of their own and set source.folder to it"
)
_ANY_TYPE = "any"
_NO_TYPE = {"instance_type": None}


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong in plain data: where, in words, and whether the key itself is meant."""

    path: Path
    message: str
    at_key: bool = False


def decode_text(content: str | bytes, file: str) -> tuple[Object, ...]:
    """All manifests in a YAML text.

    Args:
        content: The text.
        file: What to call it in messages.

    Raises:
        DesiredStateError: With every mistake in it.
    """
    raw = content.encode() if isinstance(content, str) else content
    problems: list[Problem] = []
    objects = [decode(document, problems) for document in _all(raw, file, problems)]
    if problems:
        raise DesiredStateError(problems)
    return tuple(one for one in objects if one is not None)


def _all(raw: bytes, file: str, problems: list[Problem]) -> list[Document]:
    found: list[Document] = []
    try:
        found.extend(documents(raw, file))
    except DesiredStateError as error:
        problems += error.problems
    return found


def decode(
    document: Document,
    problems: list[Problem],
    pool: SharedParts | None = None,
    drafts: list[tuple[str, VirtualMachine]] | None = None,
) -> Object | None:
    """The manifest of a document, or None with its mistakes appended to `problems`.

    Args:
        document: One YAML document.
        problems: Takes the mistakes.
        pool: Equal parts of different machines become one object, for the sake of memory.
        drafts: Takes ``Kind/name`` (empty if unknown) and what is left of a machine with mistakes, to be
            checked against the others.
    """
    before = len(problems)
    data = to_data(document, problems)
    owner = _owner(data)
    if len(problems) > before:
        problems[before:] = [replace(problem, object=owner) for problem in problems[before:]]
        return None
    made, mistakes = decode_data(data, pool, document.written)
    if mistakes and drafts is not None:
        draft = _draft(data, mistakes)
        drafts += [(owner, draft)] if draft is not None else []
    problems += [document.problem(m.path, m.message, key=m.at_key, owner=owner) for m in mistakes]
    return made


_PLACES = {"VirtualMachine": ("spec",), "VirtualMachinePool": ("spec", "template", "spec")}
"""Where a manifest says what machines are made of."""


def _draft(data: object, mistakes: list[Mistake]) -> VirtualMachine | None:
    """A machine without its wrong fields, so that their mistakes hide no others, which are appended."""
    spec, kind = data, data.get("kind") if isinstance(data, dict) else None
    place = _PLACES.get(kind, ()) if isinstance(kind, str) else ()
    for part in place:
        spec = spec.get(part) if isinstance(spec, dict) else None
    if not place or not isinstance(spec, dict):
        return None
    depth = len(place)
    wrong = {m.path[depth] for m in mistakes if tuple(m.path[:depth]) == place and m.path[depth:]}
    rest = {key: value for key, value in spec.items() if key not in wrong}
    named = rest.get("instanceType")
    # What a wrong field would have said is not known: sizes may come from any instance type.
    rest["instanceType"] = named or _ANY_TYPE
    made, more = validate(VirtualMachine, {"metadata": {"name": "draft"}, "spec": rest})
    more = [replace(mistake, path=(*place[:-1], *mistake.path)) for mistake in more]
    news = [mistake for mistake in more if mistake not in mistakes]
    mistakes += news
    if made is None:
        return _draft(data, mistakes) if news else None
    return made if named else made.model_copy(update={"spec": made.spec.model_copy(update=_NO_TYPE)})


def decode_data(
    data: object, pool: SharedParts | None = None, written: Written | None = None
) -> tuple[Object | None, list[Mistake]]:
    """A manifest from plain data (as YAML or JSON gives it), or every mistake in it.

    Args:
        data: The whole document.
        pool: Where equal parts of machines are shared.
        written: How a scalar stands in the file, for messages.
    """
    if not isinstance(data, dict):
        message = (
            f"expected a manifest (apiVersion, kind, metadata, spec), found {found(data)}; {_NO_MANIFEST}"
        )
        return None, [Mistake((), message)]
    mistakes = _check_envelope(data)
    model = KINDS.get(data["kind"]) if isinstance(data.get("kind"), str) else None
    if model is None:
        return None, mistakes
    if pool is not None and model is VirtualMachine:
        pool.fill(data)
    made, more = validate(model, data, written)
    # The envelope says its own mistakes better than the model does.
    told = {mistake.path for mistake in mistakes}
    mistakes += [mistake for mistake in more if mistake.path not in told]
    return (None if mistakes else made), mistakes


def validate(
    model: type[Model], data: object, written: Written | None = None
) -> tuple[Model | None, list[Mistake]]:
    """An instance of `model` from camelCase data, or every mistake in sentences."""
    try:
        return model.model_validate(data, by_alias=True, by_name=False), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
        return None, [Mistake(*said) for each in errors for said in explain(each, model, written)]


def _check_envelope(data: Mapping[str, object]) -> list[Mistake]:
    mistakes = []
    kind, version = data.get("kind"), data.get("apiVersion")
    if "apiVersion" not in data and "kind" not in data:
        return [Mistake((), f"the fields `apiVersion` and `kind` are missing; {_NO_MANIFEST}")]
    if "apiVersion" not in data:
        mistakes.append(
            Mistake(
                ("apiVersion",), f"the field `apiVersion` is missing: write {API_VERSION}; {_NO_MANIFEST}"
            )
        )
    elif version != API_VERSION:
        mistakes.append(Mistake(("apiVersion",), f"expected {API_VERSION}, found {found(version)}"))
    if "kind" not in data:
        mistakes.append(Mistake(("kind",), f"the field `kind` is missing: it is one of {', '.join(KINDS)}"))
    elif not isinstance(kind, str):
        mistakes.append(Mistake(("kind",), f"expected one of {', '.join(KINDS)}, found {found(kind)}"))
    elif kind not in KINDS:
        hint = suggest(kind, KINDS) or f", known are {', '.join(KINDS)}"
        mistakes.append(Mistake(("kind",), f"unknown kind `{kind}`{hint}"))
    if "status" in data:
        message = "status never stands in YAML: read it with `reconciler get` and `reconciler describe`"
        mistakes.append(Mistake(("status",), message, at_key=True))
    return mistakes


def _owner(data: object) -> str:
    """``Kind/name`` if the data says both; empty means that it might be anything."""
    if not isinstance(data, dict) or data.get("kind") not in list(KINDS):
        return ""
    metadata = data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{data['kind']}/{name}" if isinstance(name, str) else ""


class SharedParts:
    """Equal parts of machines, made once: thousands of machines have the same placement and disks.

    The models are frozen, so nobody can tell.  Forgets everything when it has grown too large.
    """

    _LIMIT = 10_000

    def __init__(self) -> None:
        self._parts: dict[tuple[type[BaseModel], bytes], BaseModel] = {}

    def fill(self, data: dict[str, object]) -> None:
        """Replace parts of a machine's data by finished objects where they are valid."""
        spec = data.get("spec")
        if not isinstance(spec, dict):
            return
        spec["placement"] = self._part(Placement, spec.get("placement", {}))
        if "rootDisk" in spec:
            spec["rootDisk"] = self._part(RootDisk, spec["rootDisk"])
        interfaces = spec.get("interfaces")
        if isinstance(interfaces, list):
            spec["interfaces"] = [self._part(Interface, each) for each in interfaces]

    def _part(self, model: type[BaseModel], data: object) -> object:
        if not isinstance(data, dict):
            return data
        # marshal is the cheapest thing that makes equal data equal and tells 1 from true.
        key = (model, marshal.dumps(data, 2))
        part = self._parts.get(key)
        if part is None:
            part, mistakes = validate(model, data)
            if part is None or mistakes:
                return data
            if len(self._parts) >= self._LIMIT:
                self._parts.clear()
            self._parts[key] = part
        return part
