"""`reconciler token` and `reconciler audit`, as people type them."""

import json

import pytest
from click.testing import CliRunner

from api.auth import tokens
from reconciler.cli.main import cli
from reconciler.errors import ConflictError, UsageError
from reconciler.model.access import Grant, Role
from reconciler.store.sql import open_store


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECONCILER_SERVER", raising=False)

    def typed(*words):
        result = CliRunner().invoke(cli, [*words, "--state-dir", str(tmp_path / "state")])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return typed


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path / "state")
    yield opened
    opened.close()


def test_a_token_is_shown_once_and_works(run, store):
    made = run("token", "create", "ci", "--role", "operator", "--kind", "VirtualMachine",
               "--name", "web-*", "--label", "team=a", "--ttl", "90d")  # fmt: skip
    text = made.stdout.strip().splitlines()[-1]
    record = tokens.verify(store, text, store.tokens()[tokens.id_of(text)].made)
    assert record.name == "ci"
    grant = Grant(Role.OPERATOR, ("VirtualMachine",), ("web-*",), {"team": "a"})
    assert record.grants == (grant,)
    assert record.expires == record.made + 90 * 86400
    secret = text.split("_", 2)[2]
    for again in (run("token", "list"), run("token", "list", "-o", "json"), run("audit", "-o", "json")):
        assert secret not in again.output


def test_tokens_are_listed_until_they_end(run, store):
    run("token", "create", "ci", "--role", "viewer")
    run("token", "create", "old", "--role", "admin")
    assert "old is" not in run("token", "list").output
    assert "is revoked" in run("token", "revoke", "old").output
    assert [one["name"] for one in json.loads(run("token", "list", "-o", "json").output)] == ["ci"]
    listed = run("token", "list", "--all").output
    assert "revoked" in listed
    with pytest.raises(UsageError, match="old"):
        run("token", "revoke", "old")


def test_what_does_not_fit_makes_nothing(run, store):
    run("token", "create", "ci", "--role", "viewer")
    with pytest.raises(ConflictError):
        run("token", "create", "ci", "--role", "admin")
    for words in (
        ("a\nb", "--role", "viewer"),
        ("x", "--role", "viewer", "--ttl", "soon"),
        ("x", "--role", "viewer", "--ttl", "0s"),
        ("x", "--role", "viewer", "--label", "team"),
        ("x", "--role", "viewer", "--mail", "nobody"),
    ):
        with pytest.raises(UsageError):
            run("token", "create", *words)
    assert run("token", "create", "x", "--role", "god").exit_code != 0
    assert len(store.tokens()) == 1


def test_what_is_done_here_is_on_record_too(run, store):
    run("token", "create", "ci", "--role", "operator", "--name", "web-*")
    run("token", "revoke", "ci")
    told = [(one["action"], one["via"]) for one in json.loads(run("audit", "-o", "json").output)]
    assert told == [("createToken", "cli"), ("revokeToken", "cli")]
    shown = run("audit").output
    assert "operator called web-*" in shown
