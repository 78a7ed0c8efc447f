"""Hosts: whether they answer, and what they have."""

from __future__ import annotations

from reconciler.engine import Look
from reconciler.model.host import ObservedHost
from reconciler.views.glance import Data


def hosts(look: Look) -> list[Data]:
    """Every host of the inventory, by name; sizes in bytes."""
    return [_host(look, host) for _, host in sorted(look.fleet.items())]


def _host(look: Look, host: ObservedHost) -> Data:
    described = look.hosts[host.name]
    return {
        "name": host.name,
        "uri": described.uri,
        "status": str(host.status),
        "message": host.message,
        "maintenance": described.maintenance,
        "labels": dict(described.labels),
        "arch": host.arch,
        "cpus": host.cpus,
        "memory": host.memory,
        "libvirtVersion": host.libvirt_version,
        "hypervisorVersion": host.hypervisor_version,
        "virtTypes": sorted(host.virt_types),
        "networks": sorted(host.networks),
        "pools": [
            {
                "name": pool.name,
                "path": pool.path,
                "active": pool.active,
                "capacity": pool.capacity,
                "available": pool.available,
            }
            for _, pool in sorted(host.pools.items())
        ],
        "domains": [
            {
                "name": domain.name,
                "uuid": domain.uuid,
                "state": str(domain.state),
                "ours": domain.applied is not None,
            }
            for domain in sorted(host.domains.values(), key=lambda domain: domain.name)
        ],
    }
