"""Versions of images that nothing has needed for a time: deleted, each where it lies.

Which volumes those are the store knows: it remembers when each version that we brought was needed last.  Here
is decided whether it is still so; the host decides again, over the disks of everybody, right before the file
goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from reconciler.model.host import ObservedHost, Pool
from reconciler.model.operations import DeleteImage
from reconciler.model.placement import ImageKey, image_volume_name, on_host, parse_image_volume_name
from reconciler.model.plan import Action, Change, Impact, Verb
from reconciler.planner.blueprint import IMAGE_DIGITS
from reconciler.planner.diff import mark_of
from reconciler.planner.outcome import Outcome
from reconciler.planner.situation import Situation
from reconciler.planner.survey import Survey
from reconciler.planner.volumes import is_shared

_KEPT = "kept"
"""In the place of an image's digits: the disk was there before, over whatever version."""
_REASON = "nothing has needed this version for longer than images.keepUnusedFor"


def image_volumes(situation: Situation) -> Iterator[tuple[ImageKey, bool]]:
    """Every volume on a host that answers which is named as an image's, and whether a machine needs it.

    The versions that images have now are needed, and those that a domain of ours was made from.  Where a
    machine came back to disks of before, any version may lie under them.
    """
    current = {
        image_volume_name(image.name, image.spec.digest, image.spec.format)
        for image in situation.desired.images.values()
    }
    applied = {host.name: _applied(host) for host in situation.fleet.values() if host.known}
    for host, pool in _pools(situation):
        for volume in pool.volumes:
            parsed = parse_image_volume_name(volume)
            if parsed is None:
                continue
            image, digits, _format = parsed
            # What was left of a transfer is of use as long as the transfer may be repeated.
            needed = volume.removeprefix(".").removesuffix(".part") in current or any(
                # Whoever does not answer may need it.
                other not in applied or bool(applied[other] & {(image, digits), (image, _KEPT)})
                for other in _seeing(situation, host, pool)
            )
            yield (host.name, pool.name, volume), needed


def _applied(host: ObservedHost) -> frozenset[tuple[str, str]]:
    """Name and digits of the image that each of our domains was made from."""
    found = set()
    for domain in host.domains.values():
        mark = mark_of(domain)
        if mark is not None and mark.image:
            name, _, digits = mark.image.rpartition("@")
            found.add((name, digits[:IMAGE_DIGITS]))
    return frozenset(found)


def _pools(situation: Situation) -> Iterator[tuple[ObservedHost, Pool]]:
    for name in sorted(situation.fleet):
        if situation.known(name):
            host = situation.fleet[name]
            for pool in host.pools.values():
                if pool.active:
                    yield host, pool


def _seeing(situation: Situation, host: ObservedHost, pool: Pool) -> list[str]:
    """Hosts that may see the files of this pool: one, unless it is shared."""
    if not is_shared(situation.desired, pool):
        return [host.name]
    return [
        name
        for name in situation.hosts
        if not situation.known(name) or pool.name in situation.fleet[name].pools
    ]


def plan_images(survey: Survey) -> list[Outcome]:
    """One outcome for each image on each host where an old version of it goes."""
    situation = survey.situation
    if not situation.stale_images:
        return []
    going: dict[str, list[ImageKey]] = defaultdict(list)
    done: set[tuple[str, str]] = set()
    for key, needed in sorted(image_volumes(situation)):
        host, pool, volume = key
        parsed = parse_image_volume_name(volume)
        if needed or key not in situation.stale_images or parsed is None:
            continue
        if is_shared(situation.desired, situation.fleet[host].pools[pool]):
            if (pool, volume) in done:
                continue  # one host is enough for a file that several see
            done.add((pool, volume))
        going[on_host("Image", parsed[0], host)].append(key)
    return [_outcome(name, keys) for name, keys in going.items()]


def _outcome(name: str, keys: list[ImageKey]) -> Outcome:
    host = keys[0][0]
    actions = tuple(
        Action(
            id=f"{name}/{operation.kind}/{operation.pool}/{operation.volume}",
            host=host,
            vm=name,
            uid="",
            operation=operation,
            impact=Impact.NONE,
            reason=_REASON,
        )
        for operation in (DeleteImage(volume, pool) for _, pool, volume in keys)
    )
    return Outcome(Change(name, "", host, Verb.DELETE, Impact.NONE, _REASON), actions)
