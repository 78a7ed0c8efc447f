"""What happens inside of a machine: cloud-init, when it counts as ready, and what is run then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal, Self

from pydantic import Field, StrictBool, ValidationError, field_validator, model_validator

from reconciler.model.envelope import Manifest, Text, refuse
from reconciler.model.units import Duration

SECRET_REF = "secretRef"  # noqa: S105 - the name of a field, not a secret
"""A mapping with just this key stands for a secret's text."""

_LONGEST_KEY = 512
_DEEPEST = 32


class SecretRef(Manifest):
    """Where a secret is, seen from the controller; its text never stands in a manifest.

    Exactly one of ``env`` (a variable of the daemon's environment), ``file`` (a path) and ``vault`` (the path
    of an Ansible vault; ``key`` is the variable in it).  Relative paths start at the configuration file's
    folder.
    """

    env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    file: str | None = Field(default=None, min_length=1)
    vault: str | None = Field(default=None, min_length=1)
    key: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.env, self.file, self.vault)) != 1:
            raise ValueError("a secret comes from exactly one of env, file and vault")
        if (self.vault is None) != (self.key is None):
            raise ValueError("key names the variable in a vault: vault and key go together")
        return self

    def __str__(self) -> str:
        if self.env is not None:
            return f"the environment variable {self.env}"
        if self.file is not None:
            return f"the file {self.file}"
        return f"the key {self.key} of the vault {self.vault}"


class CloudInit(Manifest):
    """The NoCloud seed that a machine boots with.

    ``user_data`` is a cloud-config mapping, in which ``{secretRef: {...}}`` stands for a secret's text, or
    text that is passed as it is; ``user_data_from`` takes the whole from a secret.  ``network_config`` is
    netplan's version 1 or 2 format.  ``hostname`` defaults to the machine's name, as far as it is one.
    ``instance_id`` defaults to the machine's uid, and is changed by people who want cloud-init to run again.
    ``bus`` is that of the CD-ROM: by default ide on machines of type pc and scsi (virtio) on others.
    """

    hostname: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")
    ssh_authorized_keys: tuple[Text, ...] = ()
    user_data: dict[str, Any] | Text | None = None
    user_data_from: SecretRef | None = None
    vendor_data: dict[str, Any] | Text | None = None
    network_config: dict[str, Any] | None = None
    instance_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    bus: Literal["scsi", "sata", "ide"] | None = None

    @field_validator("ssh_authorized_keys")
    @classmethod
    def _one_line_each(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            if not key.strip() or "\n" in key:
                raise ValueError("an ssh key is one line, as in a .pub file")
        return keys

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[str]:
        if self.user_data is not None and self.user_data_from is not None:
            yield "userData stands here or comes from a secret (userDataFrom), not both"
        for name in ("user_data", "vendor_data", "network_config"):
            data = getattr(self, name)
            if isinstance(data, dict):
                yield from _wrong(data, name.replace("_d", "D").replace("_c", "C"))


def secret_of(data: object) -> SecretRef | None:
    """The reference that this part of a cloud-config is, or None: it is plain data.

    Raises:
        ValueError: It is meant to be one, and is wrong.
    """
    if not isinstance(data, Mapping) or SECRET_REF not in data:
        return None
    if len(data) != 1:
        raise ValueError(f"{SECRET_REF} stands alone in its mapping")
    try:
        return SecretRef.model_validate(data[SECRET_REF])
    except ValidationError as error:
        told = "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
        raise ValueError(f"{SECRET_REF}: {told}") from None


def _wrong(data: object, path: str, depth: int = 0) -> Iterator[str]:
    """What JSON, and so the seed, could not carry as it is meant."""
    if depth > _DEEPEST:
        yield f"{path} is nested deeper than {_DEEPEST} levels"
        return
    try:
        if secret_of(data) is not None:
            return
    except ValueError as error:
        yield f"{path}: {error}"
        return
    if isinstance(data, dict):
        for key, value in data.items():
            if not isinstance(key, str) or len(key) > _LONGEST_KEY:
                shown = repr(str(key)[:20])
                yield f"{path}: a key is text of at most {_LONGEST_KEY} characters: put {shown} in quotes"
            else:
                yield from _wrong(value, f"{path}.{key}", depth + 1)
    elif isinstance(data, list):
        for at, value in enumerate(data):
            yield from _wrong(value, f"{path}[{at}]", depth + 1)
    else:
        yield from _wrong_scalar(data, path)


def _wrong_scalar(data: object, path: str) -> Iterator[str]:
    if isinstance(data, float) and data - data != 0:
        yield f"{path} is no finite number"
    elif not isinstance(data, str | int | float | bool | None):
        yield f"{path} is nothing that JSON has"


class Readiness(Manifest):
    """When a machine counts as ready: everything that is asked for here holds.

    ``agent``: the QEMU guest agent answers.  ``address``: an address is known.  ``tcp_port``: something
    listens on it, seen from the machine's host.  ``timeout`` is seconds from its start.
    """

    agent: StrictBool = False
    address: StrictBool = False
    tcp_port: int | None = Field(default=None, ge=1, le=65535, strict=True)
    timeout: Duration = 600

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.agent and not self.address and self.tcp_port is None:
            raise ValueError("readiness asks for at least one of agent, address and tcpPort")
        return self


class Provision(Manifest):
    """A playbook that is run once, when the machine is ready for the first time.

    ``playbook`` is a path in the state repository.  ``timeout`` is seconds for the whole run.
    """

    playbook: str = Field(min_length=1)
    timeout: Duration = 3600

    @field_validator("playbook")
    @classmethod
    def _inside(cls, playbook: str) -> str:
        parts = PurePosixPath(playbook)
        if parts.is_absolute() or ".." in parts.parts or any(ord(c) < 32 for c in playbook):
            raise ValueError("the playbook is a path inside of the state repository")
        if parts.suffix not in (".yml", ".yaml"):
            raise ValueError("the playbook is a .yml or .yaml file")
        return playbook
