"""What a scenario may expect of the world. Each question is asked of libvirt, the files or the guest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.lab import LabHost
from reconciler.lab.guest_access import console
from reconciler.model.units import parse_size
from reconciler.store.base import Subject
from reconciler.store.sql import open_store
from support.command import Said, call
from support.lent import states, store_of
from support.world import Seen, values

if TYPE_CHECKING:
    from support.scenario import Stage


class Expectations:
    """Checks expectations on a stage; every method ``see_X`` is the word ``X`` of a scenario."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._world = stage.world

    def check(self, wanted: Mapping[str, Any]) -> None:
        """Raise AssertionError at the first thing that is otherwise."""
        for word, argument in wanted.items():
            getattr(self, f"see_{word}")(argument)

    # -- libvirt --------------------------------------------------------------------------------------

    def see_machines(self, wanted: Mapping[str, Mapping[str, Any]]) -> None:
        """Exactly one domain each, over all hosts, and what it is like."""
        for name, aspects in wanted.items():
            name = self._stage.fill(name)  # noqa: PLW2901
            self._machine(name, self._world.host_of(name), aspects)

    def see_on_hosts(self, wanted: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """The same, asking only the hosts named (the others may hang)."""
        for host, machines in wanted.items():
            for name, aspects in machines.items():
                self._machine(name, self._world.lab.host(host), aspects)

    def _machine(self, name: str, host: LabHost, aspects: Mapping[str, Any]) -> None:
        seen = self._world.look(name, host)
        for aspect, value in aspects.items():
            getattr(self, f"_machine_{aspect}")(name, seen, value)

    def _machine_at(self, name: str, seen: Seen, host: Any) -> None:
        _same(f"host of {name}", seen.host, host)

    def _machine_state(self, name: str, seen: Seen, state: str) -> None:
        _same(f"state of {name}", self._world.state(name, self._world.lab.host(seen.host)), state)

    def _machine_autostart(self, name: str, seen: Seen, wanted: bool) -> None:
        _same(f"autostart of {name}", self._world.autostart(name), wanted)

    def _machine_config(self, name: str, seen: Seen, wanted: Mapping[str, Any]) -> None:
        """Paths in the XML of its next start."""
        _in_xml(f"persistent {name}", seen.config, wanted)

    def _machine_live(self, name: str, seen: Seen, wanted: Mapping[str, Any]) -> None:
        """Paths in the XML that it runs with."""
        assert seen.live is not None, f"{name} does not run"
        _in_xml(f"running {name}", seen.live, wanted)

    def _machine_both(self, name: str, seen: Seen, wanted: Mapping[str, Any]) -> None:
        """Paths in both."""
        self._machine_config(name, seen, wanted)
        self._machine_live(name, seen, wanted)

    def _machine_disks(self, name: str, seen: Seen, wanted: Mapping[str, Mapping[str, str]]) -> None:
        """By target: `format`, virtual `size`, and `backing` (a pattern), as qemu-img sees the file."""
        host = self._world.lab.host(seen.host)
        for target, aspects in wanted.items():
            [path] = values(seen.config, f"devices/disk/target[@dev='{target}']/../source@file")
            info = self._world.image_info(host, path)
            for aspect, value in aspects.items():
                if aspect == "size":
                    _same(f"size of {target}", info["virtual-size"], parse_size(value))
                elif aspect == "backing":
                    found = str(info.get("backing-filename", ""))
                    assert re.search(value, found), f"{target} of {name} stands on {found!r}"
                else:
                    _same(f"{aspect} of {target}", info[aspect], value)

    def _machine_same(self, name: str, seen: Seen, aspects: list[str]) -> None:
        """As remembered: `host`, `uid`, `macs`, `disks`, `config`."""
        old = self._stage.remembered[name]
        for aspect in aspects:
            _same(f"{aspect} of {name}", getattr(seen, aspect), getattr(old, aspect))

    def _machine_other(self, name: str, seen: Seen, aspects: list[str]) -> None:
        """Other than remembered."""
        old = self._stage.remembered[name]
        for aspect in aspects:
            assert getattr(seen, aspect) != getattr(old, aspect), f"{aspect} of {name} is the old one"

    def _machine_guest(self, name: str, seen: Seen, wanted: Mapping[str, Any]) -> None:
        """What the guest itself says."""
        said = self._world.guest(name)
        for key, value in wanted.items():
            assert re.search(str(value), said[key]), f"inside {name}: {key} is {said[key]!r}, not {value!r}"

    def _machine_inside(self, name: str, seen: Seen, wanted: Mapping[str, str]) -> None:
        """By shell command, run as root inside over the serial console: a pattern of what it prints."""
        for command, pattern in wanted.items():
            answer = console(self._world.lab.host(seen.host), name, self._stage.fill(command), timeout=60)
            found = f"inside {name}, `{command}` prints {answer.output!r}"
            assert re.search(self._stage.fill(pattern), answer.output), f"{found}, not {pattern!r}"

    def _machine_block(self, name: str, seen: Seen, wanted: Mapping[str, str]) -> None:
        """By target: the size that the running emulator gives its disk."""
        host = self._world.lab.host(seen.host)
        for target, size in wanted.items():
            text = host.virsh("domblkinfo", "--domain", name, target)
            _same(f"{target} of running {name}", int(values_of(text)["Capacity"]), parse_size(size))

    def see_domains(self, wanted: Mapping[str, list[str]]) -> None:
        """All domains of a host."""
        for host, names in wanted.items():
            _same(f"domains of {host}", self._world.names(self._world.lab.host(host)), sorted(names))

    def see_counts(self, wanted: Mapping[str, int]) -> None:
        """How many domains a host has."""
        found = {host: len(self._world.names(self._world.lab.host(host))) for host in wanted}
        _same("domains", found, dict(wanted))

    def see_total(self, wanted: int) -> None:
        """How many domains all hosts have."""
        _same("domains", sum(len(self._world.names(host)) for host in self._world.hosts), wanted)

    def see_absent(self, names: list[str]) -> None:
        """No host has a domain of these names."""
        for name in names:
            _same(f"hosts of {name}", self._world.where(name), [])

    def see_untouched(self, names: list[str]) -> None:
        """Remembered domains, byte for byte: persistent and running XML."""
        for name in names:
            host, _, domain = name.rpartition("/")
            seen = self._world.look(domain, self._world.lab.host(host) if host else None)
            _same(f"XML of {name}", seen, self._stage.remembered[name])

    def see_untouched_but_mark(self, names: list[str]) -> None:
        """Remembered domains, byte for byte, but for our mark."""
        for name in names:
            seen, old = self._world.look(name), self._stage.remembered[name]
            _same(f"persistent XML of {name}", _unmarked(seen.config), _unmarked(old.config))
            _same(f"running XML of {name}", _unmarked(seen.live or ""), _unmarked(old.live or ""))

    def see_volumes(self, wanted: Mapping[str, list[str]]) -> None:
        """Patterns of the files in a host's default pool, one for each file, in order."""
        for host, patterns in wanted.items():
            found = self._world.files(self._world.lab.host(host))
            filled = [self._stage.fill(pattern) for pattern in patterns]
            fits = len(found) == len(filled) and all(map(re.search, filled, found))
            assert fits, f"files of {host} are {found}, not {filled}"

    # -- our own commands -------------------------------------------------------------------------------

    def see_plan(self, wanted: Any) -> None:
        """``empty``, or patterns of its `actions`, what is `deferred`, and why machines are `blocked`."""
        said = self._ask("plan", "-o", "json", "--allow-deletions")
        assert said.exit == 0, said.text
        plan = json.loads(said.out)
        actions = [action["id"] for action in plan["actions"]]
        if wanted == "empty":
            wanted = {"actions": [], "blocked": {}, "deferred": {}}
        if "actions" in wanted:
            patterns = wanted["actions"]
            fits = len(actions) == len(patterns) and all(map(re.fullmatch, patterns, actions))
            assert fits, f"the plan is {actions}, not {patterns}"
        if "deferred" in wanted:
            found = {c["vm"]: [f["path"] for f in c["deferred"]] for c in plan["changes"] if c["deferred"]}
            _same("deferred", found, wanted["deferred"])
        if "blocked" in wanted:
            _same("blocked", {b["vm"]: b["reason"] for b in plan["blocked"]}, wanted["blocked"])

    def see_conditions(self, wanted: Mapping[str, Mapping[str, str]]) -> None:
        """By machine: condition type to ``Status Reason``, or ``Status`` alone."""
        store = open_store(self._stage.state)
        found = {
            vm: {c.type: (str(c.status), f"{c.status} {c.reason}") for c in conditions}
            for vm, conditions in store.conditions(Subject.VM).items()
        }
        store.close()
        for name, conditions in wanted.items():
            for kind, value in conditions.items():
                known = found.get(name, {}).get(kind, ())
                assert str(value) in known, f"{name}: {kind} is {known}"

    def see_hosts(self, wanted: Mapping[str, str]) -> None:
        """By host: a pattern of ``Status: message``."""
        found = {
            host["name"]: f"{host['status']}: {host['message']}"
            for host in json.loads(self._ask("get", "hosts", "-o", "json").out)
        }
        for name, pattern in wanted.items():
            assert re.search(pattern, found[name]), f"{name} is {found[name]!r}, not {pattern!r}"

    def see_members(self, wanted: Mapping[str, list[str]]) -> None:
        """By pool: the states of its members, in alphabetical order."""
        with store_of(self._stage) as store:
            for pool, expected in wanted.items():
                found = states(store, pool)
                _same(f"members of {pool} ({found})", sorted(found.values()), sorted(expected))

    def see_events(self, patterns: list[str]) -> None:
        """Patterns that some line of the last events fits."""
        text = self._ask("events", "--limit", "200").out
        for pattern in patterns:
            assert re.search(pattern, text), f"no event like {pattern!r} in:\n{text}"

    def see_daemon_says(self, patterns: list[str]) -> None:
        """Patterns in the daemon's log."""
        text = self._stage.daemon_log.read_text()
        for pattern in patterns:
            assert re.search(pattern, text), f"the daemon does not say {pattern!r}"

    def _ask(self, *words: str) -> Said:
        return call(*words, "--config", str(self._stage.config))

    # -- files ------------------------------------------------------------------------------------------

    def see_no_file(self, patterns: list[str]) -> None:
        """No such file: ``HOST:/path``, ``here:/path``, or a name anywhere in the scenario's folder."""
        for pattern in patterns:
            host, colon, path = pattern.rpartition(":")
            if host == "here":
                assert not Path(path).exists(), f"{path} exists"
            elif colon:
                done = self._world.lab.host(host).run(["test", "-e", path], check=False)
                assert done.returncode != 0, f"{pattern} exists"
            else:
                found = list(self._stage.folder.rglob(path))
                assert not found, f"{found} exists"

    def see_file(self, wanted: Mapping[str, str]) -> None:
        """``HOST:/path``, or a path in the scenario's folder, has a text that fits the pattern."""
        for place, pattern in wanted.items():
            host, colon, path = place.rpartition(":")
            if colon:
                text = self._world.lab.host(host).run(f"cat {path}").stdout
            else:
                text = (self._stage.folder / path).read_text()
            assert re.search(pattern, text), f"{place} is {text!r}"


def values_of(text: str) -> dict[str, str]:
    """virsh's ``Key: value`` lines."""
    return {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
    }


def _same(what: str, found: object, wanted: object) -> None:
    assert found == wanted, f"{what} is {found!r}, not {wanted!r}"


def _in_xml(what: str, xml: str, wanted: Mapping[str, Any]) -> None:
    for path, value in wanted.items():
        expected = [] if value is None else value if isinstance(value, list) else [value]
        _same(f"{path} of {what}", values(xml, path), [str(item) for item in expected])


def _unmarked(xml: str) -> str:
    """The XML without our mark, and without the metadata element when that was all it had."""
    xml = re.sub(r"\s*<reconciler:vm.*?(</reconciler:vm>|/>)", "", xml, flags=re.DOTALL)
    return re.sub(r"\s*<metadata( xmlns:\w+=\"[^\"]*\")?(>\s*</metadata>|/>)", "", xml)
