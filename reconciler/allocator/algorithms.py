"""Algorithms: which of the fitting hosts a machine gets. Each is a named score between 0 and 1.

The host with the highest score wins, the first by name among equals. A third party adds an algorithm
by naming a factory, ``(AllocatorConfig) -> Algorithm``, in the entry-point group
``reconciler.algorithms``.
"""

# A score takes the machine and the host, whether it looks at both or not.
# ruff: noqa: ARG001

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from math import hypot

from reconciler.allocator.usage import HostUsage
from reconciler.errors import AllocatorConfigError
from reconciler.model.capacity import Demand
from reconciler.model.config import AllocatorConfig

GROUP = "reconciler.algorithms"

Score = Callable[[Demand, HostUsage], float]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """How fitting hosts are compared.

    Attributes:
        name: As in the configuration.
        score: Higher is better; between 0 and 1, so that the weighers' factors mean something.
            Pure: the same machine and host usage give the same number.
        by_size: Promises that the score looks at nothing of the machine but cpus, memory and disks. It
            is then asked once for all machines of a size, until the host changes: without the promise
            a large fleet takes many times as long.
    """

    name: str
    score: Score
    by_size: bool = False


Factory = Callable[[AllocatorConfig], Algorithm]


def first_fit(demand: Demand, host: HostUsage) -> float:
    """All the same: the first by name."""
    return 0.0


def best_fit(demand: Demand, host: HostUsage) -> float:
    """The fullest host, so that whole hosts stay free for large machines."""
    return 1.0 - worst_fit(demand, host)


def worst_fit(demand: Demand, host: HostUsage) -> float:
    """The emptiest host: the mean of the shares of cpus and memory that stay free."""
    cpus = _share(host.free_cpus - demand.cpus, host.capacity.cpus)
    memory = _share(host.free_memory - demand.memory, host.capacity.memory)
    return (cpus + memory) / 2


def dot_product(demand: Demand, host: HostUsage) -> float:
    """The host whose free room has the machine's shape: much memory and few cpus, or the reverse.

    The dot product of the two vectors (shares of the host's cpus and memory), each of length one.
    """
    need_cpu = _share(demand.cpus, host.capacity.cpus)
    need_memory = _share(demand.memory, host.capacity.memory)
    free_cpu = _share(host.free_cpus, host.capacity.cpus)
    free_memory = _share(host.free_memory, host.capacity.memory)
    lengths = hypot(need_cpu, need_memory) * hypot(free_cpu, free_memory)
    return (need_cpu * free_cpu + need_memory * free_memory) / lengths if lengths else 0.0


def round_robin(demand: Demand, host: HostUsage) -> float:
    """Each host in its turn: next is the one with the fewest of our machines.

    The turn is read from the fleet itself, so it survives a restart and needs no memory.
    """
    return 1 / (1 + host.machines)


def seeded(seed: int) -> Score:
    """A throw of dice for each machine and host, the same for the same seed.

    Rendezvous hashing: a host that comes or goes moves only the machines that it wins or had.
    """
    key = hashlib.blake2b(str(seed).encode(), digest_size=16).digest()

    def score(demand: Demand, host: HostUsage) -> float:
        text = f"{demand.vm}\0{host.name}".encode()
        digest = hashlib.blake2b(text, digest_size=8, key=key).digest()
        return int.from_bytes(digest, "big") / (1 << 64)

    return score


def _share(part: int, whole: int) -> float:
    return part / whole if whole > 0 else 0.0


BUILT_IN: dict[str, Factory] = {
    "first-fit": lambda _: Algorithm("first-fit", first_fit, by_size=True),
    "best-fit": lambda _: Algorithm("best-fit", best_fit, by_size=True),
    "worst-fit": lambda _: Algorithm("worst-fit", worst_fit, by_size=True),
    "dot-product": lambda _: Algorithm("dot-product", dot_product, by_size=True),
    "round-robin": lambda _: Algorithm("round-robin", round_robin, by_size=True),
    "random": lambda config: Algorithm("random", seeded(config.seed)),
}


def find_algorithm(config: AllocatorConfig) -> Algorithm:
    """The algorithm that the configuration names: a built-in one, or one from an entry point.

    Raises:
        AllocatorConfigError: There is none of that name, or the package that adds it is broken.
    """
    factory = BUILT_IN.get(config.algorithm)
    if factory is not None:
        return factory(config)
    added = entry_points(group=GROUP)
    if config.algorithm not in added.names:
        known = [*BUILT_IN, "iallocator", *sorted(added.names)]
        raise AllocatorConfigError(
            f"allocator.algorithm: there is no {config.algorithm!r}", hint=f"choose from {', '.join(known)}"
        )
    return _load(added[config.algorithm], config)


def _load(entry: EntryPoint, config: AllocatorConfig) -> Algorithm:
    where = f"the algorithm {entry.name!r} from {entry.value}"
    try:
        algorithm = entry.load()(config)
    except Exception as error:  # a stranger's code: whatever it raises is told, not thrown at the user
        raise AllocatorConfigError(
            f"{where} cannot be loaded: {type(error).__name__}: {error}",
            hint="mend or remove the package that adds it, or configure another algorithm",
        ) from error
    if not isinstance(algorithm, Algorithm):
        raise AllocatorConfigError(f"{where} gave a {type(algorithm).__name__}, not an Algorithm")
    return algorithm
