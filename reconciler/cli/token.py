"""`reconciler token` and `reconciler audit`: who may come in, and what they did."""

from __future__ import annotations

import getpass
import time
from collections.abc import Mapping
from typing import Any

import click

from api.auth import tokens
from api.auth.words import grants_data, record_data, token_data
from reconciler.cli.app import App, options, output_option, plural, print_json, table
from reconciler.cli.remote import Remote
from reconciler.cli.server import remotely
from reconciler.errors import UsageError
from reconciler.model.access import Caller, Grant, Role
from reconciler.model.units import parse_duration
from reconciler.service.logs import printable
from reconciler.store.base_access import AuditRecord, TokenRecord

_KINDS_HELP = "Only this kind, such as VirtualMachine; may be given several times."


def _root() -> Caller:
    """Whoever can open the store may do everything with it."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "root"
    return Caller(name, grants=(Grant(Role.ADMIN),), via="cli")


def _note(app: App, action: str, record: TokenRecord, now: float) -> None:
    by = _root()
    app.store.add_audit(
        [
            AuditRecord(
                time=now,
                who=by.name,
                via=by.via,
                token="",
                source="",
                method="",
                path="",
                action=action,
                object=f"Token/{record.id}",
                status=200,
                request="",
                detail=f"{record.name}: {_grants(token_data(record, None, now))}",
            )
        ]
    )


@click.group()
def token() -> None:
    """Who may use the REST API."""


@token.command(
    epilog="""\b
Examples:
  reconciler token create ci --role operator --ttl 90d
  reconciler token create team-a --role operator --kind VirtualMachine --only 'a-*' --label team=a"""
)
@click.argument("name")
@click.option(
    "--role", type=click.Choice([str(role) for role in Role]), required=True, help="What it allows."
)
@click.option("--kind", "kinds", multiple=True, help=_KINDS_HELP)
@click.option(
    "--name", "--only", "names", multiple=True, metavar="PATTERN", help="Only names like this: 'web-*'."
)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only what has this label.")
@click.option("--ttl", help="How long it is valid: 90d, 12h [for ever].")
@click.option("--mail", default="", help="For the author of commits.")
@output_option
@options
@remotely
def create(app: App, name: str, role: str, ttl: str | None, mail: str, output: str, **scope: Any) -> None:
    """Make a token, and show it this once: only a digest of it is kept.

    It is valid at once, for every process that serves this store. Several --kind (or --name) widen the scope,
    different options narrow it, and every --label must be there.
    """
    grant = tokens.scopes(scope["kinds"], scope["names"], scope["labels"], Role(role))
    if app.remote is not None:
        body = {"name": name, "grants": grants_data([grant]), "mail": mail, "ttl": _seconds(ttl)}
        made = dict(app.remote.client.ask("POST", "/api/v1/tokens", body=body).data)
    else:
        now = time.time()
        wish = tokens.TokenWish(name, (grant,), mail, _seconds(ttl))
        record, text = tokens.make(app.store, wish, _root(), now)
        _note(app, "createToken", record, now)
        made = {**token_data(record, None, now), "token": text}
    if output == "json":
        print_json(made)
        return
    click.echo(f"{name}: {_grants(made)}, {_until(made)}.", err=True)
    click.echo("This is the only time that the token is shown:", err=True)
    click.echo(made["token"])


@token.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Also those that ended.")
@output_option
@options
@remotely
def list_(app: App, everything: bool, output: str) -> None:
    """Show tokens, without their secrets."""
    shown = app.remote.client.tokens(every=everything) if app.remote is not None else _local(app, everything)
    if output == "json":
        print_json(shown)
        return
    rows = [
        (
            one["id"],
            one["name"],
            _grants(one),
            f"revoked {one['revoked']}" if one["revoked"] else _until(one),
            one["lastUsed"] or "never",
            one["madeBy"],
        )
        for one in shown
    ]
    for line in table(("ID", "NAME", "ALLOWS", "VALID", "LAST USED", "MADE BY"), rows):
        click.echo(line)


@token.command()
@click.argument("words", nargs=-1, required=True, metavar="ID|NAME...")
@click.option("--made", is_flag=True, help="Also the tokens that were made with it.")
@options
@remotely
def revoke(app: App, words: tuple[str, ...], made: bool) -> None:
    """End tokens, and the sessions that began with them, at once and everywhere."""
    if app.remote is not None:
        _revoke_there(app.remote, words, made=made)
        return
    now = time.time()
    known = app.store.tokens()
    found = {word: tokens.find(known, word, now) for word in words}
    _require_known(found)
    for record in (one for one in found.values() if one is not None):
        children = tokens.made_with(known, record.id)
        for one in (record, *(children if made else ())):
            if app.store.revoke_token(one.id, now):
                _note(app, "revokeToken", one, now)
                click.echo(f"{one.name} ({one.id}) is revoked.")
            else:
                click.echo(f"{one.name} ({one.id}) was revoked before.")
        alive = [one for one in children if one.valid(now)]
        if alive and not made:
            count = plural(len(alive), "token goes on that was made", "tokens go on that were made")
            click.echo(f"{count} with it: {', '.join(one.name for one in alive)} (--made ends them).")


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--who", help="Only of this caller.")
@click.option("--object", "about", metavar="KIND/NAME", help="Only about this object.")
@output_option
@options
@remotely
def audit(app: App, limit: int, who: str | None, about: str | None, output: str) -> None:
    """Show what was done through the API, the newest last."""
    if app.remote is not None:
        query = {"limit": min(limit, 1000), "who": who, "object": about}
        found = app.remote.client.ask("GET", "/api/v1/audit", query=query).data["items"][::-1]
    else:
        found = [record_data(one) for one in app.store.audit(who=who, object_=about, limit=limit)][::-1]
    if output == "json":
        print_json(found)
        return
    rows = [
        (
            one["time"],
            one["who"] or "?",
            one["via"],
            one["source"],
            str(one["status"]),
            one["action"] or f"{one['method']} {one['path']}",
            one["object"],
            one["detail"].partition("\n")[0][:60] or one["revision"][:12],
        )
        for one in found
    ]
    for line in table(("TIME", "WHO", "VIA", "FROM", "STATUS", "WHAT", "OBJECT", "DETAIL"), rows):
        # Strangers write some of it, and a terminal obeys what does not print.
        click.echo(printable(line))


def _local(app: App, everything: bool) -> list[dict[str, Any]]:
    now, uses = time.time(), app.store.token_uses()
    return [
        token_data(one, uses.get(one.id), now)
        for one in app.store.tokens().values()
        if everything or one.valid(now)
    ]


def _revoke_there(remote: Remote, words: tuple[str, ...], *, made: bool) -> None:
    known = remote.client.tokens()
    found = {word: next((t for t in known if word in (t["id"], t["name"])), None) for word in words}
    _require_known(found)
    for one in (one for one in found.values() if one is not None):
        remote.client.ask("DELETE", f"/api/v1/tokens/{one['id']}", query={"made": made})
        click.echo(f"{one['name']} ({one['id']}) is revoked.")


def _require_known(found: Mapping[str, object]) -> None:
    unknown = [word for word, one in found.items() if one is None]
    if unknown:
        raise UsageError(f"there is no valid token {', '.join(unknown)}", hint="see: reconciler token list")


def _seconds(ttl: str | None) -> float | None:
    if ttl is None:
        return None
    try:
        return parse_duration(ttl)
    except ValueError as error:
        raise UsageError(f"--ttl: {error}") from error


def _grants(token: Mapping[str, Any]) -> str:
    return "; ".join(map(_grant, token["grants"]))


def _grant(grant: Mapping[str, Any]) -> str:
    labels = [f"{key}={value}" for key, value in grant["labels"].items()]
    words = (" of ", grant["kinds"]), (" called ", grant["names"]), (" with ", labels)
    return str(grant["role"]) + "".join(word + ",".join(some) for word, some in words if some)


def _until(token: Mapping[str, Any]) -> str:
    return f"until {token['expires']}" if token["expires"] else "for ever"
