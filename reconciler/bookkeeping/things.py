"""How pools, networks, volumes and images were seen, for those that are desired."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from reconciler.model.host import ObservedHost
from reconciler.model.identity import object_uuid
from reconciler.model.placement import image_volume_name
from reconciler.planner import Survey
from reconciler.planner.diff import mark_of
from reconciler.planner.volumes import volume_uid

_uuid = lru_cache(maxsize=1 << 16)(object_uuid)


def things(survey: Survey) -> Mapping[str, Mapping[str, str]]:
    """JSON text by kind and name. What lies on several hosts lists them; only those that answer are in it."""
    desired = survey.situation.desired
    hosts = [host for _, host in sorted(survey.observed.items()) if host.known]
    owner = survey.situation.owner
    return {
        "StoragePool": {name: _json(_on(hosts, _pool, name, owner)) for name in desired.pools},
        "Network": {name: _json(_on(hosts, _network, name, owner)) for name in desired.networks},
        "Volume": {name: _json(_volume(survey, name)) for name in desired.volumes},
        "Image": {
            image.name: _json(_image(hosts, image.name, image.spec.digest, str(image.spec.format)))
            for image in desired.images.values()
        },
    }


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _on(hosts: list[ObservedHost], look: Any, name: str, owner: str) -> dict[str, Any]:
    found = ((host.name, look(host, name, owner)) for host in hosts)
    return {"hosts": [{"host": host, **told} for host, told in found if told is not None]}


def _pool(host: ObservedHost, name: str, owner: str) -> dict[str, Any] | None:
    pool = host.pools.get(name)
    if pool is None:
        return None
    return {
        "active": pool.active,
        "type": pool.type,
        "path": pool.path,
        "capacity": pool.capacity,
        "available": pool.available,
        "ours": pool.uuid == _uuid("StoragePool", owner, name, host.name),
    }


def _network(host: ObservedHost, name: str, _owner: str) -> dict[str, Any] | None:
    network = host.network_configs.get(name)
    if network is None:
        return None
    config = network.live or network.config
    return {
        "active": network.active,
        "ours": network.applied is not None,
        "mode": config.mode if config else "",
        "bridge": (config.bridge if config else None) or "",
    }


def _volume(survey: Survey, name: str) -> dict[str, Any]:
    """Where it lies and who has it; for one out of sight, where it was seen last."""
    situation = survey.situation
    uid = volume_uid(situation.owner, name)
    homes = survey.index.homes.get(uid, ())
    record = situation.volumes.get(name)
    told: dict[str, Any] = {"uid": uid, "state": "missing"}
    if record is not None:
        told |= {"host": record.host, "pool": record.pool}
        told["state"] = "missing" if situation.known(record.host) else "unknown"
    if homes:
        home = next((one for one in homes if record is not None and one.host == record.host), homes[0])
        pool = situation.fleet[home.host].pools[home.pool]
        told |= {"host": home.host, "pool": home.pool, "state": "present", "size": pool.sizes.get(home.file)}
    users = (mark_of(domain) for domain in survey.index.volume_users.get(uid, ()))
    return told | {"machines": sorted({mark.name for mark in users if mark is not None})}


def _image(hosts: list[ObservedHost], name: str, digest: str, format_: str) -> dict[str, Any]:
    volume = image_volume_name(name, digest, format_)
    found = [
        {"host": host.name, "pool": pool.name}
        for host in hosts
        for pool in host.pools.values()
        if pool.active and volume in pool.volumes
    ]
    return {"volume": volume, "hosts": found}
