"""Connects to a host as the inventory would describe it, before it does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.cli.app import App
from reconciler.desired.inventory import Inventory
from reconciler.errors import InventoryError, NotFoundError
from reconciler.observed.doctor import Level, diagnose


class HostTest:
    """What `reconciler doctor` would say of a host that is about to be written down.

    Args:
        app: Its inventory has the groups, whose variables a host gets too.
    """

    def __init__(self, app: App) -> None:
        self._paths = app.inventory_paths
        self._state_dir = app.state_dir
        self._pattern = app.loaded.config.hosts

    def __call__(self, name: str, variables: Mapping[str, object]) -> Sequence[str]:
        """What stands in the way, a sentence each; none if the host can be used."""
        with tempfile.TemporaryDirectory(prefix="reconciler-host-") as folder:
            file = Path(folder) / "host.json"
            # JSON is YAML, and nothing of it is evaluated before it was checked to be plain.
            file.write_text(json.dumps({"all": {"hosts": {name: dict(variables)}}}))
            file = file.rename(file.with_suffix(".yml"))
            try:
                hosts = Inventory((*self._paths, file), self._state_dir, self._pattern).hosts()
            except InventoryError as error:
                return [error.message]
        host = hosts.get(name)
        if host is None:
            raise NotFoundError(f"{name} is no host of ours: the inventory's pattern is {self._pattern!r}")
        return [
            f"{one.message}" + (f": {one.remedy}" if one.remedy else "")
            for one in diagnose(host)
            if one.level is Level.FAIL
        ]
