"""A seed on its way to a host: the secret is in no file, and a missing one stops its machine alone."""

from __future__ import annotations

from pathlib import Path

import libvirt
import pytest
import yaml
from push_world import OWNER, UID, carry_out, config, defined

from reconciler.errors import SecretError
from reconciler.model.config import PushConfig
from reconciler.model.guest import SecretRef
from reconciler.model.host import Host
from reconciler.model.operations import PutSeed, SeedFile, Start
from reconciler.model.placement import seed_name
from reconciler.model.plan import Action, ActionResult, Impact, Outcome, Plan
from reconciler.push.pusher import Pusher

SECRET = "xyzzy-4711"
LOST = "00000000-0000-4000-8000-000000000002"


def read(ref: SecretRef) -> str:
    if ref.env != "THERE":
        raise SecretError(f"{ref} is not set", hint="set it")
    return SECRET


def seeded(vm: str, uid: str, secret: str) -> list[Action]:
    content = f'{{"password": {{"secretRef": {{"env": "{secret}"}}}}, "x": "{{{{ 1 }}}}"}}'
    files = (SeedFile("user-data", "cloud-config", content),)
    put = PutSeed("default", seed_name(vm, uid), "0" * 32, files)
    made = defined(config(vm, uid))
    return [
        Action(f"{vm}/put-seed", "h1", vm, uid, put, Impact.NONE, "test"),
        Action(made.id, "h1", vm, uid, made.operation, Impact.NONE, "test", (f"{vm}/put-seed",)),
        Action(f"{vm}/start", "h1", vm, uid, Start(), Impact.NONE, "test", (made.id,)),
    ]


@pytest.fixture
def node(tmp_path: Path) -> Host:
    pool = "<pool type='dir'><name>default</name><target><path>/pool</path></target></pool>"
    (tmp_path / "node.xml").write_text(f"<node>{pool}</node>")
    return Host("h1", f"test://{tmp_path}/node.xml", virt_type="test")


def test_a_secret_is_in_no_file_and_in_no_word(tmp_path: Path, node: Host) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"h1": {}}}}))
    pusher = Pusher(PushConfig(), OWNER, [inventory], tmp_path / "state", read_secret=read)
    actions = [*seeded("web-1", UID, "THERE"), *seeded("lost", LOST, "MISSING")]
    said: list[ActionResult | str] = []

    results = pusher.push(Plan("rev", (), tuple(actions)), {"h1": node}, {}, {}, said.append)

    found = {result.id: (result.outcome, result.reason) for result in results}
    assert [found[f"web-1/{step}"] for step in ("put-seed", "define", "start")] == [(Outcome.CHANGED, "")] * 3
    assert found["lost/put-seed"] == (Outcome.FAILED, "SecretMissing")
    assert found["lost/define"] == found["lost/start"] == (Outcome.SKIPPED, "SecretMissing")
    assert "the environment variable MISSING is not set" in next(r.message for r in results if "lost" in r.vm)
    assert SECRET not in repr(said)
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text("latin-1")]
    assert holding == []
    assert not list(tmp_path.rglob("*.sock"))


def test_by_hand_there_is_nobody_to_ask(tmp_path: Path, node: Host) -> None:
    conn = libvirt.open(node.uri)
    try:
        done = carry_out(conn, tmp_path, *seeded("web-1", UID, "THERE"))
        checked = carry_out(conn, tmp_path, *seeded("web-1", UID, "THERE"), check=True)
    finally:
        conn.close()
    assert (done["put-seed"].outcome, done["put-seed"].reason) == ("failed", "SeedUnavailable")
    assert "reconciler apply" in done["put-seed"].message
    assert {done[step].outcome for step in ("define", "start")} == {"skipped"}
    assert checked["put-seed"].outcome == "changed"
    assert checked["put-seed"].message.startswith("would write")
