"""Secrets in Ansible vaults, encrypted as a whole or value by value; a refusal tells nothing of them."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

import pytest

from reconciler.errors import SecretError
from reconciler.model.config import SecretsConfig
from reconciler.model.guest import SecretRef
from reconciler.secrets import SecretReader

VALUE = "{{ hunter2 }}"
PASSWORD = "open-sesame"


def encrypted(text: str, password: str = PASSWORD) -> str:
    vault = importlib.import_module("ansible.parsing.vault")
    library = vault.VaultLib([("default", vault.VaultSecret(password.encode()))])
    return str(library.encrypt(text).decode())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "whole.yml").write_text(encrypted(f"pw: '{VALUE}'\nnumber: 5\n"))
    (tmp_path / "other.yml").write_text(encrypted(f"pw: '{VALUE}'\n", "another"))
    (tmp_path / "list.yml").write_text(encrypted(f"- '{VALUE}'\n"))
    (tmp_path / "broken.yml").write_text(encrypted(f"pw: ['{VALUE}'\n"))
    inline = textwrap.indent(encrypted(VALUE), "  ")
    (tmp_path / "inline.yml").write_text(f"clear: text\npw: !vault |\n{inline}\n")
    return tmp_path


def reader(base: Path, password: str | None = "password") -> SecretReader:
    return SecretReader(base, SecretsConfig.model_validate({"files": ["."], "vaultPasswordFile": password}))


@pytest.mark.parametrize("vault", ["whole.yml", "inline.yml"])
def test_a_variable_of_a_vault(base: Path, vault: str) -> None:
    assert reader(base)(SecretRef(vault=vault, key="pw")) == VALUE


def test_a_program_may_know_the_password(base: Path) -> None:
    program = base / "ask"
    program.write_text(f"#!/bin/sh\necho {PASSWORD}\n")
    program.chmod(0o700)
    assert reader(base, "ask")(SecretRef(vault="whole.yml", key="pw")) == VALUE


@pytest.mark.parametrize(
    ("vault", "key", "says"),
    [
        ("whole.yml", "none", "is not there"),
        ("whole.yml", "number", "is not text"),
        ("list.yml", "pw", "holds no mapping"),
        ("broken.yml", "pw", "is no YAML"),
        ("other.yml", "pw", "cannot be opened"),
        ("missing.yml", "pw", "cannot be read"),
    ],
)
def test_what_is_wrong_says_where_and_not_what(base: Path, vault: str, key: str, says: str) -> None:
    with pytest.raises(SecretError, match=says) as refused:
        reader(base)(SecretRef(vault=vault, key=key))
    assert f"the key {key} of the vault {vault}" in str(refused.value)
    assert "hunter" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("password", [None, "no-such-file"])
def test_without_a_password_no_vault_is_opened(base: Path, password: str | None) -> None:
    with pytest.raises(SecretError, match="cannot be opened"):
        reader(base, password)(SecretRef(vault="whole.yml", key="pw"))
