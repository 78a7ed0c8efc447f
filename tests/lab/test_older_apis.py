"""Each call of both older interfaces against real hosts, over plain HTTP, as the published clients make them.

The set-up files of the older system are imported first: the hosts, the images and the types come from there.
"""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.command import call
from support.world import World, values

pytestmark = [pytest.mark.lab, pytest.mark.slow]

TYPES = {
    "types": [
        {"tid": 1, "cpu": 1, "ram": 128, "disk": 0},
        {"tid": 2, "cpu": 1, "ram": 96, "disk": 1},
        {"tid": 9, "cpu": 1, "ram": 4_000_000, "disk": 0},
    ]
}
POOL = {
    "apiVersion": "reconciler/v1",
    "kind": "VirtualMachinePool",
    "metadata": {"name": "farm"},
    "spec": {
        "size": {"max": 2},
        "onCheckin": "Keep",
        "template": {
            "spec": {
                "instanceType": "type-1",
                "image": "tiny",
                "interfaces": [{"network": "default"}],
                "stopTimeout": "1s",
            }
        },
    },
}
PATIENCE = 60.0


class Installation:
    """What was imported, a daemon that serves the API, and a client of old."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.config = folder / "reconciler.yaml"
        self.log = folder / "daemon.log"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        self._import()
        self._token = base64.b64encode(f"ann:{self._make_token()}".encode()).decode()
        with self.log.open("w") as log:
            argv = [sys.executable, "-m", "reconciler.cli.main", "run", "--config", str(self.config)]
            self.daemon = subprocess.Popen(argv, stdout=log, stderr=log)
        self._until_it_has_ticked()

    def _import(self) -> None:
        """The three set-up files become an inventory and manifests in git."""
        lab = yaml.safe_load(self.world.lab.inventory.read_text())["all"]
        hosts = [f"root@{host['ansible_host']}" for host in lab["hosts"].values()]
        images = [str(path) for path in self.world.images().values()]
        seed, source = self.folder / "seed", self.folder / "source"
        for name, text in {
            "pm_file": "\n".join(hosts),
            "image_file": "\n".join(images),
            "types.json": json.dumps(TYPES),
        }.items():
            (self.folder / name).write_text(text + "\n")
        said = call(
            *("import", "seed", "--out", str(seed), "--state-dir", str(self.folder / "state")),
            *("--hosts", str(self.folder / "pm_file"), "--images", str(self.folder / "image_file")),
            *("--types", str(self.folder / "types.json")),
        )
        assert said.exit == 0, said.text
        # How to log in was never in the list: it is this lab's.
        (seed / "group_vars").mkdir()
        (seed / "group_vars/all.yml").write_text(yaml.safe_dump(lab["vars"]))
        source.mkdir()
        for name in ("images.yaml", "instance-types.yaml"):
            (seed / name).rename(source / name)
        (source / "pool.yaml").write_text(yaml.safe_dump(POOL))
        config = {
            "owner": "older",
            "source": {"path": "source", "git": True, "ref": "main"},
            "inventory": ["seed/hosts.ini"],
            "stateDir": "state",
            "daemon": {"period": "5m"},
            "api": {
                "listen": f"127.0.0.1:{self.port}",
                "olderApis": {"orchestration": True, "reservations": "farm"},
            },
        }
        self.config.write_text(yaml.safe_dump(config))
        for words in (
            "init --quiet --initial-branch main",
            "config user.name Older",
            "config user.email older@example.org",
            "add --all",
            "commit --quiet --message begin",
        ):
            subprocess.run(["git", "-C", str(source), *words.split()], check=True)

    def _make_token(self) -> str:
        said = call(
            "token", "create", "ann", "--role", "operator", "-o", "json", "--config", str(self.config)
        )
        assert said.exit == 0, said.text
        return str(json.loads(said.out)["token"])

    def _until_it_has_ticked(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.daemon.poll() is None:
            try:
                if len(self.get("/pm/list")["pmids"]) == len(self.world.hosts):
                    return
            except (urllib.error.URLError, ConnectionError):
                pass
            time.sleep(0.2)
        raise AssertionError(self.log.read_text())

    def text(self, path: str, **given: object) -> tuple[str, str]:
        """The body and its media type."""
        query = urllib.parse.urlencode(given)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}?{query}", headers={"Authorization": f"Basic {self._token}"}
        )
        with urllib.request.urlopen(request, timeout=180) as answer:
            assert answer.status == 200
            return answer.read().decode(), answer.headers["Content-Type"]

    def get(self, path: str, **given: object) -> Any:
        """The JSON of an answer."""
        return json.loads(self.text(path, **given)[0])

    def end(self) -> None:
        """The daemon ends well."""
        self.daemon.send_signal(signal.SIGTERM)
        try:
            status = self.daemon.wait(30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            raise
        print(self.log.read_text())
        assert status == 0


@pytest.fixture
def old(world: World, tmp_path: Path) -> Iterator[Installation]:
    made = Installation(world, tmp_path)
    yield made
    made.end()


def disks(world: World, name: str) -> int:
    """How many disks the running machine has."""
    seen = world.look(name)
    assert seen.live is not None
    return int(values(seen.live, "count(devices/disk)")[0])


def test_the_orchestration_layer(old: Installation) -> None:  # noqa: PLR0915 (one story)
    world, get = old.world, old.get
    # What was imported has the numbers that it had.
    assert get("/vm/types") == TYPES
    images = get("/server/image/list")["images"]
    assert images == [{"id": 1, "name": "halt"}, {"id": 2, "name": "tiny"}]
    assert get("/pm/list") == {"pmids": [1, 2, 3]}
    for pmid in (1, 2, 3):
        assert get("/pm/listvms", pmid=pmid) == {"vmids": []}
    empty = get("/pm/query", pmid=1)
    assert empty["vms"] == 0
    assert all(empty["free"][what] > 0 for what in ("cpu", "ram", "disk"))

    # Create, query.
    vmid = get("/server/vm/create", name="test_vm", instance_type=1, image_id=2)["vmid"]
    assert vmid > 0
    assert world.state("test_vm") == "running"
    where = int(world.host_of("test_vm").name.removeprefix("lab"))
    assert get("/vm/query", vmid=vmid) == {
        "vmid": vmid,
        "name": "test_vm",
        "instance_type": 1,
        "pmid": where,
    }
    assert get("/pm/listvms", pmid=where) == {"vmids": [vmid]}
    full = get("/pm/query", pmid=where)
    assert full["vms"] == 1
    assert full["free"]["ram"] == full["capacity"]["ram"] - 128

    # Attach, detach.
    volume = get("/volume/create", name="testvolume", size=1)["volumeid"]
    assert volume > 0
    free = {"volumeid": volume, "name": "testvolume", "size": 1, "status": "available"}
    assert get("/volume/query", volumeid=volume) == free
    assert disks(world, "test_vm") == 1
    assert get("/volume/attach", vmid=vmid, volumeid=volume) == {"status": 1}
    assert disks(world, "test_vm") == 2
    assert get("/volume/query", volumeid=volume) == {**free, "status": "attached", "vmid": vmid}
    assert get("/volume/destroy", volumeid=volume) == {"status": 0}
    assert get("/volume/detach", volumeid=volume) == {"status": 1}
    assert disks(world, "test_vm") == 1
    assert get("/volume/detach", volumeid=volume) == {"status": 0}
    assert get("/volume/attach", vmid=vmid, volumeid=volume) == {"status": 1}

    # What cannot be is 0, and leaves nothing behind.
    assert get("/vm/create", name="test_vm", instance_type=1, image_id=2) == {"vmid": 0}
    assert get("/vm/create", name="large", instance_type=9, image_id=2) == {"vmid": 0}
    assert get("/vm/create", name="none", instance_type=1, image_id=77) == {"vmid": 0}
    assert [world.where(name) for name in ("large", "none")] == [[], []]
    assert get("/vm/nonsense") == 0
    assert get("/pm/query", pmid=4) == 0

    # The web client.
    text, kind = old.text("/vm/query", vmid=vmid, jsonp_callback="jQuery1_2")
    assert kind == "application/javascript"
    assert json.loads(text.removeprefix("/**/jQuery1_2(").removesuffix(")"))["name"] == "test_vm"

    # Destroy: the volume is detached first, and keeps what is in it.
    uid = world.look("test_vm").uid
    assert get("/vm/destroy", vmid=vmid) == {"status": 1}
    assert world.where("test_vm") == []
    assert not [file for host in world.hosts for file in world.files(host) if uid in file]
    assert get("/vm/query", vmid=vmid) == {"vmid": 0, "name": None, "instance_type": 0, "pmid": 0}
    assert get("/volume/query", volumeid=volume) == free
    assert [file for host in world.hosts for file in world.files(host) if "testvolume" in file]
    assert get("/volume/destroy", volumeid=volume) == {"status": 1}
    assert not [file for host in world.hosts for file in world.files(host) if "testvolume" in file]
    gone = {"error": f"volumeid: {volume} does not exist"}
    assert get("/volume/query", volumeid=volume) == gone

    # The same name again is another machine.
    again = get("/vm/create", name="test_vm", instance_type=2, image_id=1)["vmid"]
    assert again > vmid
    assert get("/vm/destroy", vmid=again) == {"status": 1}


def test_the_reservation_system(old: Installation) -> None:
    world, get = old.world, old.get
    none = {
        "status": "error",
        "data": {},
        "message": "No VMs currently available, please try after some time",
    }
    assert get("/checkoutVM/") == none
    made = [get("/createVM/"), get("/createVM/")]
    assert [one["status"] for one in made] == ["success"] * 2, made
    for slot, one in enumerate((each["data"] for each in made), 1):
        assert one["status"] == "available"
        assert world.state(f"farm-{slot}") == "running"
        assert one["ip"] == get_ip(world, f"farm-{slot}")
    full = get("/createVM/")
    assert (full["status"], full["message"]) == ("error", "Error: Maximum VM Count reached")

    taken = [get("/checkoutVM/")["data"], get("/checkoutVM/")["data"]]
    assert {one["vm_id"] for one in taken} == {one["data"]["vm_id"] for one in made}
    assert get("/checkoutVM/") == none
    one = taken[0]
    both = {"vm_id": one["vm_id"], "ip": one["ip"]}
    assert get("/getVM/", vm_id=one["vm_id"])["data"] == {**both, "status": "checked-out"}
    refused = get("/deleteVM/", **both)
    assert refused["status"] == "error"
    assert get("/checkinVM/", vm_id=one["vm_id"], ip="192.0.2.250")["status"] == "error"
    assert get("/checkinVM/", **both)["data"] == {**both, "status": "available"}
    assert get("/getVMStatus/", vm_id=one["vm_id"])["data"] == {"status": "available"}
    assert get("/checkinVM/", **both)["status"] == "error"

    name = next(vm for vm in ("farm-1", "farm-2") if get_ip(world, vm) == one["ip"])
    assert get("/deleteVM/", **both)["data"]["status"] == "deleted"
    assert world.where(name) == []
    lost = get("/getVM/", vm_id=one["vm_id"])
    assert (lost["status"], lost["message"]) == ("error", "Could not find a vm with given details")
    fresh = get("/createVM/")["data"]
    assert fresh["vm_id"] > max(each["vm_id"] for each in taken)
    assert world.where(name) != []


def get_ip(world: World, name: str) -> str:
    """The address that DHCP gave to a machine."""
    host = world.host_of(name)
    (mac,) = world.look(name).macs
    leases = host.virsh("net-dhcp-leases", "default")
    return next(line.split()[4].partition("/")[0] for line in leases.splitlines() if mac in line)
