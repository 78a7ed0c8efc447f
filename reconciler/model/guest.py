"""What happens inside of a machine: cloud-init, when it counts as ready, and what is run then."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, StrictBool, model_validator

from reconciler.model.envelope import Manifest, Text
from reconciler.model.units import Duration


class SecretRef(Manifest):
    """Where a secret is, seen from the controller; its text never stands in a manifest.

    Exactly one of ``env`` (a variable of the daemon's environment), ``file`` (a path) and ``vault`` (the path
    of an Ansible vault; ``key`` is the variable in it).
    """

    env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    file: str | None = None
    vault: str | None = None
    key: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.env, self.file, self.vault)) != 1:
            raise ValueError("a secret comes from exactly one of env, file and vault")
        if (self.vault is None) != (self.key is None):
            raise ValueError("key names the variable in a vault: vault and key go together")
        return self


class CloudInit(Manifest):
    """The NoCloud seed that a machine boots with.

    ``user_data`` is a cloud-config mapping, in which ``{secretRef: {...}}`` stands for a secret's text, or
    text that is passed as it is; ``user_data_from`` takes the whole from a secret.  ``network_config`` is
    netplan's version 1 or 2 format.  ``hostname`` defaults to the machine's name.  ``instance_id`` is changed
    by people who want cloud-init to run again.
    """

    hostname: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")
    ssh_authorized_keys: tuple[Text, ...] = ()
    user_data: dict[str, Any] | Text | None = None
    user_data_from: SecretRef | None = None
    vendor_data: dict[str, Any] | Text | None = None
    network_config: dict[str, Any] | None = None
    instance_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")


class Readiness(Manifest):
    """When a machine counts as ready: everything that is asked for here holds.

    ``agent``: the QEMU guest agent answers.  ``address``: an address is known.  ``tcp_port``: something
    listens on it, seen from the machine's host.  ``timeout`` is seconds from its start.
    """

    agent: StrictBool = False
    address: StrictBool = False
    tcp_port: int | None = Field(default=None, ge=1, le=65535, strict=True)
    timeout: Duration = 600


class Provision(Manifest):
    """A playbook that is run once, when the machine is ready for the first time.

    ``playbook`` is a path in the state repository.
    """

    playbook: str
    timeout: Duration = 3600
