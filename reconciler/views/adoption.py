"""What adopting a domain takes."""

from __future__ import annotations

from reconciler.belongings import adopting
from reconciler.desired.writer import to_yaml
from reconciler.views.glance import Data, Glance
from reconciler.views.machines import manifest_data


def adoption(glance: Glance, domain: str) -> Data:
    """The manifest (as data and as YAML) that adopting ``HOST/DOMAIN`` writes, with notes for people.

    ``declared`` says whether the machine is desired already, and ``same`` whether it is desired just so.

    Raises:
        UsageError: There is no such domain.
        ReconcilerError: It cannot be adopted, or its host does not answer.
    """
    made = adopting(glance.look, domain, glance.engine.rooms.config.owner)
    there = glance.look.desired.machines.get(made.vm.name)
    return {
        "manifest": manifest_data(made.vm),
        "yaml": to_yaml(made.vm),
        "notes": list(made.notes),
        "declared": there is not None,
        "same": there == made.vm,
    }
