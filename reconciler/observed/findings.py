"""The doctor's judgement: what stands in the way on a host, and its remedy. Pure.

Each check looks at the evidence and says one thing, or nothing where the evidence is missing because
something before it failed already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from reconciler.model.host import Pool
from reconciler.model.units import format_size
from reconciler.observed.evidence import Evidence, Shell

OLDEST_LIBVIRT = (6, 0)
OLDEST_QEMU = (4, 2)
LEAST_FREE = 1 << 30
"""Bytes free in the pool below which a new machine will hardly fit."""

MOST_SKEW = 2.0
"""Seconds between the host's clock and ours: logs, certificates and leases suffer from more."""

# Where distributions' security policies expect disk images.
_USUAL_POOLS = ("/var/lib/libvirt/images",)


class Level(StrEnum):
    """How bad it is: ``fail`` stops us, ``warn`` may."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: A word for the check.
        level: How bad it is.
        message: What was found.
        remedy: What to do, in the imperative; empty when all is well.
    """

    check: str
    level: Level
    message: str
    remedy: str = ""


Check = Callable[[Evidence], Iterator[Finding]]


def judge(evidence: Evidence) -> Iterator[Finding]:
    """Every finding, in the order in which they have to be mended."""
    for check in CHECKS:
        yield from check(evidence)


def name(evidence: Evidence) -> Iterator[Finding]:
    """The host's name has an address."""
    if evidence.route.local:
        return
    if evidence.resolve_error:
        remedy = "correct ansible_host in the inventory, or the name service"
        yield Finding("name", Level.FAIL, f"{evidence.route.host}: {evidence.resolve_error}", remedy)
    else:
        yield Finding("name", Level.OK, f"{evidence.route.host} resolves")


def port(evidence: Evidence) -> Iterator[Finding]:
    """Something listens at the port that the URI means."""
    route = evidence.route
    if route.local or evidence.resolve_error:
        return
    if evidence.connect_error:
        remedy = "see whether the host is up, sshd (or the libvirt listener) runs, and no firewall is between"
        yield Finding("port", Level.FAIL, f"port {route.port}: {evidence.connect_error}", remedy)
    else:
        yield Finding("port", Level.OK, f"port {route.port} answers")


def ssh(evidence: Evidence) -> Iterator[Finding]:
    """We can log in, by key and without a question."""
    if evidence.shell_error is not None:
        error = evidence.shell_error
        yield Finding("ssh", Level.FAIL, _words(error.message), error.hint)
    elif evidence.shell is not None and not evidence.route.local:
        yield Finding("ssh", Level.OK, f"logged in as {evidence.shell.values.get('user', '?')}")


def python(evidence: Evidence) -> Iterator[Finding]:
    """Ansible's own modules, which bring images to the host, need Python there."""
    shell = evidence.shell
    if shell is None:
        return
    version = shell.values.get("python")
    if version:
        yield Finding("python", Level.OK, version)
    else:
        message = "there is no python3, which Ansible needs to copy images"
        yield Finding("python", Level.FAIL, message, "install it: 'apt-get install python3' or your system's")


def libvirt(evidence: Evidence) -> Iterator[Finding]:
    """Libvirt answers at the URI."""
    if evidence.virt is not None:
        yield Finding("libvirt", Level.OK, f"answers at {evidence.host.uri.partition('?')[0]}")
    elif evidence.virt_error is not None:
        error = evidence.virt_error
        if evidence.shell_error is not None and evidence.shell_error.reason == error.reason:
            return  # ssh carries libvirt, and said the same already
        yield Finding("libvirt", Level.FAIL, _words(error.message), error.hint)


def access(evidence: Evidence) -> Iterator[Finding]:
    """We may write, not only read."""
    if evidence.virt is None:
        return
    if not evidence.virt.read_only:
        yield Finding("access", Level.OK, "we may read and write")
        return
    user = evidence.shell.values.get("user", "USER") if evidence.shell else evidence.route.user or "USER"
    message = "libvirt lets us read but not write"
    yield Finding("access", Level.FAIL, message, f"run 'usermod -aG libvirt {user}' there and log in anew")


def versions(evidence: Evidence) -> Iterator[Finding]:
    """Libvirt and QEMU are new enough."""
    virt = evidence.virt
    if virt is None:
        return
    yield from _version("libvirt", virt.libvirt_version, OLDEST_LIBVIRT)
    if evidence.route.driver == "qemu" and virt.hypervisor_version:
        yield from _version("qemu", virt.hypervisor_version, OLDEST_QEMU)


def virtualisation(evidence: Evidence) -> Iterator[Finding]:
    """Machines run at the speed of the processor, or a person has said that they need not."""
    if evidence.virt is None or evidence.route.driver != "qemu":
        return
    chosen = evidence.host.virt_type
    if chosen == "qemu":
        message = "set to 'qemu': every machine is emulated in software, which is slow"
        yield Finding("kvm", Level.WARN, message, "remove reconciler_virt_type if KVM works here")
    elif "kvm" not in evidence.virt.virt_types:
        yield _no_kvm(evidence)
    elif evidence.shell is not None and evidence.shell.values.get("nested") == "yes":
        message = "KVM is offered, but this host is itself a virtual machine"
        remedy = "if machines hang while booting, set reconciler_virt_type=qemu for this host"
        yield Finding("kvm", Level.WARN, message, remedy)
    else:
        yield Finding("kvm", Level.OK, "KVM is usable")


def pool(evidence: Evidence) -> Iterator[Finding]:
    """The host's default pool is there, runs, and comes back after a restart."""
    virt = evidence.virt
    if virt is None:
        return
    wanted = evidence.host.pool
    if virt.pool is None:
        remedy = (
            f"'virsh pool-define-as {wanted} dir --target /var/lib/libvirt/images', then pool-build, "
            "pool-start and pool-autostart; or name another with reconciler_pool"
        )
        yield Finding("pool", Level.FAIL, f"there is no storage pool '{wanted}'", remedy)
    elif not virt.pool.active:
        yield Finding("pool", Level.FAIL, f"pool '{wanted}' is not active", f"'virsh pool-start {wanted}'")
    elif not virt.pool_autostart and evidence.route.driver != "test":
        message = f"pool '{wanted}' is active, but not after the next restart of the host"
        yield Finding("pool", Level.WARN, message, f"'virsh pool-autostart {wanted}'")
    else:
        yield Finding("pool", Level.OK, f"pool '{wanted}' is active")


def folders(evidence: Evidence) -> Iterator[Finding]:
    """The user that guests run as can reach the pool's folder."""
    virt, shell = evidence.virt, evidence.shell
    if shell is None or virt is None or virt.pool is None or evidence.route.driver != "qemu":
        return
    path = virt.pool.path
    if not shell.folders:
        if path:
            yield Finding("path", Level.FAIL, f"{path} does not exist", f"'mkdir -p {path}' on the host")
        return
    uid, gid = virt.qemu_user or (0, 0)
    closed = [folder for folder in shell.folders if not folder.traversable(uid, gid)]
    own = shell.folders[-1]
    seen = f"{path} (owner {own.uid}:{own.gid}, mode {own.mode:04o})"
    if closed:
        where = " ".join(folder.path for folder in closed)
        message = f"guests run as {uid}:{gid}, who cannot pass through {where} to {seen}"
        yield Finding("path", Level.FAIL, message, f"'chmod o+x {where}' on the host")
    else:
        yield Finding("path", Level.OK, f"guests can reach {seen}")


def security(evidence: Evidence) -> Iterator[Finding]:
    """AppArmor or SELinux know of the pool."""
    virt, shell = evidence.virt, evidence.shell
    if virt is None or evidence.route.driver != "qemu":
        return
    models = virt.security & {"apparmor", "selinux"}
    if not models:
        yield Finding("security", Level.OK, f"no confinement by AppArmor or SELinux{_permissive(shell)}")
        return
    model = min(models)
    path = virt.pool.path if virt.pool is not None else ""
    if path.startswith("/") and not _within(path, _USUAL_POOLS):
        yield Finding(
            "security",
            Level.WARN,
            f"{model} is on and the pool {path} is off its usual paths",
            _allow(model, path),
        )
    else:
        yield Finding("security", Level.OK, f"{model} confines the guests")


def locking(evidence: Evidence) -> Iterator[Finding]:
    """A disk that two hosts can see is opened by one of them."""
    shell = evidence.shell
    if shell is None or evidence.route.driver != "qemu":
        return
    manager = shell.values.get("lock_manager", "")
    if shell.values.get("qemu_conf") == "unreadable":
        message = f"{shell.values.get('user', 'we')} cannot read /etc/libvirt/qemu.conf: lock manager unknown"
        yield Finding("locking", Level.WARN, message, "look for lock_manager in it as root")
    elif manager in ("", "nop"):
        message = "no lock manager: nothing but reconciler keeps two hosts from opening one shared disk"
        yield Finding(
            "locking",
            Level.WARN,
            message,
            'with storage shared between hosts set lock_manager="lockd" in /etc/libvirt/qemu.conf',
        )
    else:
        yield Finding("locking", Level.OK, f"lock manager {manager}")


def space(evidence: Evidence) -> Iterator[Finding]:
    """There is room in the pool."""
    found = evidence.virt.pool if evidence.virt is not None else None
    if found is None or not found.active or not found.capacity:
        return
    if found.available < LEAST_FREE:
        remedy = "delete what is not needed ('virsh vol-list'), or enlarge the storage"
        yield Finding("space", Level.WARN, f"only {_free(found)}", remedy)
    else:
        yield Finding("space", Level.OK, _free(found))


def clock(evidence: Evidence) -> Iterator[Finding]:
    """The host's clock agrees with ours."""
    shell = evidence.shell
    if shell is None or evidence.route.local or "date" not in shell.values:
        return
    skew = shell.clock_skew
    if abs(skew) > MOST_SKEW:
        message = f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} ours"
        yield Finding("clock", Level.WARN, message, "run chrony or systemd-timesyncd on both")
    else:
        yield Finding("clock", Level.OK, "its clock agrees with ours")


def network(evidence: Evidence) -> Iterator[Finding]:
    """The network that most examples use is there."""
    if evidence.virt is None:
        return
    active = evidence.virt.networks.get("default")
    if active:
        yield Finding("network", Level.OK, "network 'default' is active")
    elif active is None:
        message = "there is no network 'default': machines here need a bridge or a network of another name"
        yield Finding(
            "network", Level.WARN, message, "'virsh net-define /usr/share/libvirt/networks/default.xml'"
        )
    else:
        remedy = "'virsh net-start default' and 'virsh net-autostart default'"
        yield Finding("network", Level.WARN, "network 'default' is not active", remedy)


CHECKS: tuple[Check, ...] = (
    name,
    port,
    ssh,
    python,
    libvirt,
    access,
    versions,
    virtualisation,
    pool,
    folders,
    security,
    locking,
    space,
    clock,
    network,
)


def _words(message: str) -> str:
    """The message without the host's name, which stands above it already."""
    return message.split(": ", 1)[1] if message.startswith("host ") else message


def _version(what: str, found: str, oldest: tuple[int, int]) -> Iterator[Finding]:
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if numbers < oldest:
        wanted = ".".join(map(str, oldest))
        remedy = f"upgrade it to {wanted} or newer"
        yield Finding(
            "version", Level.WARN, f"{what} {found} is older than what is tested ({wanted})", remedy
        )
    else:
        yield Finding("version", Level.OK, f"{what} {found}")


def _no_kvm(evidence: Evidence) -> Finding:
    device = evidence.shell.values.get("kvm", "") if evidence.shell is not None else ""
    flags = evidence.shell.values.get("cpu_flags", "") if evidence.shell is not None else ""
    if device == "present":
        message = "/dev/kvm exists, but QEMU cannot use it"
        remedy = "see 'journalctl -u libvirtd' and the owner and mode of /dev/kvm (group kvm)"
    elif flags == "no":
        message = "the processor offers no hardware virtualisation here"
        remedy = "switch VT-x/AMD-V on in the firmware (or nesting on in the outer hypervisor)"
    else:
        message = "KVM is not available"
        remedy = "load the module: 'modprobe kvm_intel' or 'modprobe kvm_amd'"
    return Finding("kvm", Level.WARN, message + ": machines are emulated in software, which is slow", remedy)


def _permissive(shell: Shell | None) -> str:
    state = shell.values.get("selinux", "") if shell is not None else ""
    return f" (SELinux is {state.lower()})" if state else ""


def _within(path: str, parents: tuple[str, ...]) -> bool:
    return any(PurePosixPath(path).is_relative_to(parent) for parent in parents)


def _allow(model: str, path: str) -> str:
    if model == "selinux":
        return f"'semanage fcontext -a -t virt_image_t \"{path}(/.*)?\"' and 'restorecon -R {path}'"
    rules = "/etc/apparmor.d/local/abstractions/libvirt-qemu"
    return f"if a machine is refused its disk, add '{path}/** rwk,' to {rules}"


def _free(pool: Pool) -> str:
    free = format_size(pool.available >> 20 << 20)
    return f"{free} of {format_size(pool.capacity >> 20 << 20)} free in pool '{pool.name}'"
