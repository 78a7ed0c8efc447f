"""``/api/v1/tokens``: who may come in, for admins; each sees and makes what is within their grants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from falcon.asgi import Request, Response
from pydantic import Field, model_validator

from api.auth import tokens
from api.auth.words import token_data
from api.conventions import media
from api.operation import Answer, Body, Query, operation
from api.resources.lent import read_as
from api.services import Services
from reconciler.errors import NotFoundError
from reconciler.model.access import Caller, Grant, Role, Thing
from reconciler.model.envelope import Manifest, refuse
from reconciler.model.units import Duration
from reconciler.store.base_access import TokenRecord

_PRIVATE = {"Cache-Control": "no-store"}
_NO_GRANT = 'grants is missing: a list such as [{"role": "operator"}]; or write "role": "operator" for short'


class GrantBody(Manifest):
    """A grant, as a body says it."""

    role: Role
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: dict[str, str] = {}


class TokenBody(Manifest):
    """A token that is wished for.

    Attributes:
        name: For people and commits.
        grants: What it allows.
        role: Short for one grant, whose scope is in the next three.
        kinds: As of a grant.
        names: Likewise.
        labels: Likewise.
        mail: For the author of commits.
        ttl: Seconds that it is valid; None: for ever.
    """

    name: str
    grants: tuple[GrantBody, ...] = Field(default=(), max_length=100)
    role: Role | None = None
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    mail: str = ""
    ttl: Duration | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        scope = [part for part in ("kinds", "names", "labels") if getattr(self, part)]
        refuse(
            message
            for wrong, message in (
                (not self.grants and not self.role, _NO_GRANT),
                (self.grants and self.role, "role is short for one grant: write it or grants, not both"),
                *(
                    (self.role is None, f"{part} stands beside role, or in each of the grants")
                    for part in scope
                ),
            )
            if wrong
        )
        return self

    @property
    def wish(self) -> tokens.TokenWish:
        """As whoever makes tokens takes it."""
        said = self.grants
        if self.role is not None:
            said = (GrantBody(role=self.role, kinds=self.kinds, names=self.names, labels=self.labels),)
        grants = tuple(Grant(one.role, one.kinds, one.names, one.labels) for one in said)
        return tokens.TokenWish(self.name, grants, self.mail, self.ttl)


def routes(services: Services) -> Iterable[tuple[str, object]]:
    """The paths of tokens."""
    return [("/api/v1/tokens", Tokens(services)), ("/api/v1/tokens/{id}", Token(services))]


class Tokens:
    """All of them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "listTokens",
        summary="List tokens, without their secrets",
        tag="access",
        query=(Query("all", {"type": "boolean"}, "Also those that ended.", default=False),),
        answers=(Answer(200, "The oldest first.", "TokenList"),),
        role=Role.ADMIN,
        writes=False,
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """Those that the caller could have made."""
        caller: Caller = req.context.caller
        found = await self._services.run(self._list, caller, every=req.context.query["all"])
        media.say(req, resp, {"items": found})

    @operation(
        "createToken",
        summary="Make a token",
        description="Its text is in this answer, and can never be had again. It can allow no more than the "
        "caller may, and last no longer than what the caller has.",
        tag="access",
        body=Body("NewToken"),
        answers=(Answer(201, "With its text.", "MadeToken", headers={"Location": "The token."}),),
        problems=(409, 422),
        role=Role.ADMIN,
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """Make one."""
        media.wanted(req)
        wish = (await read_as(req, TokenBody)).wish
        services = self._services
        record, text = await services.run(
            tokens.make, services.store, wish, req.context.caller, services.clock()
        )
        req.context.thing = Thing("Token", record.id)
        resp.status = 201
        resp.set_headers(_PRIVATE)
        resp.set_header("Location", f"/api/v1/tokens/{record.id}")
        media.say(req, resp, {**token_data(record, None, services.clock()), "token": text})

    def _list(self, caller: Caller, *, every: bool) -> list[dict[str, Any]]:
        store, now = self._services.store, self._services.clock()
        uses = store.token_uses()
        return [
            token_data(record, uses.get(record.id), now)
            for record in store.tokens().values()
            if caller.covers(record.grants) and (every or record.valid(now))
        ]


class Token:
    """One of them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @operation(
        "getToken",
        summary="Get a token, without its secret",
        tag="access",
        answers=(Answer(200, "It.", "Token"),),
        problems=(404,),
        role=Role.ADMIN,
        writes=False,
    )
    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """It, if the caller could have made it."""
        services = self._services
        record = await services.run(self._find, req.context.caller, id)
        uses = await services.run(services.store.token_uses)
        media.say(req, resp, token_data(record, uses.get(record.id), services.clock()))

    @operation(
        "revokeToken",
        summary="End a token at once, everywhere",
        description="Its sessions end too. Tokens that were made with it go on, unless `made` is true.",
        tag="access",
        query=(Query("made", {"type": "boolean"}, "Also those made with it.", default=False),),
        answers=(Answer(204, "It is no token any more."),),
        problems=(404,),
        role=Role.ADMIN,
    )
    async def on_delete(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Revoke it."""
        req.context.thing = Thing("Token", id)
        await self._services.run(self._revoke, req.context.caller, id, made=req.context.query["made"])
        resp.status = 204

    def _find(self, caller: Caller, token: str) -> TokenRecord:
        record = self._services.store.tokens().get(token)
        if record is None or not caller.covers(record.grants):
            raise NotFoundError(f"there is no token {token!r}")
        return record

    def _revoke(self, caller: Caller, token: str, *, made: bool) -> None:
        store, now = self._services.store, self._services.clock()
        record = self._find(caller, token)
        ended = [record, *(tokens.made_with(store.tokens(), record.id) if made else ())]
        for one in ended:
            store.revoke_token(one.id, now)
