"""Which secrets a manifest may refer to: whoever writes one reads them inside of a machine."""

from pathlib import Path

import pytest

from reconciler.errors import SecretError
from reconciler.model.config import SecretsConfig
from reconciler.model.guest import SecretRef
from reconciler.secrets import SecretReader

VALUE = "hunter2"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("secrets/db", "secrets-of-others/db", "elsewhere/shadow"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(VALUE)
    (tmp_path / "secrets" / "link").symlink_to(tmp_path / "elsewhere" / "shadow")
    (tmp_path / "secrets" / "self").symlink_to(tmp_path / "secrets" / "self")
    return tmp_path


def reader(base: Path, **config: object) -> SecretReader:
    return SecretReader(base, SecretsConfig.model_validate({"files": ["secrets"], **config}))


@pytest.mark.parametrize("files", [["secrets"], ["secrets/db"], ["nowhere", "secrets/"]])
def test_a_file_in_a_place_for_secrets_is_read(base: Path, files: list[str]) -> None:
    assert reader(base, files=files)(SecretRef(file="secrets/db")) == VALUE
    assert reader(base, files=files)(SecretRef(file=str(base / "secrets" / "db"))) == VALUE


@pytest.mark.parametrize("kind", ["file", "vault"])
@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "elsewhere/shadow",
        "secrets/../elsewhere/shadow",
        "secrets/link",
        "secrets/self",
        "secrets-of-others/db",
        "not-there",
        "secrets/\0",
    ],
)
def test_no_other_file_is_read(base: Path, path: str, kind: str) -> None:
    ref = SecretRef(file=path) if kind == "file" else SecretRef(vault=path, key="a")
    with pytest.raises(SecretError, match="no secret that a manifest may refer to") as refused:
        reader(base, vaultPasswordFile="secrets/db")(ref)
    assert VALUE not in str(refused.value)
    assert "secrets.files" in (refused.value.hint or "")


def test_a_folder_that_is_itself_a_link_is_the_operators_choice(base: Path) -> None:
    (base / "current").symlink_to(base / "secrets")
    assert reader(base, files=["current"])(SecretRef(file="current/db")) == VALUE


@pytest.mark.parametrize("name", ["RECONCILER_SECRET_DB", "DB_PASSWORD"])
def test_a_variable_that_is_named_is_read(base: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, VALUE)
    assert reader(base, env=["DB_PASSWORD", "RECONCILER_SECRET_*"])(SecretRef(env=name)) == VALUE


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "DB_PASSWORD_2", "RECONCILER_STATE_DIR", "PATH"])
def test_no_other_variable_is_read(base: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, VALUE)
    with pytest.raises(SecretError, match="no secret that a manifest may refer to"):
        reader(base, env=["DB_PASSWORD", "RECONCILER_SECRET_*"])(SecretRef(env=name))


def test_without_a_word_in_the_configuration_there_is_one_place_for_each() -> None:
    read = SecretReader(Path("/"), SecretsConfig())
    for ref in (SecretRef(file="/etc/hostname"), SecretRef(env="PATH")):
        with pytest.raises(SecretError, match="no secret that a manifest may refer to"):
            read(ref)
    with pytest.raises(SecretError, match="is not set"):
        read(SecretRef(env="RECONCILER_SECRET_THAT_NOBODY_SET"))


@pytest.mark.parametrize("name", ["*", "A-B", "A*B", ""])
def test_a_pattern_that_would_be_all_or_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="env"):
        SecretsConfig(env=(name,))
