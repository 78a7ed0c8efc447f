"""A machine's cloud-init seed: its files with the secrets in them, and the ISO that carries them.

All of it stays in memory: text is resolved right before a push and forgotten right after it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pycdlib import PyCdlib

from reconciler.errors import SecretError
from reconciler.model.guest import SecretRef, secret_of
from reconciler.model.operations import PutSeed, SeedFile
from reconciler.model.plan import Action

ReadSecret = Callable[[SecretRef], str]
"""Gives a secret's text, or raises `SecretError`."""

_GRAIN = 256 << 10
"""Bytes that an ISO's size is rounded up to, so that its next version fits into the same room."""

# What YAML's readers refuse, or fold like a line break, though JSON lets it stand.
_NOT_IN_YAML = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Seeds with their secrets. It is never printed: neither are its fields shown.

    Attributes:
        files: Name to content of each seed's files, by the id of the action that writes it.
        refused: Why a machine's seed cannot be made, by machine.
    """

    files: Mapping[str, Mapping[str, bytes]] = field(repr=False, default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


def resolve(actions: Iterable[Action], read: ReadSecret) -> Resolved:
    """Read the secrets of every seed that these actions write."""
    files: dict[str, Mapping[str, bytes]] = {}
    refused: dict[str, str] = {}
    for action in actions:
        if not isinstance(action.operation, PutSeed):
            continue
        try:
            files[action.id] = {one.name: content(one, read) for one in action.operation.files}
        except SecretError as error:
            refused[action.vm] = str(error).replace("\n  hint", "; hint")
    return Resolved(files, refused)


def content(file: SeedFile, read: ReadSecret) -> bytes:
    """What stands in a file of the seed.

    Raises:
        SecretError: A secret that it refers to cannot be read.
    """
    if file.form == "text":
        return _bytes(file.content)
    if file.form == "secret":
        return _bytes(read(SecretRef.model_validate_json(file.content)))
    text = _yaml(_filled(json.loads(file.content), read))
    return _bytes(f"#cloud-config\n{text}\n" if file.form == "cloud-config" else f"{text}\n")


def _filled(data: Any, read: ReadSecret) -> Any:
    """The data with the secrets in the place of the references to them."""
    reference = secret_of(data)
    if reference is not None:
        return read(reference).removesuffix("\n")
    if isinstance(data, dict):
        return {key: _filled(value, read) for key, value in data.items()}
    if isinstance(data, list):
        return [_filled(value, read) for value in data]
    return data


def _yaml(data: Any) -> str:
    """JSON that is YAML as well, whatever characters stand in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def iso(files: Mapping[str, bytes]) -> bytes:
    """An ISO 9660 image called ``cidata`` with these files, by Rock Ridge and Joliet names."""
    image = PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for at, (name, data) in enumerate(sorted(files.items())):
        image.add_fp(io.BytesIO(data), len(data), f"/FILE{at}.;1", rr_name=name, joliet_path=f"/{name}")
    out = io.BytesIO()
    image.write_fp(out)
    image.close()
    whole = out.getvalue()
    return whole.ljust(-(-len(whole) // _GRAIN) * _GRAIN, b"\0")
