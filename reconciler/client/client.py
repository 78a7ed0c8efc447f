"""The client: a method for each thing that the API offers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from reconciler.client.transport import Answer, Pace, Transport
from reconciler.client.watch import watch
from reconciler.client.words import Data, Lease, Operation, Page, Stored
from reconciler.errors import UnavailableError
from reconciler.model.plan import PLAN_JSON, Plan

API = "/api/v1"
PAGE = 1000
"""Objects that are asked for at once."""

_LONG = 300.0
"""Seconds that one request waits at most; longer waits are several of them."""


class Client(Transport):
    """Everything that the API offers; see `Transport` for the arguments.

    Collections are ``virtualmachines``, ``instancetypes``, ``images``, ``storagepools``, ``volumes``,
    ``networks``, ``virtualmachinepools`` and ``hosts``. Every method raises
    `reconciler.errors.ReconcilerError`.
    """

    def __enter__(self) -> Client:
        """Itself; its connections are closed at the end."""
        return self

    # Objects

    def objects(self, collection: str, *, selector: str = "", page: int = PAGE) -> Iterator[Data]:
        """Every object of a collection, by name, page after page.

        Args:
            collection: Of which kind.
            selector: ``app=web,tier!=db``; empty for all.
            page: Objects that are asked for at once.
        """
        yield from self._pages(f"{API}/{collection}", {"labelSelector": selector or None, "limit": page})

    def get(self, collection: str, name: str) -> Stored:
        """One object, with its version."""
        return _stored(self.ask("GET", _path(collection, name)))

    def create(self, collection: str, manifest: Data, *, message: str = "") -> Stored:
        """Make an object that is not there yet.

        Args:
            collection: Of which kind.
            manifest: As it stands in YAML.
            message: Why, for the commit.
        """
        answer = self.ask("POST", f"{API}/{collection}", query=_why(message), body=manifest)
        return _stored(answer)

    def put(
        self, collection: str, manifest: Data, *, match: str = "", absent: bool = False, message: str = ""
    ) -> Stored:
        """Let an object say just this, whether it is there or not.

        Args:
            collection: Of which kind.
            manifest: As it stands in YAML.
            match: Only if it still has this version (`Stored.etag`).
            absent: Only if it is not there.
            message: Why, for the commit.
        """
        path = _path(collection, str(manifest["metadata"]["name"]))
        return _stored(
            self.ask("PUT", path, query=_why(message), body=manifest, headers=_only(match, absent))
        )

    def patch(
        self, collection: str, name: str, changes: Data, *, match: str = "", message: str = ""
    ) -> Stored:
        """Change some fields of an object: a merge patch (RFC 7396), in which None removes one."""
        path = _path(collection, name)
        return _stored(
            self.ask("PATCH", path, query=_why(message), body=changes, headers=_only(match, merges=True))
        )

    def delete(self, collection: str, name: str, *, match: str = "", message: str = "") -> None:
        """Let an object be desired no more."""
        self.ask("DELETE", _path(collection, name), query=_why(message), headers=_only(match))

    def plan_of(self, method: str, collection: str, name: str = "", body: Data | None = None) -> Plan:
        """What a write would do: a dry run.

        Args:
            method: ``POST``, ``PUT``, ``PATCH`` or ``DELETE``.
            collection: Of which kind.
            name: The object; empty for POST.
            body: As the write would have it.
        """
        path = _path(collection, name) if name else f"{API}/{collection}"
        headers = _only(merges=method == "PATCH")
        answer = self.ask(method, path, query={"dryRun": True}, body=body, headers=headers)
        return PLAN_JSON.validate_json(answer.content)

    # Plans, acts and operations

    def plan(self) -> Plan:
        """What would be done now."""
        return PLAN_JSON.validate_json(self.ask("GET", f"{API}/plans/latest").content)

    def apply(self, allow_deletions: str = "") -> Operation:
        """Have the daemon look at everything and act now.

        Args:
            allow_deletions: Revision of a plan that may delete more than the limits allow; else they hold.
        """
        allowed = allow_deletions or None
        query = {"allowDeletions": True if allowed else None, "revision": allowed}
        return Operation.of(self.ask("POST", f"{API}/apply", query=query).data)

    def snapshots(self, key: str) -> list[Data]:
        """The snapshots of a machine, or of ``Volume/NAME``, oldest first."""
        kind, slash, name = key.partition("/")
        path = f"{kind.lower()}s/{_quoted(name)}" if slash else f"virtualmachines/{_quoted(key)}"
        return list(self.ask("GET", f"{API}/{path}/snapshots").data["items"])

    def act(self, path: str, *, method: str = "POST", body: Data | None = None) -> Operation:
        """Ask for an act; it is done by and by: see `wait_for`.

        Args:
            path: Behind ``/api/v1``: ``/virtualmachines/web-1/restart``.
            method: ``POST`` or ``DELETE``.
            body: What the act takes.
        """
        return Operation.of(self.ask(method, API + path, body=body).data)

    def start(self, vm: str) -> Operation:
        """Start a machine whose run strategy leaves that to people."""
        return self.act(f"/virtualmachines/{_quoted(vm)}/start")

    def stop(self, vm: str) -> Operation:
        """Stop a machine whose run strategy leaves that to people."""
        return self.act(f"/virtualmachines/{_quoted(vm)}/stop")

    def restart(self, vm: str, *, force: bool = False) -> Operation:
        """Stop a machine and start it again; with `force` its plug is pulled."""
        return self.act(f"/virtualmachines/{_quoted(vm)}/restart", body={"force": force})

    def operation(self, id_: str, *, wait: float = 0.0) -> Operation:
        """How far an operation is, now or within so many seconds when it is over."""
        query = {"wait": f"{int(wait)}s"} if wait >= 1 else {}
        return Operation.of(
            self.ask("GET", f"{API}/operations/{_quoted(id_)}", query=query, pace=Pace(wait)).data
        )

    def operations(self) -> Iterator[Operation]:
        """Operations, newest first."""
        yield from map(Operation.of, self._pages(f"{API}/operations", {"limit": PAGE}))

    def cancel(self, id_: str) -> Operation:
        """Take an operation back that was not begun."""
        return Operation.of(self.ask("POST", f"{API}/operations/{_quoted(id_)}/cancel").data)

    def wait_for(self, operation: Operation, timeout: float = 3600.0) -> Operation:
        """An operation that is over, whatever came of it: see `Operation.check`.

        Args:
            operation: It.
            timeout: Seconds.

        Raises:
            UnavailableError: It still goes on.
        """
        end = time.monotonic() + timeout
        while not operation.state.final:
            left = end - time.monotonic()
            if left <= 0:
                raise UnavailableError(f"operation {operation.id} still goes on: {operation.message}")
            operation = self.operation(operation.id, wait=max(1.0, min(left, _LONG)))
        return operation

    # Hosts

    def hosts(self) -> Iterator[Data]:
        """The hosts, by name, as they were seen last."""
        yield from self._pages(f"{API}/hosts", {})

    def host(self, name: str) -> Stored:
        """One host."""
        return _stored(self.ask("GET", f"{API}/hosts/{_quoted(name)}"))

    # Events

    def events(self, *, vm: str | None = None, host: str | None = None, limit: int = 100) -> Page:
        """The newest events, newest first, and where to go on from."""
        data = self.ask("GET", f"{API}/events", query={"vm": vm, "host": host, "limit": limit}).data
        return Page(tuple(data["items"]), str(data.get("cursor", "")))

    def watch(
        self, *, vm: str | None = None, host: str | None = None, after: str = ""
    ) -> Iterator[tuple[str, str, Data]]:
        """Type, id and data of each event from now on, or after the one of an id, without a gap."""
        yield from watch(self, f"{API}/events", {"vm": vm, "host": host}, after=after, sleep=self._sleep)

    # Leases

    def checkout(
        self,
        pool: str,
        *,
        ttl: str = "",
        holder: str = "",
        purpose: str = "",
        wait: float = 0.0,
    ) -> Lease:
        """Have a machine of a pool for a time.

        Args:
            pool: Of this pool.
            ttl: For so long: ``2h``; empty: the pool's usual.
            holder: For whom; empty: the caller.
            purpose: Why.
            wait: Seconds in line until there is one.

        Raises:
            UnavailableError: There is none now.
        """
        wish = {"ttl": ttl, "holder": holder, "purpose": purpose}
        path = f"{API}/virtualmachinepools/{_quoted(pool)}/checkout"
        query = {"wait": f"{int(wait)}s"} if wait >= 1 else {}
        body = {name: value for name, value in wish.items() if value}
        return Lease.of(self.ask("POST", path, query=query, body=body, pace=Pace(wait, 0.0)).data)

    def leases(self, pool: str = "") -> list[Lease]:
        """The leases, of one pool or of all."""
        found = self._pages(f"{API}/leases", {"pool": pool or None})
        return [Lease.of(one) for one in found]

    def lease(self, id_: str) -> Lease:
        """One lease."""
        return Lease.of(self.ask("GET", f"{API}/leases/{_quoted(id_)}").data)

    def checkin(self, id_: str) -> None:
        """Give a machine back."""
        self.ask("DELETE", f"{API}/leases/{_quoted(id_)}")

    def extend(self, id_: str, ttl: str) -> Lease:
        """Have it for so long from now on."""
        return Lease.of(self.ask("PATCH", f"{API}/leases/{_quoted(id_)}", body={"ttl": ttl}).data)

    # Who we are

    def whoami(self) -> Data:
        """As whom the server knows us, and what we may do."""
        return dict(self.ask("GET", f"{API}/whoami").data)

    def tokens(self, *, every: bool = False) -> list[Data]:
        """Tokens that are valid, or all of them, without their text."""
        return list(self.ask("GET", f"{API}/tokens", query={"all": every}).data["items"])

    def create_token(self, name: str, grants: list[Data], *, ttl: str = "") -> Data:
        """A new token; its text is told only now."""
        body = {"name": name, "grants": grants, **({"ttl": ttl} if ttl else {})}
        return dict(self.ask("POST", f"{API}/tokens", body=body).data)

    def revoke_token(self, id_: str) -> None:
        """Let a token be none any more."""
        self.ask("DELETE", f"{API}/tokens/{_quoted(id_)}")

    # Views of the commands

    def view(self, name: str, about: str = "") -> Any:
        """What a view of `reconciler.views` shows there."""
        return self.ask("GET", f"{API}/views/{_quoted(name)}", query={"about": about or None}).data

    def vouch(self, host: str, word: str, *, dry_run: bool = False) -> str:
        """Say ``assume-empty``, ``declare-dead`` or ``withdraw`` of a host; a sentence on what follows."""
        path = f"{API}/hosts/{_quoted(host)}/{word}"
        return str(self.ask("POST", path, query={"dryRun": True if dry_run else None}).data["message"])

    def _pages(self, path: str, query: Mapping[str, str | int | bool | None]) -> Iterator[Data]:
        token: str | None = None
        while True:
            page = self.ask("GET", path, query={**query, "continue": token}).data
            yield from page["items"]
            token = page.get("continue")
            if not token:
                return


def _stored(answer: Answer) -> Stored:
    return Stored(
        answer.data or {}, answer.headers.get("ETag", ""), answer.headers.get("Reconciler-Revision", "")
    )


def _path(collection: str, name: str) -> str:
    return f"{API}/{collection}/{_quoted(name)}"


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _why(message: str) -> dict[str, str | None]:
    return {"message": message or None}


def _only(match: str = "", absent: bool = False, *, merges: bool = False) -> dict[str, str]:
    found = {"If-Match": match} if match else {}
    if absent:
        found["If-None-Match"] = "*"
    if merges:
        found["Content-Type"] = "application/merge-patch+json"
    return found
