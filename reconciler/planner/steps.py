"""Actions of one machine on one host, gathered with their ids and dependencies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from reconciler.model.host import Pool
from reconciler.model.operations import EnsureImage, Operation
from reconciler.model.placement import image_volume_name
from reconciler.model.plan import Action, Impact
from reconciler.model.storage import Image


@dataclass(slots=True)
class Steps:
    """Collects the actions of one machine.

    Attributes:
        vm: The machine.
        uid: Its uid; a replacement changes it half way.
        host: Where.
        actions: What was gathered, in a possible order.
    """

    vm: str
    uid: str
    host: str
    actions: list[Action] = field(default_factory=list)

    def add(
        self,
        operation: Operation,
        reason: str,
        impact: Impact = Impact.NONE,
        *,
        after: Iterable[str] = (),
        detail: str = "",
    ) -> str:
        """Append an action and return its id, ``vm/kind[/detail]``."""
        name = f"{self.vm}/{operation.kind}" + (f"/{detail}" if detail else "")
        self._append(Action(name, self.host, self.vm, self.uid, operation, impact, reason, tuple(after)))
        return name

    def share_image(self, image: EnsureImage, *, default_pool: bool) -> str:
        """Append the step that machines on this host have in common, and return its id."""
        where = image.volume if default_pool else f"{image.pool}/{image.volume}"
        name = f"{self.host}/{image.kind}/{where}"
        reason = f"root disks on {self.host} lie over the image {image.image}"
        self._append(Action(name, self.host, "", "", image, Impact.NONE, reason))
        return name

    def _append(self, action: Action) -> None:
        if all(known.id != action.id for known in self.actions):
            self.actions.append(action)


def ensure_image(image: Image, pool: Pool) -> EnsureImage:
    """What brings the image's present version into a pool."""
    spec = image.spec
    return EnsureImage(
        image=image.name,
        volume=image_volume_name(image.name, spec.digest, spec.format),
        pool=pool.name,
        pool_path=pool.path,
        sha256=spec.sha256 or "",
        format=str(spec.format),
        path=spec.path,
        url=spec.url,
        sha512=spec.sha512 or "",
        from_pool=spec.volume.pool if spec.volume else None,
        from_volume=spec.volume.name if spec.volume else None,
    )


def undefine_id(vm: str) -> str:
    """Id of the action after which a leaving machine's room is free."""
    return f"{vm}/undefine"
