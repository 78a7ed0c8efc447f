"""The lab's Ceph: a real cluster of one monitor, one manager and one disk, reachable from every host.

Its daemons live in a pid namespace of their own around a small init, `ceph.sh`, which is found by its command
line as the hosts are; they listen on the address of the lab's bridge.
"""

from __future__ import annotations

import base64
import signal
import struct
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from reconciler.errors import LabError
from reconciler.lab.files import write_in_place
from reconciler.lab.host import LabHost
from reconciler.lab.packages import CEPH_COMMANDS, CEPH_FILES, missing_packages
from reconciler.lab.process import command_lines, run, send, spawn, tail, wait_until

SCRIPT: Final = Path(__file__).with_name("ceph.sh")
TIMEOUT: Final = 90.0
"""Seconds until the cluster must serve; ten are usual."""

SIZE: Final = 4 << 30
"""Bytes of its disk, a sparse file."""

USER: Final = "libvirt"
"""The Ceph user whose key every host has as a libvirt secret."""

CONF: Final = """\
[global]
fsid = {fsid}
mon_host = {address}
public_addr = {address}
auth_cluster_required = cephx
auth_service_required = cephx, none
auth_client_required = cephx, none
keyring = {directory}/keyring
run_dir = {directory}/run
admin_socket = {directory}/run/$name.asok
pid_file = {directory}/run/$name.pid
log_file = {directory}/log/$name.log
mon_cluster_log_file = {directory}/log/cluster.log
crash_dir = {directory}/run
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
osd_memory_target = 939524096
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_data_avail_warn = 1
mon_data_avail_crit = 1
auth_allow_insecure_global_id_reclaim = false
[mon]
mon_data = {directory}/mon
[mgr]
mgr_data = {directory}/mgr
mgr_initial_modules =
mgr_stats_period = 1
[osd]
osd_data = {directory}/osd
bluestore_block_size = {size}
"""

KEYRING: Final = """\
[mon.]
    key = {key}
    caps mon = "allow *"
[client.admin]
    key = {key}
    caps mds = "allow *"
    caps mgr = "allow *"
    caps mon = "allow *"
    caps osd = "allow *"
[mgr.a]
    key = {key}
    caps mds = "allow *"
    caps mon = "allow profile mgr"
    caps osd = "allow *"
[osd.0]
    key = {key}
    caps mgr = "allow profile osd"
    caps mon = "allow profile osd"
    caps osd = "allow *"
[client.libvirt]
    key = {key}
    caps mon = "profile rbd"
    caps osd = "profile rbd"
    caps mgr = "profile rbd"
"""

HOST_CONF: Final = """\
[global]
mon_host = {address}
auth_client_required = cephx, none
"""

KEY_XML: Final = """\
<secret ephemeral='no' private='no'>
  <uuid>{uuid}</uuid>
  <usage type='ceph'><name>the lab's Ceph</name></usage>
</secret>
"""


def runs_ceph(argv: list[str], directory: str) -> bool:
    """Whether a command line is the init of the Ceph in `directory`, or what holds it."""
    return directory in argv and any(word.endswith(f"/lab/{SCRIPT.name}") for word in argv)


class Ceph:
    """The lab's Ceph. Get it from :attr:`reconciler.lab.Lab.ceph`; do not construct it yourself.

    Attributes:
        directory: All that the cluster has on its disks, and its logs.
        address: IPv4 address of its monitor (port 6789), reachable from every host.
        pool: Name of its one pool, for rbd.
        user: A user of it; every host has the key as the libvirt secret `secret`. Anybody may come
            without a key too.
        secret: UUID of that secret, the same one on every host.
    """

    pool: Final = "rbd"
    user: Final = USER

    def __init__(self, directory: Path, address: str) -> None:
        self.directory = directory
        self.address = address
        self.secret = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{directory}/secret"))

    @property
    def key(self) -> str:
        """The one key of all its users, in base64."""
        return (self.directory / "key").read_text().strip()

    @property
    def was_started(self) -> bool:
        """Whether the lab has a Ceph, running or not."""
        return (self.directory / "ceph.conf").exists()

    @property
    def is_running(self) -> bool:
        """Whether it serves, as far as its init knows."""
        return bool(self.processes()) and (self.directory / "run/up").exists()

    def processes(self) -> list[int]:
        """Its init and the process that holds it."""
        return [pid for pid, argv in command_lines() if runs_ceph(argv, str(self.directory))]

    def start(self, hosts: Iterable[LabHost]) -> None:
        """Bring it up, with the data that it had, and give the hosts the key; a running one is kept.

        Args:
            hosts: Running hosts of the lab.

        Raises:
            LabError: A package is missing, or it does not serve in time.
        """
        missing = missing_packages(CEPH_COMMANDS, CEPH_FILES)
        if missing:
            raise LabError(f"the lab's Ceph misses Debian packages: {', '.join(missing)}")
        self._lay_out()
        if not self.processes():
            (self.directory / "run/up").unlink(missing_ok=True)
            self._spawn()
        if not wait_until(lambda: self.is_running or not self.processes(), timeout=TIMEOUT, pause=0.1):
            raise LabError(f"the lab's Ceph is too slow{self._log()}")
        if not self.is_running:
            hint = "run `lab down`, then `lab up`"
            raise LabError(f"the lab's Ceph did not come up{self._log()}", hint=hint)
        for host in hosts:
            self.introduce(host)

    def introduce(self, host: LabHost) -> None:
        """Give a host the key and what Ceph's own tools need to know.

        Raises:
            LabError: The host is down.
        """
        write_in_place(host.directory / "ceph/ceph.conf", HOST_CONF.format(address=self.address))
        if self.secret not in host.virsh("secret-list"):
            host.run(
                "cat >/run/libvirt/secret.xml && virsh -q secret-define /run/libvirt/secret.xml >/dev/null",
                stdin=KEY_XML.format(uuid=self.secret),
            )
        host.virsh("secret-set-value", self.secret, "--base64", self.key)

    def empty(self) -> None:
        """Remove every image, also those that a dead emulator still seems to use.

        Raises:
            LabError: It does not answer.
        """
        conf = ["-c", str(self.directory / "ceph.conf")]
        if not run(["rbd", *conf, "ls", self.pool], timeout=TIMEOUT).stdout.strip():
            return
        # Ceph waits half a minute for somebody who died: a new pool is quicker.
        name = self.pool
        sure = "--yes-i-really-really-mean-it"
        run(["ceph", *conf, "osd", "pool", "delete", name, name, sure], timeout=TIMEOUT)
        run(["ceph", *conf, "osd", "pool", "create", name, "8"], timeout=TIMEOUT)
        run(["rbd", *conf, "pool", "init", name], timeout=TIMEOUT)

    def stop(self) -> None:
        """Power cut: all its daemons die at once.

        Raises:
            LabError: The kernel did not end them within 15 s.
        """
        for pid in self.processes():
            send(pid, signal.SIGKILL)
        if not wait_until(lambda: not self.processes(), timeout=15.0):
            raise LabError("the processes of the lab's Ceph do not end")

    def _lay_out(self) -> None:
        """Write its configuration; one that is there stays, with its key."""
        (self.directory / "log").mkdir(parents=True, exist_ok=True)
        if self.was_started:
            return
        # A key in Ceph's encoding: type 1 (AES), no time, 16 bytes.
        secret = struct.pack("<HIIH", 1, 0, 0, 16) + uuid.uuid4().bytes
        key = base64.b64encode(secret).decode()
        write_in_place(self.directory / "key", key, mode=0o600)
        write_in_place(self.directory / "keyring", KEYRING.format(key=key), mode=0o600)
        facts = {"fsid": self._id("fsid"), "address": self.address, "directory": self.directory, "size": SIZE}
        write_in_place(self.directory / "ceph.conf", CONF.format(**facts))

    def _id(self, what: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.directory}/{what}"))

    def _spawn(self) -> None:
        script = ["bash", str(SCRIPT), str(self.directory), self.address, self._id("fsid"), self._id("osd")]
        argv = ["setsid", "--fork", "unshare", "--mount", "--pid", "--fork", "--kill-child", *script]
        spawn(argv, self.directory / "boot.log")

    def _log(self) -> str:
        log = self.directory / "boot.log"
        return f"\n  end of {log}:{tail(log)}"
