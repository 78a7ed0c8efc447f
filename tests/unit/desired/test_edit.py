"""What people wrote stays as they wrote it: an edit changes one value and nothing else."""

from __future__ import annotations

import pytest

from reconciler.desired.decode import decode_text
from reconciler.desired.edit import END, REMOVE, add, drop, edit, read
from reconciler.errors import DesiredStateError
from reconciler.model.manifest import VirtualMachine

KEY = "VirtualMachine/web-1"
HEAD = "apiVersion: reconciler/v1\nkind: VirtualMachine\nmetadata: {name: web-1}\n"

FILE = """\
# the front of the shop
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: small}
spec: {cpus: 1, memory: 1Gi}
---
apiVersion: reconciler/v1
kind: VirtualMachine  # one of two
metadata:
  name: "web-1"
  labels: {app: web}
spec:
  cpus: 2      # as many as its licence allows
  memory: '2Gi'
  description: |
    the front
    of the shop

  # never restart this by hand
  runStrategy: "Always"
  rootDisk: {size: 20Gi}
  disks:
  # bulk
  - {name: data, size: 10Gi}
  -   name: logs   # grows
      size: 1Gi

# the end
---
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {name: web-2}
spec: {cpus: 1, memory: 1Gi}
"""


@pytest.mark.parametrize(
    ("path", "value", "before", "after"),
    [
        (("spec", "cpus"), 4, "cpus: 2 ", "cpus: 4 "),
        (("spec", "memory"), "4Gi", "'2Gi'", "'4Gi'"),
        (("spec", "runStrategy"), "Halted", '"Always"', '"Halted"'),
        (("spec", "rootDisk", "size"), "30Gi", "{size: 20Gi}", "{size: 30Gi}"),
        (("spec", "rootDisk", "pool"), "fast", "{size: 20Gi}", "{size: 20Gi, pool: fast}"),
        (("spec", "disks", 0, "size"), "20Gi", "data, size: 10Gi", "data, size: 20Gi"),
        (("spec", "disks", 1, "size"), "2Gi", "      size: 1Gi\n", "      size: 2Gi\n"),
        (("spec", "disks", 1, "pool"), "fast", "      size: 1Gi\n", "      size: 1Gi\n      pool: fast\n"),
        (
            ("spec", "disks", END),
            {"name": "new"},
            "size: 1Gi\n\n# the",
            "size: 1Gi\n  - {name: new}\n\n# the",
        ),
        (("spec", "protect"), True, "size: 1Gi\n\n# the", "size: 1Gi\n  protect: true\n\n# the"),
        (("spec", "placement", "host"), "h1", "size: 1Gi\n\n#", "size: 1Gi\n  placement: {host: h1}\n\n#"),
        (("metadata", "labels", "tier"), "1.0", "{app: web}", "{app: web, tier: '1.0'}"),
        (("metadata", "annotations"), {"a": "b"}, "{app: web}\n", "{app: web}\n  annotations: {a: b}\n"),
        (("spec", "description"), "plain", "|\n    the front\n    of the shop\n", "plain\n"),
        (
            ("spec", "disks"),
            [],
            "\n  # bulk\n  - {name: data, size: 10Gi}\n  -   name: logs   # grows\n      size: 1Gi",
            " []\n  # bulk",
        ),
        (("spec", "rootDisk"), REMOVE, "  rootDisk: {size: 20Gi}\n", ""),
        (("spec", "disks", 1), REMOVE, "  -   name: logs   # grows\n      size: 1Gi\n", ""),
        (("spec", "disks", 0, "name"), REMOVE, "{name: data, size", "{size"),
        (("metadata", "labels", "app"), REMOVE, "{app: web}", "{}"),
        (("spec", "cpus"), REMOVE, "  cpus: 2      # as many as its licence allows\n", ""),
    ],
)
def test_one_change_is_one_splice(
    path: tuple[str | int, ...], value: object, before: str, after: str
) -> None:
    assert before in FILE
    for start, newline in (("", "\n"), ("\ufeff", "\r\n")):
        text, old, new = (part.replace("\n", newline) for part in (FILE, before, after))
        made = edit(start + text, KEY, {path: value})
        assert made == start + text.replace(old, new, 1)
        if path[-1] != END and not isinstance(path[-1], int):
            assert edit(made, KEY, {path: value}) == made


def test_what_is_so_already_is_left_alone() -> None:
    assert edit(FILE, KEY, {("spec", "cpus"): 2, ("spec", "runStrategy"): "Always"}) == FILE
    assert edit(FILE, KEY, {("spec", "nowhere"): REMOVE, ("spec", "rootDisk", "x", "y"): REMOVE}) == FILE


def test_an_absent_field_goes_into_the_machine_that_is_meant() -> None:
    made = edit(FILE, "VirtualMachine/web-2", {("spec", "runStrategy"): "Halted"})
    assert made == FILE.removesuffix("}\n") + ", runStrategy: Halted}\n"
    assert read(made, "VirtualMachine/web-2")["spec"] == {"cpus": 1, "memory": "1Gi", "runStrategy": "Halted"}
    assert read(made, KEY) == read(FILE, KEY)


@pytest.mark.parametrize(
    ("spec", "path", "value", "wanted"),
    [
        (
            "spec:\n  cpus: 1\n  rootDisk:",
            ("spec", "rootDisk", "size"),
            "1Gi",
            "spec:\n  cpus: 1\n  rootDisk: {size: 1Gi}",
        ),
        ("spec:\n  cpus:   # later\n", ("spec", "cpus"), 3, "spec:\n  cpus: 3   # later\n"),
        (
            "spec:\n  cpus: 1 # no newline",
            ("spec", "memory"),
            "1Gi",
            "spec:\n  cpus: 1 # no newline\n  memory: 1Gi",
        ),
        ("spec:\n  cpus: &n 1\n", ("spec", "cpus"), 2, "spec:\n  cpus: &n 2\n"),
        ("spec: {}\n", ("spec", "cpus"), 2, "spec: {cpus: 2}\n"),
        ("spec: {cpus: 1,}\n", ("spec", "a"), 2, "spec: {cpus: 1, a: 2,}\n"),
        (
            "spec: {\n  cpus: 1, # one\n  a: 2 # two\n}\n",
            ("spec", "b"),
            3,
            "spec: {\n  cpus: 1, # one\n  a: 2, b: 3 # two\n}\n",
        ),
        ("spec:\n  disks:\n  - a\n", ("spec", "disks", 0), REMOVE, "spec:\n  disks:\n    []\n"),
        ("spec:\n  d: |+\n    x\n\n", ("spec", "e"), 1, "spec:\n  d: |+\n    x\n\n  e: 1\n"),
        ("spec:\n  d: {a: b}\n", ("spec", "d"), "two\nlines", 'spec:\n  d: "two\\nlines"\n'),
        ("spec:\n  - name: x\n    size: 1\n", ("spec", 0, "name"), REMOVE, "spec:\n  - size: 1\n"),
        ("spec: &s # shape\n  a: 1\n", ("spec",), 5, "spec: &s 5 # shape\n"),
        ("spec:\n  a: 1\nb: &x [1]\nc: *x\n", ("spec", "b"), 2, "spec:\n  a: 1\n  b: 2\nb: &x [1]\nc: *x\n"),
        (
            "x: &x {q: 1}\nspec:\n  a: 1\n  <<: *x # base\n",
            ("spec", "b"),
            2,
            "x: &x {q: 1}\nspec:\n  a: 1\n  <<: *x # base\n  b: 2\n",
        ),
        ("spec: # c\n  a: 1\n", ("spec", "b", "c", END), "x", "spec: # c\n  a: 1\n  b: {c: [x]}\n"),
    ],
)
def test_all_the_ways_in_which_people_write(
    spec: str, path: tuple[str | int, ...], value: object, wanted: str
) -> None:
    assert edit(HEAD + spec, KEY, {path: value}) == HEAD + wanted


def test_what_is_long_stands_on_several_lines() -> None:
    value = {"selector": {f"label-{n}": "value" for n in range(10)}, "list": ["x" * 30, "y"]}
    text = HEAD + "spec:\n  cpus: 1\n  long: {a: b}\n  end: 1\n"
    for path in (("spec", "new"), ("spec", "long"), ("metadata", "x")):
        made = edit(text, KEY, {path: value})
        assert max(map(len, made.splitlines())) < 110 or path[0] == "metadata"
    listed = edit(HEAD + "spec:\n  many:\n    - a: b\n", KEY, {("spec", "many", END): value})
    assert "    - selector:\n        label-0" in listed


@pytest.mark.parametrize(
    ("text", "path", "value", "says"),
    [
        (HEAD + "spec:\n  a: &n 1\n  cpus: *n\n", ("spec", "cpus"), 2, "f.yaml:5:.*shared with other places"),
        (HEAD + "spec:\n  cpus: &n 1\n  a: *n\n", ("spec", "cpus"), 2, "f.yaml:5:.*shared with other places"),
        (HEAD + "base: &b {cpus: 1}\nspec:\n  <<: *b\n  a: 1\n", ("spec", "cpus"), 2, "through a merge key"),
        (HEAD + "base: &b {cpus: 1}\nspec: *b\n", ("spec", "cpus"), 2, "shared"),
        (HEAD + "spec:\n  cpus: 1\n", ("spec", "cpus", "x"), 2, "is no mapping"),
        (HEAD + "spec:\n  disks: [a]\n", ("spec", "disks", 3), 2, "has no item 3"),
        (HEAD + "spec: {}\n---\n" + HEAD + "spec: {}\n", ("spec", "a"), 2, "f.yaml:6:.*declared twice"),
        ("kind: Image\n", ("spec", "a"), 2, "there is no VirtualMachine web-1 in it"),
        (HEAD + "spec: {a: [\n", ("spec", "a"), 2, "f.yaml"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_alone_is_refused_with_its_place(
    text: str, path: tuple[str | int, ...], value: object, says: str
) -> None:
    with pytest.raises(DesiredStateError, match=says):
        edit(text, KEY, {path: value}, file="f.yaml")


def test_a_new_document_is_added_at_the_end() -> None:
    one = VirtualMachine.model_validate({"metadata": {"name": "new"}, "spec": {"cpus": 1, "memory": "1Gi"}})
    for text in (
        "",
        "# only a comment\n",
        FILE,
        FILE.rstrip("\n"),
        FILE + "...\n",
        FILE.replace("\n", "\r\n"),
    ):
        made = add(text, one)
        assert made.startswith(text)
        names = [each.metadata.name for each in decode_text(made, "f")]
        assert names == [*(each.metadata.name for each in decode_text(text, "f")), "new"]


@pytest.mark.parametrize("key", ["InstanceType/small", KEY, "VirtualMachine/web-2"])
def test_a_document_goes_and_the_others_stay(key: str) -> None:
    parts = FILE.split("---\n")
    gone = ["InstanceType/small", KEY, "VirtualMachine/web-2"].index(key)
    for newline in ("\n", "\r\n"):
        made = drop(FILE.replace("\n", newline), key)
        rest = "---\n".join(part for at, part in enumerate(parts) if at != gone)
        assert made == (("---\n" if gone == 0 else "") + rest).replace("\n", newline)
        with pytest.raises(DesiredStateError, match="there is no"):
            drop(made, key)


def test_what_looks_like_a_mark_is_one_only_at_the_beginning_of_a_line() -> None:
    text = HEAD + "spec:\n  description: |\n    one\n    ---\n    two\n--- # next\nkind: Image\n"
    assert drop(text, KEY) == "--- # next\nkind: Image\n"
    assert drop(HEAD + "spec: {}", KEY) == ""
