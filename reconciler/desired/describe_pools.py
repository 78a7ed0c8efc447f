"""What editors show for pools of machines that are lent; see `descriptions`."""

from __future__ import annotations

from collections.abc import Mapping

POOLS: Mapping[str, Mapping[str, str]] = {
    "VirtualMachinePoolSpec": {
        "size": "How many machines.",
        "template": "What every machine is like.",
        "lease": "For how long a machine is lent.",
        "onCheckin": "What becomes of a machine that comes back: Keep, Revert (clean disks, same machine) or "
        "Recreate.",
        "reclaimAfter": "A machine that nobody took for so long is deleted, while more than warm are ready.",
        "addresses": "Fixed addresses, one a machine in order, of the first interface.",
    },
    "PoolSize": {
        "max": "At most so many machines, lent ones included.",
        "warm": "So many are kept ready for the next holder.",
    },
    "PoolTemplate": {
        "labels": "Labels of each machine.",
        "annotations": "Annotations of each machine.",
        "spec": "What each machine is made of, as in a VirtualMachine.",
    },
    "LeaseTerms": {
        "timeout": "Of a lease that asks for no time of its own, for example 2h.",
        "max": "What a lease may last in all, extensions included.",
        "grace": "So long before its end a warning event is told.",
    },
}
