"""The real thing: ansible-runner, ansible-playbook and the plugin, against libvirt's test driver.

Each start of Ansible costs about a second, so a test here looks at many things of one run.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from push_world import OWNER, action, config, mark_of
from reconciler_apply.carrier import AnsibleCarrier
from reconciler_apply.outcome import StepError

from reconciler.model.config import HooksConfig, PushConfig
from reconciler.model.host import Host
from reconciler.model.operations import Define, Start
from reconciler.model.plan import Action, ActionResult, Impact, Outcome, Plan
from reconciler.push.host_plan import waves
from reconciler.push.pusher import Pusher
from reconciler.settings import bin_dir

HOSTILE = "{{ lookup('pipe','touch BAIT') }}$(touch BAIT);`touch BAIT`<&'\">"


def inventory(folder: Path, *names: str) -> Path:
    path = folder / "hosts.yml"
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    hosts = {name: dict(local) for name in names}
    path.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    return path


def host(name: str, uri: str = "test:///default") -> Host:
    return Host(name, uri, virt_type="test")


def machine(on: str, number: int, vm: str = "") -> list[Action]:
    """Define and start a machine."""
    name = vm or f"{on}-{number}"
    wanted = config(name, f"{number:08d}-0000-4000-8000-000000000000")
    define = Action(f"{name}/define", on, name, wanted.uuid, Define(wanted, mark_of(wanted)), Impact.NONE, "")
    start = Action(f"{name}/start", on, name, wanted.uuid, Start(), Impact.NONE, "", (define.id,))
    return [define, start]


def plan_of(*actions: Action) -> Plan:
    return Plan("r", (), actions)


def playbook(path: Path, *tasks: object) -> str:
    path.write_text(
        yaml.safe_dump([{"name": path.stem, "hosts": "all", "gather_facts": False, "tasks": list(tasks)}])
    )
    return str(path)


def test_one_run_for_all_hosts_and_one_result_for_each_action(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")  # in which Ansible itself refuses to work
    hosts = {name: host(name) for name in ("good", "a space", "hooked", "stranger")} | {
        "down": host("down", "qemu+unix:///system?socket=/nonexistent/socket")
    }
    seen = tmp_path / "seen"
    hooks = HooksConfig(
        before=playbook(
            tmp_path / "before.yml",
            {
                "name": "Stumble",
                "ansible.builtin.fail": {"msg": "not today"},
                "when": "inventory_hostname == 'hooked'",
            },
        ),
        after=playbook(
            tmp_path / "after.yml",
            {
                "name": "Note",
                "ansible.builtin.command": {"argv": ["touch", f"{seen}{{{{ inventory_hostname }}}}"]},
            },
        ),
    )
    actions = [step for at, name in enumerate([*hosts, "unheard-of"]) for step in machine(name, at)]
    plan = plan_of(*actions)
    files = inventory(tmp_path, "good", "a space", "hooked", "down")
    pusher = Pusher(PushConfig(artifacts=1), OWNER, [files], tmp_path / "state", hooks)
    progress: list[ActionResult | str] = []

    results = pusher.push(plan, hosts, {}, {}, progress.append)

    assert [result.id for result in results] == [step.id for step in actions]
    told = [entry for entry in progress if isinstance(entry, ActionResult)]
    assert sorted(entry.id for entry in told) == sorted(step.id for step in actions)
    found = {result.id: (result.outcome, result.reason) for result in results}
    for name in ("good-0", "a space-1"):
        assert found[f"{name}/define"] == found[f"{name}/start"] == (Outcome.CHANGED, "")
    for name, reason in (
        ("hooked-2", "HookFailed"),
        ("stranger-3", "AnsibleFailed"),
        ("down-4", "HostUnreachable"),
        ("unheard-of-5", "HostUnknown"),
    ):
        assert found[f"{name}/define"] == (Outcome.FAILED, reason)
        assert found[f"{name}/start"][0] is Outcome.SKIPPED
    assert sorted(path.name for path in tmp_path.glob("seen?*")) == ["seena space", "seendown", "seengood"]
    _leaves_nothing_behind_that_others_may_read(tmp_path / "state", pusher, hosts)


def _leaves_nothing_behind_that_others_may_read(state: Path, pusher: Pusher, hosts: dict[str, Host]) -> None:
    (run,) = (path for path in (state / "runs").iterdir() if path.is_dir())
    assert run.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in (run / "hosts").iterdir()} == {0}
    command = json.loads((run / "ansible" / "artifacts" / "run" / "command").read_text())
    assert "PYTEST_CURRENT_TEST" not in command["env"]
    assert command["env"]["ANSIBLE_HOST_KEY_CHECKING"] == "True"
    pusher.cancel()
    cancelled = pusher.push(plan_of(*machine("good", 1)), hosts, {}, {})
    assert {(result.outcome, result.reason) for result in cancelled} == {(Outcome.SKIPPED, "Cancelled")}
    assert run.exists()


def test_a_name_that_ansible_would_execute(tmp_path: Path) -> None:
    """The naive way runs what a machine is called; ours defines a machine that is called so."""
    bait = tmp_path / "BAIT"
    name = HOSTILE  # relative to the folder where Ansible is started
    files = inventory(tmp_path, "h1")
    naive = playbook(
        tmp_path / "naive.yml", {"name": "Define", "ansible.builtin.debug": {"msg": "{{ vm_name }}"}}
    )
    _ansible(tmp_path, "-i", str(files), "-e", json.dumps({"vm_name": name}), naive)
    assert bait.exists(), "Ansible no longer evaluates extra variables: this proof proves nothing any more"
    bait.unlink()

    pusher = Pusher(PushConfig(), OWNER, [files], tmp_path / "state")
    steps = machine("h1", 1, vm=name)
    words = pusher.bundle(plan_of(*steps), {"h1": host("h1")}, {}, {}, tmp_path / "bundle")
    shown = _ansible(tmp_path, *words[1:], "--check", "--diff")
    assert "would define" in shown
    assert "+  <name>{{ lookup(" in shown
    done = _ansible(tmp_path, *words[1:])
    assert f"{name}/define: changed: defined" in done
    assert not bait.exists()
    assert not any("lookup" in path.name for path in (tmp_path / "bundle").rglob("*"))


def _ansible(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [str(bin_dir() / "ansible-playbook"), *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_hook_that_cannot_be_read_fails_every_host_with_the_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("- hosts: [\n")
    files = inventory(tmp_path, "h1")
    pusher = Pusher(PushConfig(), OWNER, [files], tmp_path / "state", HooksConfig(before=str(broken)))
    results = pusher.push(plan_of(*machine("h1", 1)), {"h1": host("h1")}, {}, {})
    assert [(result.outcome, result.reason) for result in results] == [
        (Outcome.FAILED, "AnsibleFailed"),
        (Outcome.SKIPPED, "AnsibleFailed"),
    ]
    assert "broken.yml" in results[0].message


def test_what_ansible_quotes_is_shown_in_words() -> None:
    said = "('scp: write: No space left on device\\r\\n')"

    class Action:
        def _execute_module(self, **_: object) -> dict[str, object]:
            return {"failed": True, "msg": said}

    with pytest.raises(StepError, match="No space left") as caught:
        AnsibleCarrier(Action(), {}).chains(["/x"])
    assert (caught.value.reason, "\\n" in caught.value.message) == ("PoolFull", False)


def test_an_action_that_waits_for_another_host_comes_in_a_later_run() -> None:
    first, second = machine("h1", 1)[0], machine("h2", 2)[0]
    third = action(Start(), first.id)
    moved = Action("m", "h2", "m", "u", Start(), Impact.NONE, "", (first.id,))
    assert waves(plan_of(first, second, moved, third)) == [(first, second, third), (moved,)]
    assert waves(plan_of()) == []
