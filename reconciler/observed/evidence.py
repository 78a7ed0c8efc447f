"""What the doctor found out about one host. Plain data: the findings are computed from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.errors import HostError
from reconciler.model.host import Host, Pool
from reconciler.observed.uri import Route


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder on the way to the pool: permission bits, and the numbers of its owner and group."""

    path: str
    mode: int
    uid: int
    gid: int

    def traversable(self, uid: int, gid: int) -> bool:
        """True if this user may pass through. Root may always; ACLs are not looked at."""
        if uid == 0:
            return True
        if uid == self.uid:
            return bool(self.mode & 0o100)
        return bool(self.mode & (0o010 if gid == self.gid else 0o001))


@dataclass(frozen=True, slots=True)
class Shell:
    """What a shell on the host told.

    Attributes:
        values: The ``key=value`` lines of the probe.
        folders: From the root down to the pool's own folder; empty if there is no such folder.
        clock_skew: Seconds that the host's clock is ahead (or behind, negative), beyond what the time
            that the call took explains.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Folder, ...] = ()
    clock_skew: float = 0.0


@dataclass(frozen=True, slots=True)
class Virt:
    """What libvirt told.

    Attributes:
        read_only: Only a read-only connection was granted.
        libvirt_version: ``9.0.0``.
        hypervisor_version: ``7.2.0``, or empty.
        virt_types: Domain types in its capabilities.
        security: Security models in force, for example ``apparmor`` and ``dac``.
        qemu_user: Numbers of the user and group that guests run as, or None where it does not say.
        pool: The host's default pool, or None: there is none.
        pool_autostart: It starts with the host.
        networks: Name of each defined network to whether it is active.
    """

    read_only: bool
    libvirt_version: str
    hypervisor_version: str
    virt_types: frozenset[str]
    security: frozenset[str] = frozenset()
    qemu_user: tuple[int, int] | None = None
    pool: Pool | None = None
    pool_autostart: bool = False
    networks: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything about one host, from the network up; what a failure made pointless to ask is None.

    Attributes:
        host: The host.
        route: The way to it, out of its URI.
        resolve_error: Why its name has no address.
        connect_error: Why its port cannot be reached.
        shell: What a shell on the host told; None without a shell.
        shell_error: Why there is no shell, where ssh (or this machine) should give one.
        virt: What libvirt told.
        virt_error: Why libvirt told nothing.
    """

    host: Host
    route: Route
    resolve_error: str = ""
    connect_error: str = ""
    shell: Shell | None = None
    shell_error: HostError | None = None
    virt: Virt | None = None
    virt_error: HostError | None = None
