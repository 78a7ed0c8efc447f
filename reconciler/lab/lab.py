"""The lab as a whole: bring hosts up in parallel, look at them, leave nothing behind."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from reconciler.errors import LabError
from reconciler.lab import files, network
from reconciler.lab.ceph import Ceph, runs_ceph
from reconciler.lab.host import HostStatus, LabHost, Wiring, boots
from reconciler.lab.packages import COMMANDS, DEBIAN_PACKAGES, FILES, missing_packages
from reconciler.lab.process import command_lines, run, send, wait_until
from reconciler.settings import environment

OWN_FILES: Final = (
    "hosts",
    "cache",
    "shared",
    "ceph",
    "lab.json",
    "inventory.yml",
    "known_hosts",
    "id_ed25519",
    "id_ed25519.pub",
    "hosts_file",
    "ssh_config",
    "ssh",
    "shadow",
)
"""All that a lab writes into its folder, the guests' cache aside."""

HIDDEN_ON_HOSTS: Final = ("/run", "/proc", "/sys", "/var/run", "/etc/libvirt", "/var/lib/libvirt")
"""Folders that a host replaces by its own, so that a lab in one of them would be out of its sight."""

NEW_LAB: Final = 3
"""Hosts of a new lab."""

Progress = Callable[[str], None]

Result = TypeVar("Result")


def default_directory() -> Path:
    """Folder of the default lab."""
    return environment().state_dir / "lab"


def silent(_line: str) -> None:
    """Progress for callers who want none."""


def to_stderr(line: str) -> None:
    """Progress for people."""
    print(line, file=sys.stderr, flush=True)


def preflight(directory: Path) -> None:
    """Check that a lab can work here.

    Raises:
        LabError: Not root, something is missing, or the folder does not suit.
    """
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes namespaces, mounts and bridges", hint="use sudo")
    missing = missing_packages(COMMANDS, FILES)
    if missing:
        everything = " ".join(DEBIAN_PACKAGES)
        raise LabError(
            f"the lab misses Debian packages: {', '.join(missing)}",
            hint=f"apt-get install --no-install-recommends {everything}",
        )
    if not re.fullmatch(r"/[A-Za-z0-9._/+-]+", str(directory)):
        raise LabError(f"the lab's folder {directory} has characters that ssh and mount trip over")
    if any(directory.is_relative_to(hidden) for hidden in HIDDEN_ON_HOSTS):
        raise LabError(f"the lab's folder {directory} lies where hosts have their own folders")


class Lab:
    """Throw-away libvirt hosts on this machine; labs in different folders do not disturb each other.

    Args:
        directory: The lab's folder; the default lab's when None.
        prefix: Hosts are named ``<prefix>1`` and so on; a standing lab keeps the one it has.
        subnet: A /24 for the lab; None takes a free one. A standing lab keeps the one it has.
        progress: Called with a line for each step.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        prefix: str = "lab",
        subnet: str | None = None,
        progress: Progress = silent,
    ) -> None:
        self.directory = (directory or default_directory()).resolve()
        self.tag = network.lab_tag(self.directory)
        self.prefix = prefix
        self._asked_subnet = subnet
        self._progress = progress

    # -- looking -----------------------------------------------------------------------------------

    @property
    def inventory(self) -> Path:
        """The Ansible inventory that `up` writes."""
        return self.directory / "inventory.yml"

    @property
    def guests_dir(self) -> Path:
        """Where this lab caches the small guests."""
        return self.directory / "guests"

    @property
    def shared_dir(self) -> Path:
        """The folder that every host sees as ``/var/lib/libvirt/shared``."""
        return self.directory / "shared"

    @property
    def ceph(self) -> Ceph:
        """The lab's Ceph, started or not.

        Raises:
            LabError: The lab is not up: Ceph's address is that of its bridge.
        """
        record = self._record()
        if record is None:
            raise LabError("the lab is not up", hint="run `lab up`")
        return Ceph(self.directory / "ceph", str(record[1][1]))

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """The hosts of the lab, by number; empty before `up` and after `down`.

        Raises:
            LabError: The lab's own record is damaged.
        """
        record = self._record()
        if record is None:
            return ()
        prefix, subnet = record
        wiring = Wiring(self.directory, self.tag, subnet)
        found = [path.parent for path in self._hosts_dir().glob(f"{prefix}*/host_key.pub")]
        folders = [path for path in found if path.name.removeprefix(prefix).isdigit()]
        numbered = sorted((int(path.name.removeprefix(prefix)), path) for path in folders)
        return tuple(LabHost(path.name, index, path, wiring) for index, path in numbered)

    @property
    def size(self) -> int:
        """The number of hosts that the lab has; of a new one, that it gets unless told otherwise."""
        return max((host.index for host in self.hosts), default=NEW_LAB)

    def host(self, name: str) -> LabHost:
        """The host of that name.

        Raises:
            LabError: There is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts) or "none"
        raise LabError(f"the lab has no host {name!r}; its hosts: {known}")

    def status(self) -> tuple[HostStatus, ...]:
        """Ask all hosts at once."""
        return tuple(_in_parallel(lambda host: host.status(), self.hosts))

    def _hosts_dir(self) -> Path:
        return self.directory / "hosts"

    def _record(self) -> tuple[str, network.Network] | None:
        """Prefix and subnet as written at the first `up`, or None."""
        path = self.directory / "lab.json"
        try:
            record = json.loads(path.read_text())
            return str(record["prefix"]), network.Network(record["subnet"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError) as error:
            raise LabError(f"{path} is damaged: {error}", hint="run `lab down`, then `lab up`") from error

    # -- up ----------------------------------------------------------------------------------------

    def up(
        self,
        hosts: int | None = None,
        *,
        pool_size: int | None = None,
        ceph: bool = False,
        ovs: bool = False,
    ) -> tuple[LabHost, ...]:
        """Bring up at least `hosts` hosts; healthy ones are kept, broken ones mended.

        A lab that has Ceph or Open vSwitch gets them back without being told.

        Args:
            hosts: Number of hosts; a lab that has more keeps them. None: those it has, three for a new one.
            pool_size: Bytes that each default pool can hold, or None for the disk's free space.
            ceph: Bring up a Ceph that all hosts can use.
            ovs: Give every host Open vSwitch.

        Raises:
            LabError: This machine cannot, or a host does not answer.
        """
        preflight(self.directory)
        hosts = self.size if hosts is None else hosts
        if not 1 <= hosts <= network.MAX_HOSTS:
            raise LabError(f"a lab has 1 to {network.MAX_HOSTS} hosts, not {hosts}")
        self.directory.mkdir(parents=True, exist_ok=True)
        with _locked(self.directory):
            with _locked(Path("/run")):
                prefix, subnet = self._claim_network()
            self._lay_out(hosts, prefix, subnet)
            known = self.hosts
            if pool_size is not None:
                for host in known:
                    self._limit_pool(host, pool_size)
            self._bring_up(known)
            if ovs:
                _in_parallel(LabHost.start_ovs, known)
            if ceph or self.ceph.was_started:
                self._progress("lab: Ceph")
                self.ceph.start(known)
        return known

    def _bring_up(self, hosts: Sequence[LabHost]) -> None:
        """Boot all hosts, then wait: the first one alone fills libvirt's cache of what QEMU can do."""
        self._progress(f"lab: {len(hosts)} hosts on {network.bridge_name(self.tag)} in {self.directory}")
        asleep = [host for host in hosts if not host.is_running]
        _in_parallel(LabHost.boot, asleep)
        booted = {host.name for host in asleep}

        def bring(host: LabHost) -> HostStatus:
            # Whoever helps a host that still boots starts its daemons twice, and its init gives up.
            return host.wait_for_libvirt() if host.name in booted else host.ensure_up()

        for group in (hosts[:1], hosts[1:]):
            for status in _in_parallel(bring, group):
                self._progress(f"{status.name}: {status.state} at {status.address}, libvirt {status.libvirt}")

    def _claim_network(self) -> tuple[str, network.Network]:
        """Choose the subnet once, and make the bridge that marks it as taken: prefix and subnet."""
        record = self._record()
        if record is None:
            subnet = self._new_subnet()
            text = json.dumps({"prefix": self.prefix, "subnet": str(subnet)})
            (self.directory / "lab.json").write_text(text + "\n")
            record = self.prefix, subnet
        network.make_bridge(self.tag, record[1])
        return record

    def _new_subnet(self) -> network.Network:
        if self._asked_subnet is not None:
            return network.given_subnet(self._asked_subnet)
        is_default = self.directory == default_directory().resolve()
        return network.choose_subnet(self.tag, default_lab=is_default)

    def _lay_out(self, count: int, prefix: str, subnet: network.Network) -> None:
        """Write every file of the lab that is missing; keys and libvirt's objects are kept."""
        for name in ("cache", "shared"):
            (self.directory / name).mkdir(exist_ok=True)
        _make_key(self.directory / "id_ed25519", "reconciler-lab")
        for index in range(1, count + 1):
            folder = self._hosts_dir() / f"{prefix}{index}"
            folder.mkdir(parents=True, exist_ok=True)
            files.lay_out_host(
                folder,
                address=network.host_address(subnet, index),
                guest_prefix=network.guest_prefix(index),
                uuid=str(uuid.uuid5(uuid.NAMESPACE_URL, str(folder))),
            )
            _make_key(folder / "host_key", folder.name)
        for host in self.hosts:
            host.accept_key()
        self._write_shared_files()

    def _write_shared_files(self) -> None:
        """Write the inventory and what all hosts share."""
        entries = [
            files.HostEntry(host.name, host.index, host.address, _public_key(host.directory / "host_key"))
            for host in self.hosts
        ]
        lab = self.directory
        files.write_in_place(self.inventory, files.inventory(lab, entries))
        files.write_in_place(lab / "known_hosts", files.known_hosts(entries))
        files.write_in_place(lab / "hosts_file", files.hosts_file(entries))
        files.write_in_place(lab / "ssh_config", files.SSH_CONFIG.format(lab=lab))
        files.write_in_place(lab / "ssh", files.SSH_WRAPPER.format(lab=lab), mode=0o755)
        files.write_in_place(lab / "shadow", files.SHADOW, mode=0o600)

    def _limit_pool(self, host: LabHost, size: int) -> None:
        """Put the host's default pool on a file system of its own of `size` bytes."""
        target = str(host.images_dir)
        if target in _mounts_below(host.images_dir):
            run(["mount", "-o", f"remount,size={size}", target])
        elif host.is_running:
            raise LabError(f"host {host.name} runs with an unlimited pool", hint="run `lab down` first")
        else:
            run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", f"rlab-{self.tag}", target])

    # -- down --------------------------------------------------------------------------------------

    def down(self, *, purge: bool = False) -> None:
        """End every process of the lab and remove all that it made; works on any remains.

        Args:
            purge: Remove the cached guests too.

        Raises:
            LabError: Something would not go.
        """
        if os.geteuid() != 0:
            raise LabError("the lab needs root", hint="use sudo")
        if not self.directory.exists():
            self._remove_running_parts()
            return
        with _locked(self.directory):
            self._remove_running_parts()
            for name in (*OWN_FILES, "guests") if purge else OWN_FILES:
                _remove(self.directory / name)
            if not any(self.directory.iterdir()):
                self.directory.rmdir()
        self._progress(f"lab: nothing is left of {self.directory}")

    def _remove_running_parts(self) -> None:
        """End processes, links and mounts, found by their marks and not by any state file."""
        for pid in self._marked_processes():
            send(pid, signal.SIGKILL)
        if not wait_until(lambda: not self._marked_processes(), timeout=20.0):
            raise LabError(f"processes of the lab do not end: {self._marked_processes()}")
        network.remove_lab_links(self.tag)
        for target in reversed(_mounts_below(self._hosts_dir())):
            run(["umount", target])

    def _marked_processes(self) -> list[int]:
        """Inits of this lab's hosts and of its Ceph, and the processes that hold them."""
        mark = f"{self._hosts_dir()}/"
        ceph = str(self.directory / "ceph")
        return [
            pid
            for pid, argv in command_lines()
            if runs_ceph(argv, ceph) or any(boots(argv, word) for word in argv if word.startswith(mark))
        ]


def _in_parallel(work: Callable[[LabHost], Result], hosts: Sequence[LabHost]) -> list[Result]:
    """Do the same to all hosts at once; results in the hosts' order.

    Raises:
        LabError: Some failed; the message has all failures, and the others were still carried out.
    """
    if not hosts:
        return []
    with ThreadPoolExecutor(max_workers=min(len(hosts), 16)) as pool:
        futures = [pool.submit(work, host) for host in hosts]
    errors = [error for future in futures if (error := future.exception()) is not None]
    unexpected = [error for error in errors if not isinstance(error, LabError)]
    if unexpected:
        raise unexpected[0]
    failures = [error for error in errors if isinstance(error, LabError)]
    if failures:
        raise LabError("\n".join(failure.message for failure in failures), hint=failures[0].hint)
    return [future.result() for future in futures]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the folder itself carries it, so that no lock file is left behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_key(path: Path, comment: str) -> None:
    """Make an ssh key pair unless it is there."""
    if path.exists() and path.with_name(path.name + ".pub").exists():
        return
    path.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def _public_key(path: Path) -> str:
    """Type and base64 part of the public key beside `path`."""
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def _mounts_below(folder: Path) -> list[str]:
    """Mount points in this namespace at or below a folder, in the order of mounting."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in points if Path(point).is_relative_to(folder)]


def _remove(path: Path) -> None:
    """Remove a file or a tree; what is already gone is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
