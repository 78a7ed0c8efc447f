"""The commands that change one machine, as far as they go without any host: what they write, and refuse."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from support.command import Said, call

from reconciler.cli.main import cli

WEB = """\
# the shop
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {name: web, labels: {app: web}}
spec:
  cpus: 2 # each
  maxCpus: 4
  memory: 1Gi
  rootDisk: {size: 10Gi}
  disks:
    - {name: data, size: 1Gi}
    - {name: store, volume: store}
  interfaces: [{network: default, mac: "52:54:00:00:00:01"}, {network: lan, address: auto}]
---
apiVersion: reconciler/v1
kind: Volume
metadata: {name: store}
spec: {size: 1Gi}
---
apiVersion: reconciler/v1
kind: Network
metadata: {name: lan}
spec: {subnet: 192.0.2.0/24}
---
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {name: hand}
spec: {cpus: 1, memory: 1Gi, runStrategy: Manual}
---
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {name: plain}
spec:
  cpus: 1
  memory: 1Gi
  rootDisk: {size: 1Gi}
  runStrategy: Halted
  interfaces: [{network: default, mac: "52:54:00:00:00:02"}, {network: lan, address: auto}]
  placement: {host: kvm1}
  cloudInit: {hostname: plain, instanceId: first, networkConfig: {version: 2}}
"""


class Place:
    """A source with the file above, and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "source/vms.yaml"
        self.file.parent.mkdir()
        self.file.write_text(WEB)
        self.source = str(self.file.parent)

    def call(self, *words: str) -> Said:
        return call(*words, "--source", self.source, "--state-dir", str(self.root / "state"))

    def changed(self, *words: str) -> dict[str, str]:
        """Lines of the file that a command changed: old to new."""
        said = self.call(*words, "--no-apply")
        assert said.exit == 0, said.text
        now = self.file.read_text()
        assert now.count("\n") == WEB.count("\n") or "runStrategy" in now
        pairs = zip(WEB.splitlines(), now.splitlines(), strict=False)
        return {old.strip(): new.strip() for old, new in pairs if old != new}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_one_value_is_changed_and_no_other_byte(place: Place) -> None:
    assert place.changed("start", "plain") == {"runStrategy: Halted": "runStrategy: Always"}
    place.file.write_text(WEB)
    assert place.changed("resize", "web", "--cpus", "3", "--disk", "data=2Gi") == {
        "cpus: 2 # each": "cpus: 3 # each",
        "- {name: data, size: 1Gi}": "- {name: data, size: 2Gi}",
    }
    place.file.write_text(WEB)
    # A maximum that was stated is raised too; a volume is resized where it is declared.
    assert place.changed(
        "resize", "web", "--cpus", "8", "--memory", "2147483648", "--disk", "root=20Gi", "--disk", "store=3Gi"
    ) == {
        "cpus: 2 # each": "cpus: 8 # each",
        "maxCpus: 4": "maxCpus: 8",
        "memory: 1Gi": "memory: 2147483648",
        "rootDisk: {size: 10Gi}": "rootDisk: {size: 20Gi}",
        "spec: {size: 1Gi}": "spec: {size: 3Gi}",
    }


def test_what_is_so_already_is_not_written(place: Place) -> None:
    before = place.file.stat().st_ino
    said = place.call("stop", "plain", "--no-apply")
    assert (said.exit, "desired like that already" in said.out) == (0, True)
    assert place.file.stat().st_ino == before
    told = json.loads(place.call("start", "web", "--no-apply", "-o", "json").out)
    assert told == {"vm": "web", "saved": None, "results": []}


def test_a_clone_has_nothing_that_is_the_machines_own(place: Place) -> None:
    said = place.call("clone", "plain", "copy of it", "--no-apply", "--host", "kvm2")
    assert said.exit == 0, said.text
    assert "networkConfig is copied as it is" in said.err
    written = yaml.safe_load((place.file.parent / "copy-of-it.yaml").read_text())
    assert written["metadata"] == {"name": "copy of it"}
    assert written["spec"] == {
        "cpus": 1,
        "memory": "1Gi",
        "rootDisk": {"size": "1Gi"},
        "interfaces": [{"network": "default"}, {"network": "lan", "address": "auto"}],
        "placement": {"host": "kvm2"},
        "cloudInit": {"networkConfig": {"version": 2}},
        "cloneOf": "plain",
    }
    assert place.call("validate").exit == 0
    halted = place.call("clone", "plain", "off", "--halted", "--no-apply")
    assert halted.exit == 0
    assert "runStrategy: Halted" in (place.file.parent / "off.yaml").read_text()
    again = place.call("clone", "plain", "off", "--no-apply")
    assert (again.exit, "already" in again.text) == (64, True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("stop nobody --no-apply", 64, "no machine 'nobody' is desired"),
        ("start hand --no-apply", 64, "Manual"),
        ("resize web --disk x=1Gi --no-apply", 64, "no disk 'x'; there is: root, data, store"),
        ("resize web --disk data --no-apply", 64, "write NAME=SIZE"),
        ("resize web --disk data=much --no-apply", 64, "'much' is not a size"),
        ("resize web --no-apply", 64, "say what shall be how large"),
        ("resize web --memory 512k --no-apply", 3, "memory is less than 1Mi"),
        ("clone web copy --no-apply", 64, "store is the volume store"),
        ("clone nobody copy --no-apply", 64, "no machine 'nobody'"),
        ("clone plain web --no-apply", 64, "there is a machine 'web' already"),
        ("clone plain ../x --no-apply", 64, "is no name for a machine"),
        ("stop web -o json", 64, "-o json asks no question: give --yes"),
        ("snapshot web -o json", 64, "give --yes"),
        ("snapshot web --name A/b --yes", 64, "is no name for a snapshot"),
    ],
)
def test_what_is_refused_changes_nothing(place: Place, words: str, code: int, says: str) -> None:
    said = place.call(*words.split())
    assert (said.exit, says in said.text) == (code, True), said.text
    assert place.file.read_text() == WEB
    assert list(place.file.parent.iterdir()) == [place.file]


def test_in_a_repository_it_is_a_commit_that_says_what_was_typed(place: Place) -> None:
    def git(*words: str) -> str:
        argv = ["git", "-C", place.source, "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "x")
    place.source += "@main"
    said = place.call("stop", "web", "--no-apply", "--author", "Ann <ann@example.org>")
    place.source = place.source.removesuffix("@main")
    assert said.exit == 0, said.text
    assert git("log", "-1", "--format=%an: %s") == "Ann: reconciler stop web"
    assert git("show", "--format=", "--numstat", "HEAD") == "1\t0\tvms.yaml"
    assert git("status", "--porcelain") == ""


@pytest.mark.parametrize("shared", ["&n Always", "*n"])
def test_a_value_that_others_share_is_refused_with_its_place(place: Place, shared: str) -> None:
    text = WEB.replace("runStrategy: Halted", "runStrategy: &n Always\n  description: *n").replace(
        "runStrategy: &n Always\n  description: *n",
        f"{'description' if shared == '*n' else 'runStrategy'}: "
        f"&n Always\n  {'runStrategy' if shared == '*n' else 'description'}: *n",
    )
    place.file.write_text(text)
    said = place.call("stop", "plain", "--no-apply")
    assert said.exit == 3
    assert "vms.yaml:3" in said.text
    assert "shared with other places" in said.text
    assert place.file.read_text() == text


NAMES = [
    "start",
    "stop",
    "restart",
    "resize",
    "clone",
    "snapshot",
    "snapshots",
    "restore",
    "delete-snapshot",
    "console",
]


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_an_example_and_names_are_completed(name: str, place: Place) -> None:
    said = CliRunner().invoke(cli, [name, "--help"]).output
    assert f"reconciler {name} " in said.partition("Example")[2]
    assert name == "console" or "--output" in said
    environment = {
        "_RECONCILER_COMPLETE": "bash_complete",
        "COMP_WORDS": f"reconciler {name} --source {place.source} pl",
        "COMP_CWORD": "4",
    }
    done = CliRunner().invoke(cli, [], prog_name="reconciler", env=environment)
    assert done.output.strip() == "plain,plain"
