"""A lease as programs see it, whether they ask the command line or the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from reconciler.model.pool import Lease
from reconciler.store.base import Store


def show_lease(store: Store, lease: Lease, now: float, *, machine: bool = False) -> dict[str, Any]:
    """A lease as plain data, its times by the wall clock of now.

    Args:
        store: Has the lease time, and how machines were seen last.
        lease: The lease.
        now: Epoch seconds.
        machine: Tell of its machine, too.
    """
    wall = now - store.lease_time()
    shown: dict[str, Any] = {
        "id": lease.id,
        "pool": lease.pool,
        "vm": lease.vm,
        "holder": lease.holder,
        "by": lease.by,
        "purpose": lease.purpose,
        "taken": _stamp(lease.taken + wall),
        "expires": _stamp(lease.expires + wall),
        "latest": _stamp(lease.latest + wall),
    }
    if machine:
        row = store.statuses("VirtualMachine").get(lease.vm)
        status: Mapping[str, Any] | None = json.loads(row) if row else None
        addresses = [one["address"] for one in (status or {}).get("addresses", ())]
        shown |= {"addresses": addresses, "status": status}
    return shown


def _stamp(seconds: float) -> str:
    """RFC 3339, UTC, to the nearest second: the two clocks differ by a bit from one look to the next."""
    return datetime.fromtimestamp(round(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
