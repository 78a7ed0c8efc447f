"""A list of objects: selected, cut into pages, and no more of each than was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from falcon.asgi import Request, Response

from api.conventions import media
from api.conventions.etag import digest, make_etag, unchanged
from api.conventions.fields import parse_fields, select
from api.conventions.packing import accepts_gzip, pack
from api.conventions.pages import cut, parse_page
from api.conventions.selectors import parse_selector
from api.kinds import Kind
from api.services import Services
from api.views import Views, WholeList
from reconciler.model.access import Caller, Role
from reconciler.model.envelope import API_VERSION


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed, and where from."""

    kind: Kind
    services: Services
    views: Views


@dataclass(frozen=True, slots=True)
class _Answer:
    etag: str
    revision: str
    body: bytes
    packed: bytes | None = None


async def list_objects(req: Request, resp: Response, listing: Listing) -> None:
    """Answer with the objects that the caller may see, and that the query asks for."""
    form = media.wanted(req)
    packed = form == media.JSON and accepts_gzip(req)
    answer = await listing.services.run(_answer, req, listing, form, packed)
    resp.set_header("Reconciler-Revision", answer.revision)
    if unchanged(req, resp, answer.etag):
        return
    resp.content_type = form
    resp.data = answer.body
    if answer.packed is not None:
        resp.data = answer.packed
        resp.set_header("Content-Encoding", "gzip")


def _answer(req: Request, listing: Listing, form: str, packed: bool) -> _Answer:
    query, caller, kind = req.context.query, req.context.caller, listing.kind
    selector = parse_selector(query["labelSelector"])
    paths = parse_fields(query["fields"])
    page = parse_page(query["limit"], query["continue"], kind.name, query["labelSelector"], query["fields"])
    moment = listing.views.moment(kind)
    revision = moment.state.revision
    whole = listing.views.whole(moment, status=query["status"])
    everything = selector is None and paths is None and page.limit is None and not page.after
    if everything and form == media.JSON and _sees_all(caller, kind):
        return _whole(kind, whole, revision, packed)
    views = [
        view
        for view in whole.views
        if (selector is None or selector.fits(view.labels)) and caller.may(Role.VIEWER, view.thing)
    ]
    begin, end, token = cut([view.name for view in views], page)
    shown = views[begin:end]
    told = [part for view in shown for part in (view.version, view.seen if query["status"] else "")]
    etag = make_etag(digest(form, query["fields"] or "", token or "", *told))
    if form == media.JSON and paths is None:
        items = ",".join(view.json(status=query["status"]) for view in shown)
        return _Answer(etag, revision, _envelope(kind, items, token))
    data = [view.data(status=query["status"]) for view in shown]
    body = {
        "apiVersion": API_VERSION,
        "kind": f"{kind.name}List",
        "items": data if paths is None else [select(one, paths) for one in data],
        **({"continue": token} if token else {}),
    }
    return _Answer(etag, revision, media.dump(body, form))


def _sees_all(caller: Caller, kind: Kind) -> bool:
    """True if some grant reaches every object of the kind."""
    return any(
        grant.role.includes(Role.VIEWER)
        and not grant.names
        and not grant.labels
        and (not grant.kinds or kind.name in grant.kinds)
        for grant in caller.grants
    )


def _whole(kind: Kind, whole: WholeList, revision: str, packed: bool) -> _Answer:
    """All of it, as it was answered the last time if nothing changed."""
    etag = make_etag(whole.etag)
    body = whole.kept.get("json")
    if body is None:
        body = whole.kept["json"] = _envelope(kind, whole.items, None)
    if not packed:
        return _Answer(etag, revision, body)
    known = whole.kept.get("gzip")
    if known is None:
        known = whole.kept["gzip"] = pack(body)
    return _Answer(etag, revision, body, known)


def _envelope(kind: Kind, items: str, token: str | None) -> bytes:
    head = media.to_json({"apiVersion": API_VERSION, "kind": f"{kind.name}List"})
    more = f',"continue":"{token}"' if token else ""
    return f'{head[:-1]},"items":[{items}]{more}}}'.encode(errors="replace")
