"""Scenarios as data: the state before, what people and fate do, and the world after.

A file in ``tests/cases/lab`` is one scenario:

    title:  one sentence, which is the test's promise
    before: {machines: …, …}   written as YAML into a fresh source, and applied unless `applied: false`
    steps:  a list; each is one verb with its arguments, and what the command answers
    after:  what the world must look like in the end (the same words as in a step `expect`)
    needs:  what the lab must have besides its hosts: [ceph, ovs, debian]

`Stage` has a method for each verb (``do_…``, also in `objects`, `inside`, `fate` and `installations`) and
`Expectations` one for each expectation (``see_…``): their docstrings are the reference.  A machine's short
form is its spec; see `manifest`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import string
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reconciler.errors import LabError
from reconciler.model.pool import Lease
from reconciler.settings import bin_dir
from support.command import Said, call, options
from support.expect import Expectations
from support.fate import FateVerbs
from support.inside import InsideVerbs
from support.installations import InstallationVerbs
from support.lent import LendingVerbs
from support.objects import ObjectVerbs
from support.world import Seen, World

API = "reconciler/v1"
PATIENCE = 20.0
"""Seconds that `within: true` waits for the world, and a daemon may take to end."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file."""

    name: str
    title: str
    before: Mapping[str, Any]
    steps: tuple[Mapping[str, Any], ...]
    after: Mapping[str, Any]
    drifts: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def load(path: Path) -> Scenario:
    """Read a scenario; a word that it should not have is an error."""
    document = yaml.safe_load(path.read_text())
    unknown = document.keys() - {"title", "before", "steps", "after", "drifts", "needs"}
    assert not unknown, f"{path.name}: unknown words {sorted(unknown)}"
    return Scenario(
        path.stem,
        document["title"],
        document.get("before", {}),
        tuple(document.get("steps", ())),
        document.get("after", {}),
        tuple(document.get("drifts", ())),
        tuple(document.get("needs", ())),
    )


def manifest(name: str, short: Mapping[str, Any]) -> dict[str, Any]:
    """A machine in full: the short form is its spec, with `labels` beside, and sizes that cost little."""
    spec = {key: value for key, value in short.items() if key != "labels"}
    if "instanceType" not in spec:
        spec = {"cpus": 1, "memory": "32Mi", **spec}
    spec.setdefault("stopTimeout", "1s")
    return {
        "apiVersion": API,
        "kind": "VirtualMachine",
        "metadata": {"name": name, "labels": short.get("labels", {})},
        "spec": spec,
    }


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`new` over `old`, field by field; null takes a field away."""
    result = dict(old)
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


@dataclass
class Stage(ObjectVerbs, InsideVerbs, FateVerbs, InstallationVerbs, LendingVerbs):
    """Where a scenario is played: a source, a configuration and a state folder of its own, and the world."""

    world: World
    folder: Path
    machines: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)
    remembered: dict[str, Seen] = field(default_factory=dict)
    said: Said | None = None
    rendered: list[str] | None = None
    broken: bool = False
    removed: dict[str, Any] = field(default_factory=dict)
    installations: dict[str, Any] = field(default_factory=dict)
    daemon: subprocess.Popen[str] | None = None
    leases: dict[str, Lease] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """Folder of the desired state."""
        return self.folder / "source"

    @property
    def state(self) -> Path:
        """Folder of the store."""
        return self.folder / "state"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "reconciler.yaml"

    @property
    def daemon_log(self) -> Path:
        """What the daemon printed."""
        return self.folder / "daemon.log"

    # -- the play -----------------------------------------------------------------------------------

    def play(self, scenario: Scenario) -> None:
        """Set up, act, and look at the world."""
        self.world.need(scenario.needs)
        try:
            self.set_up(scenario.before)
            for number, step in enumerate(scenario.steps, 1):
                self._step(step, f"step {number} {step}")
            if scenario.after:
                self._step({"expect": scenario.after}, "after")
        finally:
            self.end_daemon(signal.SIGKILL)
            if self.broken:
                self.world.mend()

    def set_up(self, before: Mapping[str, Any]) -> None:
        """Write the source, the inventory and the configuration, and apply."""
        before = dict(before)
        applied = before.pop("applied", bool(before.get("machines") or before.get("objects")))
        self.source.mkdir()
        config = merged(
            {
                "owner": "scenario",
                "source": {"path": "source"},
                "inventory": ["inventory.yml"],
                "stateDir": "state",
                "daemon": {"period": "5m", "settle": 0.05},
            },
            before.pop("config", {}),
        )
        self.config.write_text(yaml.safe_dump(config))
        self.do_inventory(before.pop("inventory", {}))
        self._write_images(before.pop("images", {}))
        for path, text in before.pop("files", {}).items():
            self.do_write({path: text})
        objects = before.pop("objects", {})
        if objects:
            self.do_objects(objects)
        for name, spec in before.pop("machines", {}).items():
            self.machines[name] = manifest(name, spec)
        self._write_machines()
        for step in before.pop("steps", ()):
            self._step(step, f"before {step}")
        assert not before, f"unknown words in before: {sorted(before)}"
        if applied:
            self._step({"apply": ""}, "before: apply")

    def _step(self, step: Mapping[str, Any], where: str) -> None:
        step = dict(step)
        answers = {key: step.pop(key) for key in ("exit", "says", "never_says") if key in step}
        within = step.pop("within", None)
        if "apply" in step:
            # 7 says that machines are blocked; which ones, and why, a scenario asks of the plan.
            answers.setdefault("exit", [0, 7])
        verb, argument = next(iter(step.items()))
        extra = {key: value for key, value in step.items() if key != verb}
        try:
            if verb == "expect":
                self.expect(argument, PATIENCE if within is True else within)
            else:
                getattr(self, f"do_{verb}")(argument, **extra)
            if answers or verb in ("apply", "reconciler", "by_hand", "inside", "ssh"):
                self._answer(**answers)
        except (AssertionError, LabError) as error:
            raise AssertionError(f"{where}\n{error}\n{self._last_words()}") from error

    def _answer(self, exit: Any = 0, says: Any = (), never_says: Any = ()) -> None:  # noqa: A002
        """The command's exit code, and patterns that it must or must not print."""
        assert self.said is not None
        assert self.said.exit in (exit if isinstance(exit, list) else [exit]), (
            f"exit {self.said.exit} instead of {exit}"
        )
        for pattern in map(self.fill, [says] if isinstance(says, str) else says):
            assert re.search(pattern, self.said.text), f"it does not say {pattern!r}"
        for pattern in [never_says] if isinstance(never_says, str) else never_says:
            assert not re.search(pattern, self.said.text), f"it says {pattern!r}"

    def expect(self, wanted: Mapping[str, Any], within: float | None = None) -> None:
        """The world is as wanted, or becomes so within so many seconds."""
        deadline = time.monotonic() + (within or 0)
        while True:
            try:
                return Expectations(self).check(wanted)
            except (AssertionError, LabError):
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.2)

    def _last_words(self) -> str:
        words = ""
        if self.said is not None:
            command = " ".join(self.said.words)
            words = f"`reconciler {command}` ended with {self.said.exit} and said:\n{self.said.text}"
        if self.daemon_log.exists():
            words += f"\nthe daemon said:\n{self.daemon_log.read_text()}"
        return words

    # -- verbs: our own commands --------------------------------------------------------------------

    def call(self, *words: str) -> Said:
        """Run a command on this stage."""
        self.said = call(*words, "--config", str(self.config))
        return self.said

    def do_apply(self, words: Any) -> None:
        """``apply --yes`` with further words."""
        self.call("apply", "--yes", *self._filled(words))

    def do_reconciler(self, words: Any) -> None:
        """Any command."""
        self.call(*self._filled(words))

    def do_daemon(self, what: str) -> None:
        """``start`` the daemon; ``stop`` it by SIGTERM, which must end it well; ``kill`` it."""
        if what == "start":
            argv = [sys.executable, "-m", "reconciler.cli.main", "run", "--config", str(self.config)]
            with self.daemon_log.open("a") as log:
                self.daemon = subprocess.Popen(argv, stdout=log, stderr=log, text=True)
            return
        status = self.end_daemon(signal.SIGTERM if what == "stop" else signal.SIGKILL)
        assert what == "kill" or status == 0, f"the daemon ended with {status}"

    def end_daemon(self, number: signal.Signals) -> int | None:
        """End the daemon if it runs; its exit status."""
        if self.daemon is None:
            return None
        self.daemon.send_signal(number)
        try:
            return self.daemon.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            raise AssertionError(f"the daemon does not end after {number.name}") from None
        finally:
            self.daemon = None

    def do_second_daemon(self, _: str) -> None:
        """Another daemon, which must not come to live."""
        self.call("run")

    def do_by_hand(self, more: list[str]) -> None:
        """The command line that ``render`` printed, with more arguments."""
        if self.rendered is None:
            assert self.said is not None
            self.rendered = shlex.split(self.said.out)
        argv = [str(bin_dir() / self.rendered[0]), *self.rendered[1:], *more]
        environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "PATH": f"{bin_dir()}:{os.environ['PATH']}"}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
        self.said = Said(tuple(argv), done.returncode, done.stdout, done.stderr)

    def do_refused(self, cases: list[list[str]]) -> None:
        """Texts that ``apply`` must refuse whole, each as the file ``wrong.yaml``, and what it says."""
        for text, pattern in cases:
            self.do_write({"wrong.yaml": text})
            said = self.call("apply", "--yes")
            assert "Traceback" not in said.text
            self._answer(3, pattern)
        self.do_write({"wrong.yaml": None})

    # -- verbs: the desired state and the inventory ---------------------------------------------------

    def do_edit(self, machines: Mapping[str, Any]) -> None:
        """Change manifests: a merge into each spec, where null takes a field away; or add machines."""
        for name, change in machines.items():
            if name in self.machines:
                labels = change.get("labels", self.machines[name]["metadata"]["labels"])
                spec = merged(self.machines[name]["spec"], {k: v for k, v in change.items() if k != "labels"})
                self.machines[name] = manifest(name, {**spec, "labels": labels})
            else:
                self.machines[name] = manifest(name, change)
        self._write_machines()

    def do_remove(self, names: list[str]) -> None:
        """Remove machines from the desired state."""
        self.removed |= {name: self.machines.pop(name) for name in names}
        self._write_machines()

    def do_bring_back(self, names: list[str]) -> None:
        """What ``git revert`` does: the removed manifests, word for word."""
        self.machines |= {name: self.removed[name] for name in names}
        self._write_machines()

    def do_write(self, files: Mapping[str, str | None]) -> None:
        """Write files into the source; null removes one."""
        for path, text in files.items():
            target = self.source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                target.unlink()
            else:
                target.write_text(text)

    def do_inventory(self, variables: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the lab's inventory with further variables of hosts; ``without: [host]`` leaves hosts out."""
        document = yaml.safe_load(self.world.lab.inventory.read_text())
        hosts = document["all"]["hosts"]
        for name, more in variables.items():
            if name == "without":
                for gone in more:
                    del hosts[gone]
            else:
                hosts[name].update(more)
        (self.folder / "inventory.yml").write_text(yaml.safe_dump(document))

    def _write_images(self, images: Mapping[str, Any]) -> None:
        """The lab's guests, as images `halt` and `tiny`, `debian` where it is needed, and others."""
        guests = {name: {"path": str(path)} for name, path in self.world.images().items()}
        for spec in images.values():
            if "path" in spec:
                spec["path"] = self.fill(spec["path"])
        documents = [
            {"apiVersion": API, "kind": "Image", "metadata": {"name": name}, "spec": spec}
            for name, spec in {**guests, **images}.items()
        ]
        (self.source / "images.yaml").write_text(yaml.safe_dump_all(documents))

    def _write_machines(self) -> None:
        text = yaml.safe_dump_all(self.machines.values(), sort_keys=False)
        (self.source / "machines.yaml").write_text(text)

    # -- verbs: fate ----------------------------------------------------------------------------------

    def do_virsh(self, words: Any, at: str = "") -> None:
        """A virsh command on a host; without `at` the one that has the domain of its second word."""
        words = self._filled(words)
        host = self.world.lab.host(at) if at else self.world.host_of(words[1])
        host.virsh(*words)

    def do_alter(self, name: str, swap: list[list[str]], at: str = "") -> None:
        """Change a domain's persistent XML behind our back: each pattern must be there."""
        host = self.world.lab.host(at) if at else self.world.host_of(name)
        xml = host.virsh("dumpxml", "--inactive", "--security-info", "--domain", name)
        for pattern, replacement in swap:
            xml, count = re.subn(pattern, replacement, xml, flags=re.DOTALL)
            assert count, f"{pattern!r} is not in:\n{xml}"
        self.do_define({host.name: xml})

    def do_define(self, domains: Mapping[str, str]) -> None:
        """Define a domain on a host from XML."""
        for name, xml in domains.items():
            self.world.lab.host(name).run(
                "cat > /run/libvirt/d.xml && virsh -q define /run/libvirt/d.xml", stdin=xml
            )

    def do_clone(self, name: str, to: str) -> None:
        """Define a copy of a domain, mark and UUID and all, on another host."""
        self.do_define({to: self.world.look(name).config})

    def do_host(self, what: Mapping[str, str]) -> None:
        """Break or mend hosts: the name of a method of `LabHost`, such as ``stop`` or ``pause_libvirtd``."""
        self.broken = True
        for name, method in what.items():
            getattr(self.world.lab.host(name), method)()

    def do_shell(self, command: str, at: str = "") -> None:
        """A shell command on a lab host, or here (in the source) without `at`."""
        command = self.fill(command)
        if at:
            self.world.lab.host(at).run(command)
            return
        done = subprocess.run(
            command, shell=True, cwd=self.source, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def do_lose(self, what: str) -> None:
        """Lose the ``database``: the whole state folder."""
        assert what == "database"
        shutil.rmtree(self.state)

    def do_remember(self, names: list[str]) -> None:
        """Note domains as they are now, as NAME or HOST/NAME, for `same` and `untouched`."""
        for name in map(self.fill, names):
            host, _, domain = name.rpartition("/")
            self.remembered[name] = self.world.look(domain, self.world.lab.host(host) if host else None)

    def _filled(self, words: Any) -> list[str]:
        return [self.fill(word) for word in options(words)]

    def fill(self, text: str) -> str:
        """A text with ``$folder``, ``$guests``, ``$head`` (of git) and ``$uid_NAME`` filled in.

        With ``needs: [ceph]`` also ``$ceph_host``, ``$ceph_user`` and ``$ceph_secret``; ``$ssh_key`` is the
        public key that the verb ``ssh`` comes with, ``$guest_key`` the path of its private half.
        """
        known: dict[str, object] = {"folder": self.folder, "guests": self.world.guests.halt.parent}
        head = self.folder / "head"
        known["head"] = head.read_text().strip() if head.exists() else ""
        known |= self.world.facts(text)
        known |= {f"uid_{name}": seen.uid for name, seen in self.remembered.items() if name.isidentifier()}
        known |= {f"vm_{name}": lease.vm for name, lease in self.leases.items()}
        return string.Template(text).safe_substitute(known)
