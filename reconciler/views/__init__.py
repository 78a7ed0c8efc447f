"""What `get`, `describe`, `explain` and `inventory` show, as plain data, made from a look at the hosts.

The commands print it themselves; the API gives it to commands that run elsewhere. So both show the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconciler.errors import NotFoundError
from reconciler.views.act import act
from reconciler.views.adoption import adoption
from reconciler.views.describe import describe
from reconciler.views.explain import explain
from reconciler.views.glance import Glance
from reconciler.views.hosts import hosts
from reconciler.views.inventory import inventory
from reconciler.views.machine_pools import machine_pools
from reconciler.views.machines import machines
from reconciler.views.networks import networks
from reconciler.views.snapshots import snapshots
from reconciler.views.storage import disks, pools, volumes

View = Callable[[Glance, str], object]
"""Makes plain data (lists, mappings, texts, numbers); the text says of what, where there is a choice."""

VIEWS: Mapping[str, View] = {
    "vms": lambda glance, _: machines(glance),
    "hosts": lambda glance, _: hosts(glance.look),
    "pools": lambda glance, _: pools(glance.look),
    "volumes": lambda glance, _: volumes(glance.look),
    "machinepools": lambda glance, _: machine_pools(glance),
    "networks": lambda glance, _: networks(glance.look),
    "disks": lambda glance, _: disks(glance.look),
    "describe": describe,
    "explain": lambda glance, vm: explain(glance.look, vm),
    "snapshots": lambda glance, vm: snapshots(glance.look, vm),
    "inventory": inventory,
    "adoption": adoption,
    "act": lambda glance, request: act(glance.look, request),
}
"""By name, as it stands in the API's path."""


def show(glance: Glance, name: str, about: str = "") -> object:
    """One view.

    Args:
        glance: What was seen.
        name: A key of `VIEWS`.
        about: Of what: a machine, ``KIND/NAME``, a way to jump, a request as JSON; else empty.

    Raises:
        NotFoundError: There is no such view.
        ReconcilerError: There is nothing of that name to show, or its host does not answer.
    """
    view = VIEWS.get(name)
    if view is None:
        raise NotFoundError(f"there is no view {name!r}", hint=f"there is: {', '.join(VIEWS)}")
    return view(glance, about)
