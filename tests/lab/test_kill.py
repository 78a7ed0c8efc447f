"""kill -9 at every persisted step of an apply, then a restart: it converges, nothing twice, nothing lost.

The desired state swings between two sides, so that each apply makes, changes and removes machines, and the
next one begins where the last one left off; only what the swing breaks would need a fresh lab.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.command import call
from support.scenario import PATIENCE, Stage
from support.world import World

from reconciler.model.placement import Phase
from reconciler.store.sql import open_store

pytestmark = [pytest.mark.lab, pytest.mark.slow]

TESTS = Path(__file__).parents[1]
MARKER = "precious"
SWAPPED = "swapped"

# A machine of each side has a disk that is kept, one loses its disks, one is there on both sides, and one is
# there on both but with another image, so that each swing replaces it by a new one.
SIDES: tuple[dict[str, Any], ...] = tuple(
    {
        "both": {"description": side, "image": "halt"},
        f"{side}-kept": {"image": "halt", "disks": [{"name": "data", "size": "1Mi", "format": "raw"}]},
        f"{side}-scratch": {"deletionPolicy": "Delete", "disks": [{"name": "data", "size": "1Mi"}]},
        SWAPPED: {"image": image, "updatePolicy": "Replace", "deletionPolicy": "Delete"},
    }
    for side, image in (("left", "halt"), ("right", "halt2"))
)


@dataclass
class Swing:
    """The two sides on a stage, and what must be true of them for ever."""

    stage: Stage
    side: int = 0
    uids: dict[str, str] = field(default_factory=dict)

    def turn(self) -> None:
        """Desire the other side."""
        self.side = 1 - self.side
        self.stage.machines.clear()
        self.stage.do_edit(SIDES[self.side])

    def count(self, kind: str) -> int:
        """Apply to the end; how many steps of a kind it took."""
        assert self._run(["apply", "--yes"], kind, 0) == 0
        return int((self.stage.folder / "counts").read_text())

    def die(self, command: list[str], kind: str, at: int) -> bool:
        """Run a command until it is killed at a step; False if it came to its end before."""
        return self._run(command, kind, at) == -signal.SIGKILL

    def _run(self, command: list[str], kind: str, at: int) -> int:
        counts = self.stage.folder / "counts"
        argv = [sys.executable, "-m", "support.killed", kind, str(at), str(counts), *command]
        argv += ["--config", str(self.stage.config)]
        log = self.stage.folder / "killed.log"
        with log.open("w") as out:
            done = subprocess.run(argv, cwd=TESTS, stdout=out, stderr=out, check=False, timeout=60)
        assert done.returncode in (0, -signal.SIGKILL), log.read_text()
        return done.returncode

    def intents(self) -> dict[str, str]:
        """Uid by machine, as the dead process left it on record."""
        store = open_store(self.stage.state)
        living = (Phase.INTENDED, Phase.PLACED)
        records = {
            vm: record.uid
            for vm, record in store.records().items()
            # One that is placed and shall be replaced gets a new uid; one whose making was begun keeps it.
            if record.phase is Phase.INTENDED or (record.phase in living and vm != SWAPPED)
        }
        store.close()
        return records

    def converge(self) -> None:
        """Apply until nothing is left to do: twice at most."""
        said = call("apply", "--yes", "--config", str(self.stage.config))
        assert said.exit == 0, said.text
        said = call("plan", "-o", "json", "--config", str(self.stage.config))
        plan = json.loads(said.out)
        assert (plan["actions"], plan["blocked"]) == ([], []), said.text

    def check(self, intents: dict[str, str]) -> None:
        """Every machine once, with the uid that was intended; no disk twice, none lost."""
        world = self.stage.world
        desired = SIDES[self.side]
        found = {name: world.look(name) for name in desired}
        assert sum(len(world.names(host)) for host in world.hosts) == len(desired)
        for name, seen in found.items():
            assert world.state(name) == "running"
            assert seen.uid == self.uids.get(name, seen.uid), f"{name} has another uid than ever"
            assert seen.uid == intents.get(name, seen.uid), f"{name} has another uid than was intended"
            assert f"<description>{self._side}</description>" in found["both"].config
            if not name.endswith(("scratch", SWAPPED)):
                self.uids[name] = seen.uid
        self._check_files({name: seen.uid for name, seen in found.items()})

    @property
    def _side(self) -> str:
        return "left" if self.side == 0 else "right"

    def _check_files(self, uids: dict[str, str]) -> None:
        """Exactly the disks of the machines that are, and of those that are kept; with their data."""
        world = self.stage.world
        files = {path for host in world.hosts for path in host.images_dir.iterdir()}
        disks = {path.name for path in files if not path.name.startswith(("halt.", "halt2."))}
        wanted = {f"{name}.{uid}.root.qcow2" for name, uid in self.uids.items()}
        wanted.add(f"{SWAPPED}.{uids[SWAPPED]}.root.qcow2")
        wanted |= {f"{name}.{uid}.data.raw" for name, uid in self.uids.items() if name.endswith("kept")}
        wanted |= {f"{name}.{uid}.data.qcow2" for name, uid in uids.items() if name.endswith("scratch")}
        assert disks == wanted
        for path in files:
            if path.name.endswith(".data.raw"):
                assert path.read_bytes().startswith(MARKER.encode()), f"{path.name} lost its data"

    def mark_data(self) -> None:
        """Write something that must never be lost."""
        for host in self.stage.world.hosts:
            for path in host.images_dir.glob("*.data.raw"):
                with path.open("r+b") as file:
                    file.write(MARKER.encode())


@pytest.fixture
def swing(world: World, tmp_path: Path) -> Iterator[Swing]:
    """Both sides were there once, so that their kept disks exist."""
    stage = Stage(world, tmp_path)
    limits = {"deletions": 10, "deletionsPercent": 100}
    images = {"halt2": {"path": "$guests/halt.qcow2"}}
    stage.set_up(
        {"machines": SIDES[0], "images": images, "config": {"limits": limits, "retry": {"first": "1s"}}}
    )
    made = Swing(stage)
    made.mark_data()
    made.check({})
    made.turn()
    made.converge()
    made.mark_data()
    made.check({})
    yield made
    stage.end_daemon(signal.SIGKILL)


@pytest.mark.parametrize("kind", ["before", "after", "step", "worker"])
def test_killed_apply(swing: Swing, kind: str) -> None:
    swing.turn()
    steps = swing.count(kind)
    swing.check({})
    assert steps >= 3
    # Every commit; of the forty lines of progress every seventh.
    for at in range(1, steps + 1, 1 if kind in ("before", "after") else 7):
        swing.turn()
        died = swing.die(["apply", "--yes"], kind, at)
        assert died or at > steps - 2, f"it was to die at {at} of {steps}"
        intents = swing.intents()
        swing.converge()
        swing.check(intents)


def test_killed_daemon_converges_when_it_is_started_again(swing: Swing) -> None:
    for at in (1, 4, 9, 20):
        swing.turn()
        assert swing.die(["run"], "step", at)
        intents = swing.intents()
        swing.stage.do_daemon("start")
        swing.stage.expect({"plan": "empty"}, PATIENCE)
        swing.stage.do_daemon("stop")
        swing.check(intents)
    said = call("events", "--config", str(swing.stage.config))
    assert said.out.count("ApplyInterrupted") == 4
