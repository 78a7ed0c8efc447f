"""The lab as the world that a test asks: what libvirt, the pools and the guests say, never what we say."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from reconciler.errors import LabError
from reconciler.lab import Lab, LabHost
from reconciler.lab.guest_access import guest_address, guest_status
from reconciler.lab.guests import Guests
from reconciler.lab.process import command_lines, run

T = TypeVar("T")

POOL = "/var/lib/libvirt/images"

# Everything that a scenario may leave on a host, in one call: domains, volumes, networks and further pools.
_WIPE = f"""
for domain in $(virsh -q list --all --uuid); do
    virsh -q "destroy $domain; undefine $domain --managed-save --nvram --snapshots-metadata" &
done >/dev/null 2>&1
wait
for pool in $(virsh -q pool-list --all --name | grep -v '^default *$'); do
    virsh -q "pool-destroy $pool; pool-undefine $pool"
done >/dev/null
for network in $(virsh -q net-list --all --name | grep -v '^default *$'); do
    virsh -q "net-destroy $network; net-undefine $network"
done >/dev/null
for folder in small fast pools; do
    umount /var/lib/libvirt/$folder; rm -r /var/lib/libvirt/$folder
done 2>/dev/null
find {POOL} -mindepth 1 -delete
find /var/lib/libvirt/shared -mindepth 1 -delete 2>/dev/null
while umount -q -l /usr/bin/qemu-img; do :; done
rm -f /run/slow
if [ -S /run/openvswitch/db.sock ]; then
    for bridge in $(ovs-vsctl list-br); do ovs-vsctl del-br $bridge; done
    ovs-vsctl add-br ovsbr0 -- set bridge ovsbr0 datapath_type=netdev
fi
virsh -q pool-refresh default >/dev/null
virsh -q list --all --name
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """One domain as its host's libvirt shows it: the XML of its next start, and of its running instance.

    `run` is the process id of its emulator: the same one means that it was never restarted.
    """

    host: str
    config: str
    live: str | None
    run: int | None

    @property
    def uid(self) -> str:
        """Its UUID."""
        return values(self.config, "uuid")[0]

    @property
    def macs(self) -> list[str]:
        """MAC addresses of its interfaces."""
        return values(self.config, "devices/interface/mac@address")

    @property
    def disks(self) -> list[str]:
        """Files of its disks."""
        return values(self.config, "devices/disk[@device='disk']/source@file")


class World:
    """The hosts of the lab, asked directly and not over ssh."""

    def __init__(self, lab: Lab, guests: Guests, debian: Callable[[], Path] | None = None) -> None:
        self.lab = lab
        self.guests = guests
        self._build_debian = debian
        self._debian: Path | None = None

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """The hosts."""
        return self.lab.hosts

    def each(self, work: Callable[[LabHost], T]) -> list[T]:
        """Do the same on every host, side by side."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            return list(pool.map(work, self.hosts))

    # -- before and after a scenario -----------------------------------------------------------------

    def mend(self) -> None:
        """Hosts that a scenario broke answer again."""
        self.lab.up(len(self.hosts))

    def wipe(self) -> None:
        """No domain, and no file in a pool, on any host."""
        try:
            left = self.each(lambda host: host.run(_WIPE, check=False, timeout=20).stdout.split())
        except LabError:
            self.mend()
            left = self.each(lambda host: host.run(_WIPE, check=False, timeout=60).stdout.split())
        assert not any(left), f"what would not go: {left}"

    # -- what not every scenario needs -----------------------------------------------------------------

    def need(self, features: Iterable[str]) -> None:
        """Bring up what a scenario needs; it stays for later ones."""
        wanted = set(features)
        assert wanted <= {"ceph", "ovs", "debian"}, f"no lab has {sorted(wanted)}"
        if "ovs" in wanted:
            self.each(LabHost.start_ovs)
        if "ceph" in wanted:
            self.lab.ceph.start(self.hosts)
            self.lab.ceph.empty()
        if "debian" in wanted:
            assert self._build_debian is not None
            self._debian = self._build_debian()

    def images(self) -> dict[str, Path]:
        """The guests that a scenario finds as images, by name."""
        found = {"halt": self.guests.halt, "tiny": self.guests.tiny}
        return found | ({"debian": self._debian} if self._debian else {})

    def facts(self, text: str) -> dict[str, str]:
        """What the `$words` of a text stand for, as far as the lab knows."""
        found = {}
        if "$ceph" in text:
            ceph = self.lab.ceph
            found |= {"ceph_host": ceph.address, "ceph_user": ceph.user, "ceph_secret": ceph.secret}
        if "$ssh_key" in text:
            found["ssh_key"] = self.guest_key.with_suffix(".pub").read_text().strip()
        if "$guest_key" in text:
            found["guest_key"] = str(self.guest_key)
        return found

    @property
    def guest_key(self) -> Path:
        """A private key for guests, at a place that every host sees."""
        path = self.lab.directory / "cache/guest_key"
        if not path.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guests", "-f", str(path)])
        return path

    # -- domains ------------------------------------------------------------------------------------

    def names(self, host: LabHost) -> list[str]:
        """Names of all domains of a host; none of one that is down."""
        if not host.is_running:
            return []
        return sorted(name for name in host.virsh("list", "--all", "--name").splitlines() if name)

    def where(self, name: str) -> list[str]:
        """Hosts that have a domain of this name."""
        return [host.name for host in self.hosts if name in self.names(host)]

    def host_of(self, name: str) -> LabHost:
        """The one host that has a domain of this name."""
        found = self.where(name)
        assert len(found) == 1, f"{name} is on {found or 'no host'}"
        return self.lab.host(found[0])

    def look(self, name: str, host: LabHost | None = None) -> Seen:
        """A domain's XML."""
        host = host or self.host_of(name)
        live = None
        if self.state(name, host) != "shut off":
            live = host.virsh("dumpxml", "--domain", name)
        return Seen(
            host.name, host.virsh("dumpxml", "--inactive", "--domain", name), live, self._emulator(host, name)
        )

    def _emulator(self, host: LabHost, name: str) -> int | None:
        uid = host.virsh("domuuid", "--domain", name).strip()
        members = host.processes()
        for pid, argv in command_lines():
            if pid in members and argv[0].endswith("x86_64") and uid in argv:
                return pid
        return None

    def state(self, name: str, host: LabHost | None = None) -> str:
        """A domain's state in libvirt's words."""
        return (host or self.host_of(name)).virsh("domstate", "--domain", name).strip()

    def autostart(self, name: str) -> bool:
        """Whether a domain starts with its host."""
        return bool(re.search(r"Autostart: *enable", self.host_of(name).virsh("dominfo", "--domain", name)))

    # -- files and guests ---------------------------------------------------------------------------

    def files(self, host: LabHost) -> list[str]:
        """Names of the files in a host's default pool."""
        return sorted(path.name for path in host.images_dir.iterdir())

    def image_info(self, host: LabHost, path: str) -> dict[str, object]:
        """What qemu-img says of a disk."""
        text = host.run(["qemu-img", "info", "--force-share", "--output=json", path]).stdout
        info: dict[str, object] = json.loads(text)
        return info

    def guest(self, name: str) -> dict[str, str]:
        """What a tiny guest says of itself, from inside."""
        host = self.host_of(name)
        try:
            return guest_status(host, guest_address(host, name))
        except LabError as error:
            raise AssertionError(str(error)) from error


def values(xml: str, path: str) -> list[str]:
    """What stands at a path of an XML text: ``vcpu@current`` an attribute, ``name`` a text.

    ``count(devices/disk)`` is the number of elements.  Paths are ElementTree's: ``a/b[@c='d']``.
    """
    root = ET.fromstring(xml)  # libvirt's own
    counted = re.fullmatch(r"count\((.*)\)", path)
    if counted:
        return [str(len(root.findall(counted[1])))]
    # An @ inside of [...] belongs to the condition.
    place, at, attribute = path.rpartition("@")
    if not at or "]" in attribute:
        place, attribute = path, ""
    return list(_read(root.findall(place or "."), attribute))


def _read(elements: Iterable[ET.Element], attribute: str) -> Iterable[str]:
    for element in elements:
        if not attribute:
            yield (element.text or "").strip()
        elif element.get(attribute) is not None:
            yield element.get(attribute, "")
