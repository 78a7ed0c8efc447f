"""Hosts for the observer's contract tests: libvirt's test driver with nodes described in files."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from uuid import UUID

import pytest

from reconciler.model.domain import CONFIG_JSON, DomainConfig
from reconciler.model.host import Host
from reconciler.observed.connection import Connection

_NOBODY = 65534


def uuid_of(number):
    return str(UUID(int=number + (4 << 76) + (8 << 60)))


def domain_xml(name, number, *, memory=512, metadata="", description=""):
    return f"""
      <domain type='test'>
        <name>{name}</name><uuid>{uuid_of(number)}</uuid>
        {f"<description>{description}</description>" if description else ""}
        {f"<metadata>{metadata}</metadata>" if metadata else ""}
        <memory unit='MiB'>{memory}</memory><vcpu>2</vcpu>
        <os><type arch='x86_64'>hvm</type></os>
        <devices>
          <disk type='file' device='disk'>
            <driver type='qcow2'/><source file='/pool/{name}.qcow2'/><target dev='vda' bus='virtio'/>
          </disk>
          <interface type='network'>
            <mac address='52:54:00:00:00:{number:02x}'/><source network='default'/>
          </interface>
        </devices>
      </domain>"""


def mark(name, number, owner="default"):
    config = DomainConfig(name=name, uuid=uuid_of(number))
    return (
        f'<reconciler:vm xmlns:reconciler="urn:reconciler:vm:v1" owner="{owner}" uid="{uuid_of(number)}" '
        f'name="{name}" generation="2" hash="abc">{CONFIG_JSON.dump_json(config).decode()}</reconciler:vm>'
    )


def node_xml(*domains):
    return f"""
    <node>
      {"".join(domains)}
      <network><name>default</name><bridge name='virbr0'/><ip address='192.0.2.1'/></network>
      <pool type='dir'><name>default</name><target><path>/pool</path></target></pool>
      <cpu><mhz>2400</mhz><model>x86_64</model><active>16</active></cpu>
      <memory>67108864</memory>
    </node>"""


class Nodes:
    """Writes node files, and keeps the connections that an observer opened: nobody else sees such a node."""

    def __init__(self, folder):
        self._folder = folder
        self._connections = {}

    def host(self, name, *domains, **settings):
        path = self._folder / f"{name}.xml"
        path.write_text(node_xml(*domains))
        return Host(name, f"test://{path}", **settings)

    def open(self, host, listener):
        connection = Connection.open(host, listener)
        self._connections[host.name] = connection
        return connection

    def __getitem__(self, name):
        return self._connections[name].raw

    def domain(self, host, name):
        return self[host].lookupByName(name)


@pytest.fixture
def nodes(tmp_path):
    return Nodes(tmp_path)


def until(what, seconds=5.0):
    """Wait for an event that libvirt delivers on a thread of its own."""
    give_up = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < give_up, "it did not come to pass"
        time.sleep(0.005)


class Daemon:
    """A libvirtd of our own, unprivileged, that serves the test driver on a socket."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="libvirtd-"))
        (self.folder / "libvirtd.conf").write_text(
            f'unix_sock_dir = "{self.folder}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
        )
        self._log = (self.folder / "log").open("wb")
        self._process = None
        if os.geteuid() == 0:
            shutil.chown(self.folder, _NOBODY, _NOBODY)
        self.start()

    @property
    def uri(self):
        return f"test+unix:///default?socket={self.folder}/libvirt-sock"

    def host(self, name, **settings):
        return Host(name, self.uri, **settings)

    def start(self):
        # A privileged libvirtd would use this machine's own /run/libvirt.
        user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        places = ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
        self._process = subprocess.Popen(
            ["libvirtd", "-f", self.folder / "libvirtd.conf", "-p", self.folder / "pid"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **dict.fromkeys(places, str(self.folder))},
            stderr=self._log,
            **user,
        )
        until(self._answers)

    def _answers(self):
        """A socket that is bound and does not listen yet refuses."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.folder / "libvirt-sock")) == 0

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._process.wait()
        (self.folder / "libvirt-sock").unlink()

    def close(self):
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def daemons():
    """Makes daemons, and ends them."""
    made = []

    def make():
        made.append(Daemon())
        return made[-1]

    yield make
    for daemon in made:
        daemon.close()
