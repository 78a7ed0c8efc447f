"""`reconciler token` and `reconciler audit`, as people type them."""

import json

import pytest
from click.testing import CliRunner

from api.auth import tokens
from api.listening import listen
from api.server import Server
from reconciler.cli.main import cli
from reconciler.errors import ConflictError, UsageError
from reconciler.model.access import Grant, Role
from reconciler.store.base_access import AuditRecord
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
    record = AuditRecord(
        0.0, "", "", "", "", "GET", "/\x1b[2J", "", "x/\nroot", 401, "", detail="\x1b]0;x\x07"
    )
    store.add_audit([record])
    shown = run("audit").output
    assert "operator called web-*" in shown
    assert shown.replace("\n", "").isprintable()
    assert len(shown.splitlines()) == 4


def test_the_same_works_from_elsewhere(make_site, tmp_path, monkeypatch):
    site = make_site(desired=False)
    monkeypatch.setenv("RECONCILER_TOKEN", site.token(Grant(Role.ADMIN), name="boss"))

    def typed(*words):
        with Server(site.app, listen("127.0.0.1:0")) as server:
            url = f"http://127.0.0.1:{server.ports[0]}"
            result = CliRunner().invoke(cli, [*words, "--server", url], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    text = typed("token", "create", "ci", "--role", "viewer", "--ttl", "1h").stdout.strip().splitlines()[-1]
    assert tokens.verify(site.store, text, site.clock()).name == "ci"
    assert {one["name"] for one in json.loads(typed("token", "list", "-o", "json").output)} == {"boss", "ci"}
    typed("token", "revoke", "ci")
    assert tokens.verify(site.store, text, site.clock()) is None
    told = json.loads(typed("audit", "-o", "json").output)
    assert [(one["who"], one["action"]) for one in told] == [("boss", "createToken"), ("boss", "revokeToken")]
