"""One throw-away host: its boot and its end, its daemons, and the ways in which tests break it.

A host is a set of namespaces (network, mount, UTS, pid) around a small init, `boot.sh`. The init is
found by its command line, so that no pid file can lie; when it dies the kernel ends every process
of the host. What a real machine has on its disk lies in the host's folder and survives `stop`.
"""

from __future__ import annotations

import filecmp
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from reconciler.errors import LabError
from reconciler.lab import network
from reconciler.lab.packages import OVS_COMMANDS, missing_packages
from reconciler.lab.process import (
    command_lines,
    inner_pid,
    namespace_members,
    run,
    send,
    spawn,
    tail,
    wait_until,
)

BOOT_SCRIPT: Final = Path(__file__).with_name("boot.sh")
OVS_SCRIPT: Final = Path(__file__).with_name("ovs.sh")
BOOT_TIMEOUT: Final = 30.0
"""Seconds a host may take until its libvirt answers."""


class HostState(StrEnum):
    """How a host is: it answers, some of it runs, or nothing does."""

    UP = "up"
    HALF = "half"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What a look at a host found.

    Attributes:
        name: Inventory name.
        state: Whether it answers.
        address: IPv4 address.
        libvirt: Version of its libvirtd; empty unless up.
        domains: Number of domains, running or not; None unless up.
        detail: Why it is not up, in words; empty when it is.
    """

    name: str
    state: HostState
    address: str
    libvirt: str = ""
    domains: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a host needs to know of its lab.

    Attributes:
        lab: Folder of the lab.
        tag: The lab's tag in link names.
        subnet: The lab's subnet.
    """

    lab: Path
    tag: str
    subnet: network.Network


def boots(argv: Sequence[str], directory: str) -> bool:
    """Whether a command line is a stage of the boot script for the host in `directory`."""
    return directory in argv and any(word.endswith(f"/lab/{BOOT_SCRIPT.name}") for word in argv)


class LabHost:
    """A throw-away host. Get one from :class:`reconciler.lab.Lab`; do not construct it yourself.

    Attributes:
        name: Inventory name, for example ``lab1``.
        index: 1-based number within the lab.
        address: IPv4 address, reachable from the root namespace.
        directory: What the host has on disk: configuration, state, logs, images.
    """

    def __init__(self, name: str, index: int, directory: Path, wiring: Wiring) -> None:
        self.name = name
        self.index = index
        self.directory = directory
        self.address = network.host_address(wiring.subnet, index)
        self._wiring = wiring

    def __repr__(self) -> str:
        return f"LabHost({self.name!r}, {self.address!r})"

    @property
    def images_dir(self) -> Path:
        """The default pool's folder, as the root namespace sees it."""
        return self.directory / "images"

    @property
    def uri(self) -> str:
        """URI of its libvirt for the root namespace, over ssh with the lab's key and known_hosts."""
        return f"qemu+ssh://root@{self.address}/system?command={self._wiring.lab}/ssh"

    @property
    def cable(self) -> str:
        """Name of the root namespace's end of the host's cable."""
        return network.cable_name(self._wiring.tag, self.index)

    @property
    def guest_prefix(self) -> str:
        """First three octets of the addresses that the host's default network hands out."""
        return network.guest_prefix(self.index)

    # -- looking -----------------------------------------------------------------------------------

    def holder(self) -> int | None:
        """Process id of the host's init, or None when the host is down."""
        for pid, argv in command_lines():
            if argv[0] == "bash" and boots(argv, str(self.directory)) and inner_pid(pid) == 1:
                return pid
        return None

    @property
    def is_running(self) -> bool:
        """Whether the host's init is alive, whatever its daemons do."""
        return self.holder() is not None

    def processes(self) -> dict[int, str]:
        """The host's processes: machine-wide id to short name. Empty when the host is down."""
        holder = self.holder()
        return namespace_members(holder) if holder else {}

    def libvirtd_pid(self) -> int | None:
        """Machine-wide process id of libvirtd, or None."""
        return self._daemon_pid("libvirtd", "run/libvirt/libvirtd.pid")

    def sshd_pid(self) -> int | None:
        """Machine-wide process id of the listening sshd, or None."""
        return self._daemon_pid("sshd", "run/sshd.pid")

    def _daemon_pid(self, name: str, pid_file: str) -> int | None:
        """The process of that name whose inner id the host's pid file gives."""
        holder = self.holder()
        if holder is None:
            return None
        try:
            expected = int(Path(f"/proc/{holder}/root", pid_file).read_text().strip())
        except (OSError, ValueError):
            return None
        for pid, comm in namespace_members(holder).items():
            if comm == name and inner_pid(pid) == expected:
                return pid
        return None

    def status(self, *, timeout: float = 5.0) -> HostStatus:
        """Ask the host's libvirt over ssh, for at most `timeout` seconds."""
        if not self.is_running:
            return HostStatus(self.name, HostState.DOWN, self.address, detail="the host is not running")
        argv = ["virsh", "--quiet", "--connect", self.uri, "version --daemon; list --all --name"]
        try:
            lines = run(argv, timeout=timeout).stdout.splitlines()
        except LabError as error:
            return HostStatus(self.name, HostState.HALF, self.address, detail=self._why(error))
        version = next((line.split()[-1] for line in lines if "daemon:" in line), "")
        after = [number for number, line in enumerate(lines) if "daemon:" in line]
        names = [line for line in lines[after[-1] + 1 :] if line.strip()] if after else []
        return HostStatus(self.name, HostState.UP, self.address, version, len(names))

    def _why(self, error: LabError) -> str:
        """What is missing on a host that runs but does not answer."""
        if self.sshd_pid() is None:
            return "sshd is not running"
        if self.libvirtd_pid() is None:
            return "libvirtd is not running"
        return f"libvirt does not answer over ssh: {error.message}"

    # -- boot and end ------------------------------------------------------------------------------

    def start(self) -> None:
        """Boot the host and wait until its libvirt answers; domains that it had are defined again.

        Raises:
            LabError: It did not answer in time; the message has the end of its logs.
        """
        if not self.is_running:
            self.boot()
        self.wait_for_libvirt()

    def boot(self) -> None:
        """Start the host's init without waiting for its daemons."""
        network.remove_link(self.cable)
        address = f"{self.address}/{self._wiring.subnet.prefixlen}"
        script = ["bash", str(BOOT_SCRIPT), "wire", str(self.directory), self.name, address, self.cable]
        script += [network.bridge_name(self._wiring.tag), str(os.getpid())]
        spawn(["setsid", "--fork", "unshare", "--net", *script], self.directory / "boot.log")

    def wait_for_libvirt(self, *, timeout: float = BOOT_TIMEOUT) -> HostStatus:
        """Wait until libvirt answers over ssh.

        Raises:
            LabError: It does not within `timeout` seconds, or the host's boot failed.
        """
        ready = wait_until(lambda: self._socket_exists() or not self._is_booting(), timeout=timeout)
        if ready and self._socket_exists():
            status = self.status(timeout=timeout)
            if status.state is HostState.UP:
                return status
            ready = wait_until(
                lambda: self.status(timeout=timeout).state is HostState.UP, timeout=timeout / 3, pause=0.2
            )
            if ready:
                return self.status(timeout=timeout)
            raise self._failure(status.detail)
        raise self._failure("its libvirtd did not come up" if ready else "it is too slow")

    def _socket_exists(self) -> bool:
        holder = self.holder()
        return holder is not None and Path(f"/proc/{holder}/root/run/libvirt/libvirt-sock").exists()

    def _is_booting(self) -> bool:
        """Whether any stage of the boot script is alive."""
        return bool(self._init_pids())

    def _failure(self, what: str) -> LabError:
        logs = (self.directory / "boot.log", self.directory / "log/libvirtd.log")
        said = "".join(f"\n  end of {log}:{tail(log)}" for log in logs if log.exists())
        message = f"host {self.name} cannot be used: {what}{said}"
        return LabError(message, hint="run `lab down`, then `lab up`")

    def stop(self) -> None:
        """Power cut: every process of the host dies at once, its running domains with them.

        Raises:
            LabError: The kernel did not end it within 15 s.
        """
        for pid in self._init_pids():
            send(pid, signal.SIGKILL)
        if not wait_until(lambda: not self._is_booting(), timeout=15.0):
            raise LabError(f"host {self.name}: its processes do not end")
        network.remove_link(self.cable)

    def _init_pids(self) -> list[int]:
        """The host's init and the process that holds it, in whatever stage of the boot they are."""
        return [pid for pid, argv in command_lines() if boots(argv, str(self.directory))]

    def ensure_up(self) -> HostStatus:
        """Bring the host to answer by the gentlest means: nothing, its daemons, a reboot.

        Raises:
            LabError: Even a reboot does not help.
        """
        if not self.is_running:
            if not self._is_booting():
                self.boot()
            return self.wait_for_libvirt()
        self.plug_cable()
        self.resume_libvirtd()
        self.accept_key()
        self._start_missing_daemons()
        try:
            return self.wait_for_libvirt(timeout=6.0)
        except LabError:
            self.stop()
            self.boot()
            return self.wait_for_libvirt()

    def _start_missing_daemons(self) -> None:
        if self.has_ovs:
            self.start_ovs()
        if self.sshd_pid() is None:
            self.start_sshd()
        if self.libvirtd_pid() is None:
            self.start_libvirtd()

    # -- Open vSwitch ------------------------------------------------------------------------------

    @property
    def has_ovs(self) -> bool:
        """Whether the host was given Open vSwitch: it starts it again at every boot."""
        return (self.directory / "ovs").is_dir()

    def start_ovs(self) -> None:
        """Give a running host Open vSwitch in user space, with a bridge ``ovsbr0``; what runs is kept.

        Raises:
            LabError: The package is missing, the host is down, or it does not start.
        """
        missing = missing_packages(OVS_COMMANDS)
        if missing:
            raise LabError(f"Open vSwitch is not here: install {', '.join(missing)}")
        self.run(["bash", str(OVS_SCRIPT), str(self.directory / "ovs")])

    # -- use ---------------------------------------------------------------------------------------

    def run(
        self, command: str | Sequence[str], *, timeout: float = 30.0, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, without ssh.

        Args:
            command: Text for the host's shell, or a program with its arguments.
            timeout: Seconds after which it is killed.
            check: Raise when the exit status is not 0.
            stdin: Text for its standard input.

        Raises:
            LabError: The host is down, or the command failed while `check` is set.
        """
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        return run([*self.enter(), *argv], timeout=timeout, check=check, stdin=stdin)

    def enter(self) -> list[str]:
        """The command line that enters the host's namespaces; append a program to it.

        Raises:
            LabError: The host is down.
        """
        holder = self.holder()
        if holder is None:
            raise LabError(f"host {self.name} is not running", hint="run `lab up`")
        return ["nsenter", f"--target={holder}", "--mount", "--uts", "--net", "--pid", "--wd=/", "--"]

    def virsh(self, *arguments: str, timeout: float = 30.0) -> str:
        """Output of virsh on the host's own libvirt.

        Raises:
            LabError: It failed.
        """
        return self.run(["virsh", "--quiet", *arguments], timeout=timeout).stdout

    def add_images(self, images: Sequence[Path]) -> None:
        """Copy files into the default pool and let libvirt see them; equal ones are kept.

        Raises:
            LabError: The host is down, or the pool is full.
        """
        for image in images:
            target = self.images_dir / image.name
            if not (target.exists() and filecmp.cmp(image, target)):
                run(["cp", "--sparse=always", "--reflink=auto", str(image), str(target)])
        self.virsh("pool-refresh", "default")

    # -- breaking and mending ----------------------------------------------------------------------

    def pause_libvirtd(self) -> None:
        """Stop libvirtd in its tracks: connections are taken, nothing answers ("hung")."""
        send(self._needed_libvirtd(), signal.SIGSTOP)

    def resume_libvirtd(self) -> None:
        """Let a paused libvirtd go on."""
        pid = self.libvirtd_pid()
        if pid is not None:
            send(pid, signal.SIGCONT)

    def kill_libvirtd(self) -> None:
        """Kill libvirtd; domains go on running."""
        pid = self._needed_libvirtd()
        send(pid, signal.SIGKILL)
        if not wait_until(lambda: self.libvirtd_pid() is None, timeout=5.0):
            raise LabError(f"host {self.name}: libvirtd does not die")

    def _needed_libvirtd(self) -> int:
        pid = self.libvirtd_pid()
        if pid is None:
            raise LabError(f"host {self.name} has no running libvirtd")
        return pid

    def start_libvirtd(self) -> None:
        """Start libvirtd on a running host; returns once it listens (it finds its domains itself)."""
        self.run(["libvirtd", "--daemon", "--pid-file", "/run/libvirt/libvirtd.pid"])

    def kill_sshd(self) -> None:
        """Kill the listening sshd: new connections are refused, open ones go on."""
        pid = self.sshd_pid()
        if pid is not None:
            send(pid, signal.SIGKILL)
            wait_until(lambda: self.sshd_pid() is None, timeout=5.0)

    def start_sshd(self) -> None:
        """Start sshd on a running host."""
        self.run(["/usr/sbin/sshd", "-f", str(self.directory / "sshd_config")])

    def refuse_key(self) -> None:
        """Let sshd refuse the lab's key; connections that are open stay so."""
        (self.directory / "authorized_keys").write_text("")

    def accept_key(self) -> None:
        """Let sshd accept the lab's key again."""
        key = (self._wiring.lab / "id_ed25519.pub").read_text()
        (self.directory / "authorized_keys").write_text(key)

    def unplug_cable(self) -> None:
        """Cut the host off: packets vanish, nobody is told."""
        run(["ip", "link", "set", self.cable, "nomaster"])

    def plug_cable(self) -> None:
        """Connect the host to the lab's bridge again."""
        bridge = network.bridge_name(self._wiring.tag)
        run(["ip", "link", "set", self.cable, "master", bridge, "up"])
