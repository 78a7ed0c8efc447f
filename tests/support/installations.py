"""A verb of a scenario that goes to another installation of ours, with the same hosts in reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from support.scenario import Stage


class InstallationVerbs:
    """Part of `Stage`."""

    def do_installation(self: Stage, name: str, owner: str = "scenario", without: Sequence[str] = ()) -> None:
        """``installation: NAME, owner: OWNER, without: [HOST]``: another installation does what follows.

        It has a source, a configuration and a store of its own, all empty, and may see fewer hosts.
        ``installation: first`` goes back.
        """
        if "first" not in self.installations:
            self.installations["first"] = (self.folder, self.machines, self.objects)
        self.folder, self.machines, self.objects = self.installations.get(
            name, (self.installations["first"][0] / name, {}, {})
        )
        if name in self.installations:
            return
        self.installations[name] = (self.folder, self.machines, self.objects)
        self.source.mkdir(parents=True)
        config = {
            "owner": owner,
            "source": {"path": "source"},
            "inventory": ["inventory.yml"],
            "stateDir": "state",
        }
        self.config.write_text(yaml.safe_dump(config))
        self.do_inventory({"without": list(without)} if without else {})
        self._write_images({})
        self._write_machines()
