"""Claims in pools that several hosts see: who has which volume, and which claims were left behind."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.model.domain import DomainConfig
from reconciler.model.host import Pool
from reconciler.model.operations import ClaimVolume, ReleaseVolume
from reconciler.model.placement import parse_claim_name
from reconciler.model.plan import Change, Impact, Verb
from reconciler.planner.diff import mark_of
from reconciler.planner.outcome import UNCHANGED, Outcome
from reconciler.planner.steps import Steps
from reconciler.planner.survey import Survey
from reconciler.planner.volumes import Home, machines_of, uid_in_path


def claims_of(pool: Pool, volume_uid: str) -> list[str]:
    """Uids of the machines that claim a volume in a pool."""
    parsed = (parse_claim_name(name) for name in pool.volumes if name.startswith("claim."))
    return sorted(claim[1] for claim in parsed if claim is not None and claim[0] == volume_uid)


def has_volume(config: DomainConfig | None, volume: str) -> bool:
    """True if a configuration has the volume with this uid."""
    return any(uid_in_path(disk.path) == volume for disk in (config.disks if config else None) or ())


def provably_gone(survey: Survey, uid: str, volume: str) -> bool:
    """True if no domain with this UUID can have the volume any more.

    A claim that we did not make is somebody's: another installation's machine may run where we do not look.
    """
    situation = survey.situation
    for host in survey.index.hosts:
        domain = host.observed.domains.get(uid)
        if domain is not None:
            return not has_volume(domain.config, volume) and not has_volume(domain.live, volume)
    record = next((one for one in situation.records.values() if one.uid == uid), None)
    if record is not None:
        return situation.known(record.host)
    if any(dead.uid == uid for dead in situation.dead.values()):
        return True
    made = (one for one in situation.claims if (one.volume, one.machine) == (volume, uid))
    return any(situation.known(one.host) or one.host in situation.dead_hosts for one in made)


def mend_claims(survey: Survey, key: str, homes: Sequence[Home]) -> Outcome:
    """Take claims back that an interrupted plan left behind, and make those that are missing.

    A host may not have looked into the pool for a while: a claim is there to be taken back if all hosts show
    it, and missing if the machine's own host does not show it.

    Args:
        survey: The situation, sorted.
        key: The volume's, as it stands in the plan.
        homes: The hosts that show it, in a pool that they share.
    """
    home = homes[0]
    pools = {one.host: survey.situation.fleet[one.host].pools[one.pool] for one in homes}
    shown = {host: claims_of(pool, home.uid) for host, pool in pools.items()}
    pool = pools[home.host]
    wanted = set(machines_of(survey.situation.desired, home.volume))
    owners = {domain.uuid: name for name, domain in survey.index.ours.items() if name in wanted}
    owners |= {new.uid: name for name, new in survey.newcomers.items() if new.uid and name in wanted}
    everywhere = [uid for uid in shown[home.host] if all(uid in claims for claims in shown.values())]
    left = tuple(uid for uid in everywhere if uid not in owners and provably_gone(survey, uid, home.uid))
    steps = Steps(key, home.uid, home.host)
    if left:
        steps.add(ReleaseVolume(pool.name, home.uid, left), "a claim was left behind")
    for user in survey.index.volume_users.get(home.uid, ()):
        mark = mark_of(user)
        claimed = user.uuid in shown.get(user.host, shown[home.host])
        if mark is not None and mark.name in wanted and not claimed:
            steps.uid, steps.host = user.uuid, user.host
            claim = ClaimVolume(pool.name, home.uid, left)
            steps.add(claim, f"{mark.name} has it, and no claim says so", detail=mark.name)
    if not steps.actions:
        return UNCHANGED
    reason = "its claims differ from who has it"
    change = Change(key, home.uid, home.host, Verb.UPDATE, Impact.NONE, reason)
    return Outcome(change, tuple(steps.actions))
