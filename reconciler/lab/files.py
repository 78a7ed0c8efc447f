"""The texts of a lab: configuration of libvirtd, sshd and ssh, and the Ansible inventory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

LIBVIRTD_CONF = """\
auth_unix_rw = "none"
host_uuid = "{uuid}"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
max_clients = 1000
max_anonymous_clients = 100
"""

QEMU_CONF = """\
security_driver = "none"
user = "root"
group = "root"
swtpm_user = "root"
swtpm_group = "root"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
remember_owner = 0
"""

SSHD_CONFIG = """\
ListenAddress {address}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 100:30:200
MaxSessions 200
PidFile /run/sshd.pid
Subsystem sftp internal-sftp
"""

# dnsmasq would ping an address for three seconds before it gives it away.
NETWORK_XML = """\
<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='off' delay='0'/>
  <ip address='{prefix}.1' netmask='255.255.255.0'>
    <dhcp><range start='{prefix}.10' end='{prefix}.250'/></dhcp>
  </ip>
  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>
</network>
"""

POOL_XML = """\
<pool type='dir'>
  <name>default</name>
  <target><path>/var/lib/libvirt/images</path></target>
</pool>
"""

SSH_CONFIG = """\
Host *
    User root
    IdentityFile {lab}/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile {lab}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout 10
"""

SSH_WRAPPER = """\
#!/bin/sh
exec ssh -F {lab}/ssh_config "$@"
"""

SHADOW = "root:*:19000:0:99999:7:::\n"
"""A root without a password who is not locked: sshd without PAM refuses locked accounts."""


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host as the inventory and the name files show it.

    Attributes:
        name: Inventory name, for example ``lab1``.
        index: 1-based number within the lab.
        address: IPv4 address on the lab's bridge.
        key: Public host key as ``type base64``.
    """

    name: str
    index: int
    address: str
    key: str


def inventory(lab: Path, hosts: Iterable[HostEntry]) -> str:
    """Ansible inventory of the lab as YAML text."""
    shared = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(lab / "id_ed25519"),
        "ansible_ssh_common_args": (
            f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={lab}/known_hosts -o IdentitiesOnly=yes"
        ),
        "ansible_python_interpreter": "/usr/bin/python3",
        "reconciler_virt_type": "qemu",
        "reconciler_pool": "default",
    }
    entries = {
        host.name: {
            "ansible_host": host.address,
            "reconciler_labels": {"rack": f"r{host.index}", "zone": "a" if host.index % 2 else "b"},
        }
        for host in hosts
    }
    return yaml.safe_dump({"all": {"hosts": entries, "vars": shared}}, sort_keys=False)


def known_hosts(hosts: Iterable[HostEntry]) -> str:
    """Host keys in the format of ssh's known_hosts, by address and by name."""
    return "".join(f"{host.address},{host.name} {host.key}\n" for host in hosts)


def hosts_file(hosts: Iterable[HostEntry]) -> str:
    """What /etc/hosts says on every host: migration needs the hosts' names to resolve."""
    return "127.0.0.1 localhost\n" + "".join(f"{host.address} {host.name}\n" for host in hosts)


def write_in_place(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write without changing the inode: running hosts have some of these files bind-mounted."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
    path.chmod(mode)


def lay_out_host(directory: Path, *, address: str, guest_prefix: str, uuid: str) -> None:
    """Write one host's configuration below its folder; existing libvirt objects are kept.

    Args:
        directory: The host's folder.
        address: IPv4 address that sshd listens on.
        guest_prefix: First three octets of the host's NAT network.
        uuid: libvirt's host UUID, distinct for each host since migration compares them.
    """
    etc = directory / "etc"
    for folder in (
        "root",
        "lib/images",
        "lib/shared",
        "ceph",
        "log",
        "images",
        "etc/qemu/networks/autostart",
        "etc/storage/autostart",
    ):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    write_in_place(etc / "libvirtd.conf", LIBVIRTD_CONF.format(uuid=uuid))
    write_in_place(etc / "qemu.conf", QEMU_CONF)
    write_in_place(directory / "sshd_config", SSHD_CONFIG.format(address=address, directory=directory))
    _autostarted(etc / "qemu/networks", NETWORK_XML.format(prefix=guest_prefix))
    _autostarted(etc / "storage", POOL_XML)


def _autostarted(folder: Path, xml: str) -> None:
    """Define ``default`` in one of libvirt's configuration folders, to be started with the daemon."""
    write_in_place(folder / "default.xml", xml)
    link = folder / "autostart/default.xml"
    if not link.is_symlink():
        link.symlink_to("../default.xml")
