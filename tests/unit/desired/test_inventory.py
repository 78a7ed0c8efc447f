"""With the real ansible-inventory, which takes most of a second: few calls, much looked at in each."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from reconciler.desired.inventory import Inventory
from reconciler.errors import InventoryError
from reconciler.settings import data_dir

INI = """\
plain
{{lookup}} ansible_host=192.0.2.9
[vms]
vm[1:3] reconciler_labels=rack=r1
[vms:vars]
reconciler_cpu_overcommit=2
"""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_inventory_of_several_sources_is_read_once_until_it_changes(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text(INI.replace("{{lookup}}", "other"))
    (tmp_path / "host_vars").mkdir()
    variables = tmp_path / "host_vars" / "vm2.yml"
    variables.write_text("reconciler_labels: {rack: r2}\nansible_ssh_common_args: -o ProxyJump=b\n")
    count = tmp_path / "count"
    script = tmp_path / "dynamic"
    script.write_text(
        f"#!/bin/sh\necho x >> {count}\n"
        'echo \'{"cloud": {"hosts": ["c1"]}, "_meta": {"hostvars": {"c1": {"reconciler_uri": "test:///default"}}}}\'\n'
    )
    script.chmod(0o755)
    for path in (script, variables, tmp_path / "hosts.ini", tmp_path / "host_vars"):
        os.utime(path, (1, 1))
    clock = Clock()
    inventory = Inventory([tmp_path / "hosts.ini", script], tmp_path / "state", clock=clock)
    hosts = inventory.hosts()
    assert list(hosts) == ["c1", "other", "plain", "vm1", "vm2", "vm3"]
    assert hosts["c1"].uri == "test:///default"
    assert hosts["plain"].uri == "qemu+ssh://plain/system?no_tty=1"
    assert {hosts[name].labels["rack"] for name in ("vm1", "vm3")} == {"r1"}
    assert hosts["vm2"].labels == {"rack": "r2"}, "host_vars beside the inventory count"
    assert hosts["vm2"].cpu_overcommit == 2.0
    assert len(list((tmp_path / "state" / "ssh").iterdir())) == 1

    assert inventory.hosts() is hosts
    asked = count.read_text()
    clock.now = 100.0
    assert inventory.hosts() is hosts, "the script answered the same"
    assert count.read_text() > asked, "but it was asked"

    variables.write_text("reconciler_maintenance: true\n")
    os.utime(variables, (2, 2))
    changed = inventory.hosts()
    assert changed["vm2"].maintenance
    assert changed["vm1"] is hosts["vm1"]


def test_mistakes_of_all_hosts_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(
        "all:\n  vars: {reconciler_pol: x}\n  hosts:\n"
        "    a: {reconciler_deadline: soon}\n    b: {ansible_host: '{{ ip }}'}\n    c: {}\n"
    )
    with pytest.raises(InventoryError) as caught:
        Inventory([path], tmp_path).hosts()
    unknown = "reconciler_pol: unknown variable `reconciler_pol`, did you mean `reconciler_pool`?"
    assert caught.value.message.splitlines() == [
        "the inventory has 4 mistakes:",
        "  host a: reconciler_deadline: 'soon' is not a duration: write for example 90s, 5m or 1h30m",
        f"  host a: {unknown}",
        "  host b: ansible_host: a template ({{ … }}) cannot stand here: write the value itself",
        f"  host c: {unknown}",
    ]


def test_what_ansible_cannot_read_is_no_empty_inventory(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="does not exist"):
        Inventory([tmp_path / "gone"], tmp_path).hosts()
    (tmp_path / "bad.ini").write_text("[half\n")
    with pytest.raises(InventoryError, match="Ansible cannot read the inventory"):
        Inventory([tmp_path / "bad.ini"], tmp_path).hosts()
    (tmp_path / "none.yml").write_text("all: {hosts: {}}\n")
    with pytest.raises(InventoryError, match="has no hosts"):
        Inventory([tmp_path / "none.yml"], tmp_path).hosts()


def test_a_script_that_hangs_is_ended(tmp_path: Path) -> None:
    script = tmp_path / "slow"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 1000\n")
    script.chmod(0o755)
    with pytest.raises(InventoryError, match="no answer within 3 seconds"):
        Inventory([script], tmp_path, deadline=3).hosts()
    assert not alive((tmp_path / "pid").read_text().strip())


def alive(pid: str) -> bool:
    """A process that is no zombie yet; looked at for a while, because the kernel ends it in its own time."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.01)
    return True


def test_the_shipped_inventories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")  # in which Ansible itself refuses to work
    folder = data_dir("inventory")
    hosts = Inventory([folder / "hosts.yml", folder / "example.yml"], tmp_path).hosts()
    assert hosts["localhost"].uri == "qemu:///system"
    assert len(hosts) == 5
    text = (folder / "example.yml").read_text()
    unused = [
        name
        for name in type(hosts["host-1"]).__slots__
        if name != "name" and f"reconciler_{name}:" not in text
    ]
    assert unused == [], "the example shows every host variable"
