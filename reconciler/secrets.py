"""Where the text of a secret is read: the environment, a file, an Ansible vault. An edge.

What is read here goes to one place only, the files of a cloud-init seed, and is in no message: an error says
where a secret should be, never what was found there.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from reconciler.errors import SecretError
from reconciler.model.config import SecretsConfig
from reconciler.model.guest import SecretRef
from reconciler.settings import environment_variable

_LARGEST = 1 << 20


class SecretReader:
    """Reads secrets, each anew: one that was replaced since is found.

    Args:
        base: Folder that relative paths start at.
        config: Which secrets manifests may refer to, and the password of vaults.
    """

    def __init__(self, base: Path, config: SecretsConfig) -> None:
        self._base = base
        self._config = config
        self._password_file = config.vault_password_file

    def __call__(self, ref: SecretRef) -> str:
        """The text of a secret.

        Raises:
            SecretError: No manifest may refer to it, it is not there, or it cannot be read.
        """
        if ref.env is not None:
            self._require_variable(ref.env, ref)
            return _variable(ref)
        if ref.file is not None:
            return self._file(ref.file, ref)
        return self._vault(ref)

    def _require_variable(self, name: str, ref: SecretRef) -> None:
        for allowed in self._config.env:
            if name == allowed or (allowed.endswith("*") and name.startswith(allowed[:-1])):
                return
        raise _forbidden(ref, "env", self._config.env)

    def _allowed(self, path: str, ref: SecretRef) -> Path:
        """Where a file truly lies, which is in a place for secrets: neither ``..`` nor a link leads out."""
        try:
            found = (self._base / path).resolve()
            if any(found.is_relative_to((self._base / one).resolve()) for one in self._config.files):
                return found
        except (OSError, RuntimeError, ValueError):  # links in a circle; a name that no file can have
            pass
        raise _forbidden(ref, "files", self._config.files)

    def _file(self, path: str, ref: SecretRef) -> str:
        found = self._allowed(path, ref)
        try:
            with found.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except OSError as error:
            raise SecretError(
                f"{ref} cannot be read: {error.strerror}",
                hint="the file has to be readable for the user that runs reconciler",
            ) from None
        if len(content) > _LARGEST:
            raise SecretError(f"{ref} is larger than 1 MiB")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise SecretError(f"{ref} is not text (UTF-8)") from None

    def _vault(self, ref: SecretRef) -> str:
        if self._password_file is None:
            raise SecretError(
                f"{ref} cannot be opened: no password is configured",
                hint="set secrets.vaultPasswordFile in reconciler.yaml",
            )
        text = self._file(ref.vault or "", ref)
        data = self._opened(text, ref)
        if not isinstance(data, Mapping):
            raise SecretError(f"{ref} is not there: the vault holds no mapping of variables")
        if ref.key not in data:
            raise SecretError(f"{ref} is not there")
        value = data[ref.key]
        if not isinstance(value, str):
            raise SecretError(f"{ref} is not text", hint="put the value in quotes")
        return value

    def _opened(self, text: str, ref: SecretRef) -> Any:
        """The variables of a vault that is encrypted as a whole, or value by value."""
        # Ansible takes a sixth of a second to import, and most installations have no vault.
        vault = importlib.import_module("ansible.parsing.vault")
        loader = importlib.import_module("ansible.parsing.dataloader").DataLoader()
        errors = importlib.import_module("ansible.errors")
        try:
            path = str(self._base / (self._password_file or ""))
            password = vault.get_file_vault_secret(filename=path, vault_id="default", loader=loader)
            password.load()
            library = vault.VaultLib([("default", password)])
            if vault.is_encrypted(text):
                text = library.decrypt(text.encode()).decode()
            return yaml.load(text, Loader=_loader(library))  # noqa: S506 - a SafeLoader that knows !vault
        except (errors.AnsibleError, OSError):
            # Ansible's own words may hold what it found.
            raise SecretError(
                f"{ref} cannot be opened",
                hint=f"is the password in {self._password_file} the one of that vault?",
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise SecretError(f"{ref} is not there: the vault is no YAML") from None


def _forbidden(ref: SecretRef, field: str, allowed: Sequence[str]) -> SecretError:
    """The same words whether it is there or not."""
    return SecretError(
        f"{ref} is no secret that a manifest may refer to",
        hint=f"secrets.{field} in reconciler.yaml says which are: {', '.join(allowed) or 'none'}",
    )


def _variable(ref: SecretRef) -> str:
    value = environment_variable(ref.env or "")
    if value is None:
        raise SecretError(
            f"{ref} is not set", hint="it has to be in the environment of the process that pushes"
        )
    return value


def _loader(library: Any) -> type[yaml.SafeLoader]:
    class Loader(yaml.SafeLoader):
        """Knows values that are encrypted one by one."""

    def decrypted(loader: yaml.SafeLoader, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise yaml.YAMLError("!vault stands before text")
        text: bytes = library.decrypt(str(loader.construct_scalar(node)).encode())
        return text.decode()

    Loader.add_constructor("!vault", decrypted)
    return Loader
