"""The order of a host's steps, check mode, and when to give up; against libvirt's test driver."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from push_world import HOST, UID, Executor, action, carry_out, config, defined, document, mark_of, node
from reconciler_apply.guard import Guard
from reconciler_apply.merge import tidy
from reconciler_apply.outcome import Interrupted
from reconciler_apply.session import Session

from reconciler.model.operations import CreateVolume, Define, Start, Stop, Undefine
from reconciler.push.orphans import wait_for_orphans
from reconciler.push.run_dir import RunDirectory, workers_lock

OTHER = "7b2f41a3-c54c-4cf1-8b3e-0123456789ab"


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[libvirt.virConnect]:
    with node(tmp_path) as conn:
        yield conn


def test_steps_follow_their_order_whatever_the_order_of_the_list(
    conn: libvirt.virConnect, tmp_path: Path
) -> None:
    steps = [
        action(Undefine(), "web-1/stop"),
        action(Stop(1), "web-1/start"),
        action(Start(), "web-1/define"),
        defined(config()),
    ]
    assert [r.outcome for r in carry_out(conn, tmp_path, *steps).values()] == ["changed"] * 4


def test_a_failure_stops_only_what_depends_on_it(conn: libvirt.virConnect, tmp_path: Path) -> None:
    broken = config(name="with/slash")
    healthy = config("web-2", OTHER)
    results = Executor(
        document(
            action(Define(broken, mark_of(broken))),
            action(Start(), "web-1/define"),
            defined(healthy),
            action(Start(), "web-2/define", uid=OTHER, vm="web-2"),
        ),
        tmp_path,
    ).carry_out(conn)
    assert [(r.id, r.outcome) for r in results] == [
        ("web-1/define", "failed"),
        ("web-1/start", "skipped"),
        ("web-2/define", "changed"),
        ("web-2/start", "changed"),
    ]
    assert results[0].terminal
    assert results[1].reason == "DependencyFailed"


def test_a_template_that_was_refused_is_a_failed_step(conn: libvirt.virConnect, tmp_path: Path) -> None:
    wanted = config()
    steps = [action(Define(wanted, mark_of(wanted), "t.j2")), action(Start(), "web-1/define")]
    refused = Executor(document(*steps, templates={"t.j2": "<name>x</name>"}), tmp_path).carry_out(conn)
    assert [(r.outcome, r.reason) for r in refused] == [
        ("failed", "RenderRefused"),
        ("skipped", "DependencyFailed"),
    ]
    assert "t.j2" in refused[0].message
    missing = Executor(document(steps[0]), tmp_path).carry_out(conn)
    assert missing[0].reason == "RenderRefused"


def test_a_circle_ends(conn: libvirt.virConnect, tmp_path: Path) -> None:
    results = carry_out(conn, tmp_path, action(Start(), "web-1/stop"), action(Stop(1), "web-1/start"))
    assert {result.outcome for result in results.values()} == {"skipped"}


def test_check_mode_says_everything_and_does_nothing(conn: libvirt.virConnect, tmp_path: Path) -> None:
    before = sorted(domain.name() for domain in conn.listAllDomains())
    wanted = config()
    steps = [
        action(CreateVolume("default", "v.raw", "raw", 1 << 20)),
        action(Define(wanted, mark_of(wanted)), "web-1/create-volume"),
        action(Start(), "web-1/define"),
    ]
    results = carry_out(conn, tmp_path, *steps, check=True)
    assert [r.outcome for r in results.values()] == ["changed"] * 3
    assert [r.message.split()[0] for r in results.values()] == ["would"] * 3
    assert results["define"].diff == ("", tidy(document(steps[1])["actions"][0]["xml"]))
    assert sorted(domain.name() for domain in conn.listAllDomains()) == before
    assert conn.storagePoolLookupByName("default").listVolumes() == []


def test_waiting_for_a_guest_does_not_hold_up_others(conn: libvirt.virConnect, tmp_path: Path) -> None:
    """With a single lane, a step that waits lets the next one through."""
    session = Session(conn, "default", Guard(tmp_path), parallel=1)
    other_was_let_through = threading.Event()

    def other() -> None:
        with session.lane:
            other_was_let_through.set()

    with session.lane:
        threading.Thread(target=other, daemon=True).start()
        assert session.wait(other_was_let_through.is_set, 30)


def test_progress_is_the_record_of_what_was_done(conn: libvirt.virConnect, tmp_path: Path) -> None:
    carry_out(conn, tmp_path, defined(config()), action(Start(), "web-1/define"))
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [(line["event"], line["id"]) for line in lines] == [
        ("began", "web-1/define"),
        ("ended", "web-1/define"),
        ("began", "web-1/start"),
        ("ended", "web-1/start"),
    ]
    assert (tmp_path / "progress.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_host_that_does_not_answer(tmp_path: Path) -> None:
    gone = replace(HOST, uri="qemu+unix:///system?socket=/nonexistent/socket")
    steps = [defined(config()), action(Start(), "web-1/define")]
    results = Executor(document(*steps, host=gone), tmp_path).run()
    assert [(r.outcome, r.reason) for r in results] == [
        ("failed", "HostUnreachable"),
        ("skipped", "HostUnreachable"),
    ]
    assert "/nonexistent/socket" in results[0].message


def test_a_plan_of_another_version_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="version"):
        Executor(document() | {"version": 99}, tmp_path)


def test_nobody_waits_nothing_begins(conn: libvirt.virConnect, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {})
    plan = document(defined(config()))
    with run.held():
        assert Executor(plan, run.path).carry_out(conn)[0].outcome == "changed"
    conn.lookupByUUIDString(UID).undefine()
    (abandoned,) = Executor(plan, run.path).carry_out(conn)
    assert (abandoned.outcome, abandoned.reason) == ("skipped", "Abandoned")
    with run.held():
        run.cancel()
        (cancelled,) = Executor(plan, run.path).carry_out(conn)
    assert (cancelled.outcome, cancelled.reason) == ("skipped", "Cancelled")


def test_a_cancelled_run_does_not_wait_for_guests(conn: libvirt.virConnect, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", {})
    with run.held():
        session = Session(conn, "default", Guard(run.path))
        threading.Timer(0.1, run.cancel).start()
        with session.lane, pytest.raises(Interrupted):
            session.wait(lambda: False, 600)


def test_a_wait_ends(conn: libvirt.virConnect, tmp_path: Path) -> None:
    session = Session(conn, "default", Guard(tmp_path))
    with session.lane:
        assert not session.wait(lambda: False, 0.05)


def test_workers_and_a_new_daemon_keep_out_of_each_others_way(tmp_path: Path) -> None:
    lock = workers_lock(tmp_path)
    assert wait_for_orphans(tmp_path, 0)
    with lock.open("r+") as orphan:
        fcntl.flock(orphan, fcntl.LOCK_SH)
        assert not wait_for_orphans(tmp_path, 0.01)
        threading.Timer(0.2, lambda: fcntl.flock(orphan, fcntl.LOCK_UN)).start()
        began = time.monotonic()
        assert wait_for_orphans(tmp_path, 30)
        assert time.monotonic() - began < 29
    with lock.open("r+") as daemon:
        fcntl.flock(daemon, fcntl.LOCK_EX)
        plan = document(defined(config())) | {"workers_lock": os.fspath(lock)}
        assert Executor(plan, tmp_path).run()[0].reason == "Abandoned"
