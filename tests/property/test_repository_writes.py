"""Whatever is written, in whatever order: the repository says what a dictionary would."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.desired.decode import decode_data
from reconciler.desired.edit import edit_all, read
from reconciler.desired.repository.differences import differences, merged, same
from reconciler.desired.source import open_source
from reconciler.desired.writer import to_plain
from reconciler.desired.writes import Repository
from reconciler.errors import ConflictError, NotFoundError, PreconditionError, RefusedError
from reconciler.model.config import SourceConfig
from reconciler.model.write import ANY, Change, Data, Write, version_of

AUTHOR = "Ann Other <ann@example.org>"
PEOPLE = """\
# keep a
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {name: a, labels: {app: "web"}} # keep a
spec:
  memory: 1024Mi
  cpus: 1
  disks:
  # keep a
  - {name: one, size: 1Gi}
  - name: two
    size: 2Gi
---
# keep b
kind: VirtualMachine
apiVersion: reconciler/v1
spec: {cpus: 2, memory: "2Gi"}
metadata:
  name: b # keep b
---
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: stays}
spec: {cpus: 1, memory: 1Gi}
"""

disk = st.builds(
    lambda name, size: {"name": name, "size": size},
    st.sampled_from(["one", "two", "three"]),
    st.sampled_from(["1Gi", "2Gi"]),
)
disks = st.lists(disk, unique_by=lambda each: each["name"])
fields = st.fixed_dictionaries(
    {"cpus": st.integers(1, 3), "memory": st.sampled_from(["1Gi", "1024Mi", 2 << 30])},
    optional={
        "disks": disks,
        "runStrategy": st.sampled_from(["Always", "Halted"]),
        "placement": st.just({"hostSelector": {"rack": "r 1"}}),
    },
)
patches = st.fixed_dictionaries(
    {}, optional={"cpus": st.integers(1, 3), "disks": st.none() | disks, "runStrategy": st.none()}
)
names = st.sampled_from("abc")
writes = st.one_of(
    st.tuples(st.sampled_from([Change.CREATE, Change.PUT]), names, fields),
    st.tuples(st.just(Change.MERGE), names, patches),
    st.tuples(st.just(Change.DELETE), names, st.none()),
)
matches = st.sampled_from([None, None, None, ANY, "right", "wrong", "absent"])


def body(name: str, spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "reconciler/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": spec,
    }


def usual(data: Data) -> Data:
    made, mistakes = decode_data({**data})
    assert made is not None, mistakes
    return to_plain(made)


def expected(known: Data | None, wish: Write) -> Data | type[RefusedError] | None:  # noqa: PLR0911
    """What the object says then, or how it is refused."""
    if known is None:
        if wish.change in (Change.MERGE, Change.DELETE):
            return NotFoundError
        if wish.match is not None:
            return PreconditionError
        return usual(wish.body or {})
    if wish.absent or wish.match not in (None, ANY, version_of(known)):
        return PreconditionError
    if wish.change is Change.CREATE:
        return ConflictError
    if wish.change is Change.DELETE:
        return None
    if wish.change is Change.MERGE:
        patched = merged(known, wish.body)
        assert isinstance(patched, dict)
        return usual(patched)
    return usual(wish.body or {})


def step(repository: Repository, model: dict[str, Data], wish: Write) -> None:
    name = wish.key.partition("/")[2]
    wanted = expected(model.get(name), wish)
    if isinstance(wanted, type):
        with pytest.raises(wanted):
            repository.write(wish)
        return
    written = repository.write(wish)
    assert written.before == model.get(name)
    assert written.after == wanted
    if wanted is None:
        del model[name]
    else:
        model[name] = wanted


def make_wish(model: dict[str, Data], change: Change, name: str, spec: Any, match: str | None) -> Write:
    data = {"spec": spec} if change is Change.MERGE else body(name, spec) if spec is not None else None
    version = match
    if match == "right":
        version = version_of(model[name]) if name in model else ANY
    absent = match == "absent" and change is not Change.DELETE
    return Write(
        f"VirtualMachine/{name}",
        change,
        data,
        AUTHOR,
        f"{change} {name}",
        match=None if match == "absent" else version,
        absent=absent and change is not Change.MERGE,
    )


def check(root: Path, config: SourceConfig, repository: Repository, model: dict[str, Data]) -> None:
    for state in (repository.read(), open_source(config, Path("/")).read()):
        assert {name: to_plain(one) for name, one in state.machines.items()} == model
        assert state.instance_types.keys() == {"stays"}


@given(st.lists(st.tuples(writes, matches), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_a_folder_is_a_dictionary(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    root = tmp_path_factory.mktemp("folder")
    (root / "people.yaml").write_text(PEOPLE)
    config = SourceConfig(path=str(root))
    repository = Repository(config, Path("/"))
    model = {name: to_plain(one) for name, one in repository.read().machines.items()}
    original = set(model)
    for (change, name, spec), match in steps:
        step(repository, model, make_wish(model, change, name, spec, match))
        original -= {name} - model.keys()
        people = (root / "people.yaml").read_text()
        for one in ("a", "b"):
            assert (f"name: {one}" in people) == (one in original)
        if "b" in original:
            assert people.count("# keep b") >= 1
    check(root, config, repository, model)


def test_a_branch_is_a_dictionary_and_its_log_is_complete(tmp_path: Path) -> None:
    """One long walk: each write that was acknowledged is one commit, in order."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout

    (tmp_path / "people.yaml").write_text(PEOPLE)
    git("init", "--quiet", "--initial-branch=main")
    git("add", "--all")
    git("commit", "--quiet", "--message=first")
    git("checkout", "--quiet", "-b", "other")
    config = SourceConfig(path=str(tmp_path), git=True, ref="main")
    repository = Repository(config, Path("/"))
    model = {name: to_plain(one) for name, one in repository.read().machines.items()}
    chance = random.Random(3)
    log = ["first"]
    for at in range(40):
        change = chance.choice(list(Change))
        name = chance.choice("abc")
        spec = {"cpus": chance.randint(1, 9), "memory": "1Gi"} if change is not Change.DELETE else None
        wish = make_wish(model, change, name, spec, None)
        before = dict(model)
        step(repository, model, wish)
        if model != before:
            log.append(wish.message)
        if at % 10 == 9:
            check(tmp_path, config, repository, model)
    assert git("log", "--reverse", "--format=%s", "main").splitlines() == log


@given(fields, fields)
@settings(max_examples=60, deadline=None)
def test_differences_make_one_manifest_of_another(before: Any, after: Any) -> None:
    text = "# x\n" + yaml.safe_dump(body("a", before), default_flow_style=None)
    old, new = usual(body("a", before)), usual(body("a", after))
    made = edit_all(text, "VirtualMachine/a", differences(old, new))
    assert same(usual(read(made, "VirtualMachine/a")), new)
    assert made.startswith("# x\n")
    assert list(differences(new, new)) == []
