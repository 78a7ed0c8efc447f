from dataclasses import replace

import pytest

from reconciler.errors import HostError
from reconciler.model.host import Host, Pool
from reconciler.observed.evidence import Evidence, Folder, Shell, Virt
from reconciler.observed.findings import CHECKS, Level, judge
from reconciler.observed.uri import parse_uri

HOST = Host("h1", "qemu+ssh://admin@192.0.2.1/system")
POOL = Pool("default", "dir", "/var/lib/libvirt/images", True, 100 << 30, 50 << 30)
VIRT = Virt(
    read_only=False,
    libvirt_version="9.0.0",
    hypervisor_version="7.2.0",
    virt_types=frozenset({"kvm", "qemu"}),
    security=frozenset({"dac"}),
    qemu_user=(64055, 64055),
    pool=POOL,
    pool_autostart=True,
    networks={"default": True},
)
FOLDERS = (
    Folder("/", 0o755, 0, 0),
    Folder("/var/lib/libvirt", 0o755, 0, 0),
    Folder("/var/lib/libvirt/images", 0o711, 0, 0),
)
VALUES = {
    "date": "1700000000",
    "user": "admin",
    "python": "Python 3.11.2",
    "kvm": "present",
    "cpu_flags": "yes",
    "nested": "no",
    "lock_manager": "lockd",
}
SHELL = Shell(VALUES, FOLDERS)
HEALTHY = Evidence(HOST, parse_uri(HOST.uri), shell=SHELL, virt=VIRT)


def host(**changes):
    changed = replace(HOST, **changes)
    return replace(HEALTHY, host=changed, route=parse_uri(changed.uri))


def virt(**changes):
    return replace(HEALTHY, virt=replace(VIRT, **changes))


def pool(**changes):
    return virt(pool=replace(POOL, **changes))


def shell(folders=FOLDERS, clock_skew=0.0, **values):
    return replace(HEALTHY, shell=Shell({**VALUES, **values}, folders, clock_skew))


def folder(path, mode, uid=0, gid=0):
    return shell(folders=(*FOLDERS[:1], Folder(path, mode, uid, gid)))


def error(reason, message, hint):
    return HostError("h1", reason, message, hint=hint)


def trouble(evidence):
    return [finding for finding in judge(evidence) if finding.level is not Level.OK]


def test_a_healthy_host_has_no_trouble_and_every_check_says_so():
    assert trouble(HEALTHY) == []
    # Versions are two.
    assert len(list(judge(HEALTHY))) == len(CHECKS) + 1


# What differs from the healthy host; check, level, words in the message, words in the remedy.
TABLE = [
    (
        replace(HEALTHY, shell=None, virt=None, resolve_error="unknown"),
        "name",
        "fail",
        "unknown",
        "ansible_host",
    ),
    (
        replace(HEALTHY, shell=None, virt=None, connect_error="refused"),
        "port",
        "fail",
        "port 22: refused",
        "sshd",
    ),
    (
        replace(
            HEALTHY, shell=None, shell_error=error("KeyRefused", "it refuses our ssh key", "ssh-copy-id")
        ),
        "ssh",
        "fail",
        "it refuses our ssh key",
        "ssh-copy-id",
    ),
    (shell(python=""), "python", "fail", "no python3", "apt-get install python3"),
    (
        replace(HEALTHY, virt=None, virt_error=error("AccessDenied", "denied: you", "usermod")),
        "libvirt",
        "fail",
        "denied: you",
        "usermod",
    ),
    (virt(read_only=True), "access", "fail", "not write", "usermod -aG libvirt admin"),
    (virt(libvirt_version="5.10.0"), "version", "warn", "libvirt 5.10.0", "6.0"),
    (virt(hypervisor_version="4.1.0"), "version", "warn", "qemu 4.1.0", "4.2"),
    (virt(virt_types=frozenset({"qemu"})), "kvm", "warn", "/dev/kvm exists", "group kvm"),
    (
        replace(shell(kvm="absent", cpu_flags="no"), virt=replace(VIRT, virt_types=frozenset({"qemu"}))),
        "kvm",
        "warn",
        "no hardware virtualisation",
        "VT-x",
    ),
    (
        replace(shell(kvm="absent"), virt=replace(VIRT, virt_types=frozenset({"qemu"}))),
        "kvm",
        "warn",
        "not available",
        "modprobe",
    ),
    (shell(nested="yes"), "kvm", "warn", "itself a virtual machine", "reconciler_virt_type=qemu"),
    (host(virt_type="qemu"), "kvm", "warn", "slow", "reconciler_virt_type"),
    (virt(pool=None), "pool", "fail", "no storage pool 'default'", "pool-define-as default"),
    (pool(active=False, capacity=0, available=0), "pool", "fail", "not active", "pool-start default"),
    (virt(pool_autostart=False), "pool", "warn", "next restart", "pool-autostart default"),
    (shell(folders=()), "path", "fail", "does not exist", "mkdir -p /var/lib/libvirt/images"),
    (
        folder("/var/lib/libvirt/images", 0o700),
        "path",
        "fail",
        "cannot pass",
        "chmod o+x /var/lib/libvirt/images",
    ),
    (folder("/var/lib/libvirt/images", 0o771, 64055), "path", None, "", ""),
    (folder("/var/lib/libvirt/images", 0o011, 64055), "path", "fail", "cannot pass", "chmod"),
    (folder("/var/lib/libvirt/images", 0o710, 0, 64055), "path", None, "", ""),
    (folder("/var/lib/libvirt/images", 0o701, 0, 64055), "path", "fail", "cannot pass", "chmod"),
    (
        replace(folder("/root/images", 0o700), virt=replace(VIRT, qemu_user=(0, 0))),
        "path",
        None,
        "",
        "",
    ),
    (
        virt(security=frozenset({"apparmor", "dac"}), pool=replace(POOL, path="/srv/vm")),
        "security",
        "warn",
        "apparmor",
        "/srv/vm/** rwk",
    ),
    (
        virt(security=frozenset({"selinux"}), pool=replace(POOL, path="/srv/vm")),
        "security",
        "warn",
        "selinux",
        "restorecon",
    ),
    (virt(security=frozenset({"apparmor"})), "security", None, "", ""),
    (shell(lock_manager=""), "locking", "warn", "no lock manager", "lockd"),
    (shell(qemu_conf="unreadable", lock_manager=""), "locking", "warn", "cannot read", "as root"),
    (pool(available=100 << 20), "space", "warn", "only 100Mi", "enlarge"),
    (shell(clock_skew=7.4), "clock", "warn", "7 s ahead of", "chrony"),
    (shell(clock_skew=-3.0), "clock", "warn", "3 s behind", "chrony"),
    (shell(clock_skew=1.9), "clock", None, "", ""),
    (virt(networks={}), "network", "warn", "no network 'default'", "net-define"),
    (virt(networks={"default": False}), "network", "warn", "not active", "net-autostart default"),
]


@pytest.mark.parametrize(("evidence", "check", "level", "message", "remedy"), TABLE)
def test_each_trouble_is_found_alone_and_has_a_remedy(evidence, check, level, message, remedy):
    found = trouble(evidence)
    if level is None:
        assert found == []
        return
    assert [(finding.check, finding.level.value) for finding in found] == [(check, level)]
    assert message in found[0].message
    assert remedy in found[0].remedy


def test_an_unreachable_host_has_one_finding_only():
    evidence = replace(HEALTHY, shell=None, virt=None, resolve_error="unknown")
    assert len(list(judge(evidence))) == 1


def test_a_test_driver_host_is_not_asked_for_hardware():
    evidence = replace(host(uri="test:///default"), shell=None)
    assert {finding.check for finding in judge(evidence)} == {
        "libvirt",
        "access",
        "version",
        "pool",
        "space",
        "network",
    }
