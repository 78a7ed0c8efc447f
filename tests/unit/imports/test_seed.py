from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.command import Said, call

from reconciler.desired.decode import decode_text
from reconciler.desired.writer import to_yaml
from reconciler.errors import Problem
from reconciler.imports.seed import inventory_text, read_hosts, read_images, read_types
from reconciler.model.storage import DiskFormat


def told(problems: list[Problem]) -> list[str]:
    return [f"{problem.line}: {problem.message}" for problem in problems]


def test_hosts_keep_their_place_as_id() -> None:
    problems: list[Problem] = []
    text = "# machines\nroot@192.0.2.11\n\nadmin@kvm2.example.org\nroot@[2001:db8::1]\n"
    hosts = read_hosts(text, "pm", problems)
    assert problems == []
    assert [(h.number, h.name, h.user, h.address, h.line) for h in hosts] == [
        (1, "host-1", "root", "192.0.2.11", 2),
        (2, "kvm2.example.org", "admin", "kvm2.example.org", 4),
        (3, "host-3", "root", "2001:db8::1", 5),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("kvm1", "is not user@address"),
        ("@kvm1", "is not user@address"),
        ("root@", "is not user@address"),
        ("root@-oProxyCommand=id", "is not user@address"),
        ("-oProxyCommand=id@kvm1", "is not user@address"),
        ("root@{{ lookup('pipe','id') }}", "is not user@address"),
        ("root@kvm1 ansible_connection=local", "is not user@address"),
        ("root@kvm1:22", "is not user@address"),
    ],
)
def test_what_is_no_host_is_refused(line: str, says: str) -> None:
    problems: list[Problem] = []
    assert read_hosts(f"root@kvm0\n{line}\n", "pm", problems)[1:] == ()
    assert [problem.line for problem in problems] == [2]
    assert says in problems[0].message


def test_a_host_stands_once() -> None:
    problems: list[Problem] = []
    read_hosts("root@kvm1\nadmin@KVM1\nroot@192.0.2.1\nroot@host-3\n", "pm", problems)
    assert told(problems) == ["2: the address 'kvm1' is that of line 1 too"]
    problems = []
    read_hosts("root@192.0.2.1\nroot@host-1\n", "pm", problems)
    assert told(problems) == ["2: the host name 'host-1' is that of line 1 too"]


@given(st.text(max_size=60))
def test_no_line_of_a_host_list_becomes_more_than_a_host(line: str) -> None:
    hosts = read_hosts(line, "pm", [])
    rows = inventory_text(hosts, "pm").splitlines()[2:]
    assert len(rows) == len(hosts)
    assert all(row.count(" ") == 3 and "{" not in row and "#" not in row for row in rows)


def test_images_say_where_they_lie_and_what_they_are() -> None:
    problems: list[Problem] = []
    text = "/srv/deb.qcow2\nroot@kvm1:/srv/old.img\nbase.RAW\nadmin@[2001:db8::1]:/a b/c.qcow2\n"
    images = read_images(text, "images", DiskFormat.RAW, problems)
    assert problems == []
    assert [(i.number, i.name, i.path, i.remote, i.format) for i in images] == [
        (1, "deb", "/srv/deb.qcow2", "", "qcow2"),
        (2, "old", "/srv/old.img", "root@kvm1", "raw"),
        (3, "base", "base.RAW", "", "raw"),
        (4, "c", "/a b/c.qcow2", "admin@[2001:db8::1]", "qcow2"),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/srv/old.img", "does not say its format"),
        ("-oProxyCommand=id@kvm1:/a.raw", "is not user@address"),
        ("root@-h:/a.raw", "is not user@address"),
        ("root@kvm1:a.raw", "is not an absolute path"),
        ("root@kvm1:/a;id.raw", "is not an absolute path"),
        ("root@kvm1:/$(id).raw", "is not an absolute path"),
        ("root@kvm1:/*.raw", "is not an absolute path"),
        ("/srv/\x07.raw", "cannot be an image's name|has characters"),
        ("/srv/debian.qcow2", "is that of line 1 too"),
    ],
)
def test_what_is_no_image_is_refused(line: str, says: str) -> None:
    problems: list[Problem] = []
    read_images(f"debian.raw\n{line}\n", "images", None, problems)
    assert [problem.line for problem in problems] == [2]
    assert any(word in problems[0].message for word in says.split("|"))


TYPES = """{"types": [
  {"tid": 1, "cpu": 1, "ram": 512, "disk": 1},
  {"tid": 12,
   "cpu": 4, "ram": 2048, "disk": 0}
]}"""


def test_types_become_instance_types_in_bytes() -> None:
    problems: list[Problem] = []
    found = read_types(TYPES, "types.json", problems)
    assert problems == []
    assert [line for _, line in found] == [2, 3]
    (small, _), (large, _) = found
    assert small.name == "type-1"
    assert small.metadata.annotations == {"seed/tid": "1"}
    assert (small.spec.cpus, small.spec.memory, small.spec.root_disk_size) == (1, 512 << 20, 1 << 30)
    assert large.spec.root_disk_size is None
    assert [decode_text(to_yaml(one), "x") for one, _ in found] == [(small,), (large,)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", ["1: this is not JSON"]),
        ("[]", ["1: this is not {"]),
        ('{"types": {}}', ["1: this is not {"]),
        ('{"types": [\n7]}', ["0: this is not an object"]),
        (
            '{"types": [\n{"tid": 0, "cpu": "2", "ram": true}]}',
            ["2: tid", "2: cpu", "2: ram", "2: disk (GiB"],
        ),
        (
            '{"types": [\n' + ",\n".join(2 * ['{"tid": 1, "cpu": 1, "ram": 1, "disk": 1}']) + "]}",
            ["3: the tid 1 is that of line 2 too"],
        ),
        ('{"types": [\n{"tid": 1, "cpu": 1, "ram": 1, "disk": 1, "gpu": 1}]}', ["2: unknown field 'gpu'"]),
        (
            '{"types": [\n{"tid": 1, "cpu": 5000, "ram": 99999999999999, "disk": 1}]}',
            ["2: cpu is at most 4096", "2: ram and disk are less than 8Ei"],
        ),
        ("[" * 100_000, ["0: this is nested too deeply"]),
    ],
)
def test_every_mistake_of_the_types_is_told_with_its_line(text: str, says: list[str]) -> None:
    problems: list[Problem] = []
    read_types(text, "types.json", problems)
    assert len(problems) == len(says)
    assert all(line.startswith(words) for line, words in zip(told(problems), says, strict=True))


def seed(folder: Path, *words: str) -> Said:
    return call("import", "seed", "--out", str(folder / "out"), "--state-dir", str(folder / "state"), *words)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    (tmp_path / "pm").write_text("root@192.0.2.11\n")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "deb.qcow2", "4M"], check=True)
    (tmp_path / "images").write_text("deb.qcow2\n")
    (tmp_path / "types").write_text(TYPES)
    return tmp_path


def all_of(folder: Path) -> list[str]:
    return [word for name in ("pm", "images", "types") for word in (f"--{OPTIONS[name]}", str(folder / name))]


OPTIONS = {"pm": "hosts", "images": "images", "types": "types"}


def test_the_lists_become_a_valid_source(lists: Path) -> None:
    said = seed(lists, *all_of(lists))
    assert said.exit == 0, said.text
    out = lists / "out"
    assert sorted(path.name for path in out.iterdir()) == ["hosts.ini", "images.yaml", "instance-types.yaml"]
    valid = call("validate", "--source", str(out), "--state-dir", str(lists / "state"), "-o", "json")
    assert valid.exit == 0, valid.text
    assert json.loads(valid.out)["instanceTypes"] == 2
    (image,) = yaml.safe_load_all((out / "images.yaml").read_text())
    assert image["metadata"] == {"name": "deb", "annotations": {"seed/image-id": "1"}}
    assert image["spec"]["path"] == str(lists / "deb.qcow2")
    assert len(image["spec"]["sha256"]) == 64
    assert "host-1 ansible_host=192.0.2.11 ansible_user=root seed_pmid=1" in (out / "hosts.ini").read_text()


def test_what_is_there_is_replaced_only_by_force(lists: Path) -> None:
    (lists / "out").mkdir()
    (lists / "out" / "images.yaml").write_text("mine")
    said = seed(lists, *all_of(lists))
    assert said.exit == 64
    assert "images.yaml exists already" in said.err
    assert [path.read_text() for path in (lists / "out").iterdir()] == ["mine"]
    assert seed(lists, *all_of(lists), "--force", "-o", "json").exit == 0
    assert (lists / "out" / "images.yaml").read_text() != "mine"


def test_mistakes_of_all_files_are_told_at_once_and_nothing_is_written(lists: Path) -> None:
    (lists / "pm").write_text("root@192.0.2.11\nnobody\n")
    (lists / "types").write_text('{"types": [\n{"tid": 1}]}')
    said = seed(lists, *all_of(lists))
    assert said.exit == 3
    assert "pm:2:1: 'nobody' is not user@address" in said.err
    assert "types:2:1: types[0]: cpu (cpus) is missing" in said.err
    assert not (lists / "out").exists()


def test_an_image_that_cannot_be_used_is_a_mistake_of_its_line(lists: Path) -> None:
    (lists / "raw.qcow2").write_text("no such header")
    (lists / "images").write_text("deb.qcow2\nraw.qcow2\nmissing.qcow2\nroot@127.0.0.1:/none.qcow2\n")
    said = seed(lists, "--images", str(lists / "images"))
    assert said.exit == 3
    for words in ("images:2:1:", "images:3:1:", "images:4:1: scp cannot copy root@127.0.0.1:/none.qcow2"):
        assert words in said.err
    assert not (lists / "out").exists()


def test_an_image_of_another_machine_is_copied_here_once(
    lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a program that stands in for scp: it copies from this machine, and writes down its words."""
    (lists / "bin").mkdir()
    stand_in = lists / "bin" / "scp"
    stand_in.write_text(
        f'#!/bin/bash\necho "$@" >>{lists}/words\nsource="${{@: -2:1}}"\ncp "${{source#*:}}" "${{@: -1}}"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    (lists / "images").write_text(f"root@kvm1:{lists}/deb.qcow2\n")
    for words in ((), ("--force",)):
        said = seed(lists, "--images", str(lists / "images"), *words)
        assert said.exit == 0, said.text
    (image,) = yaml.safe_load_all((lists / "out" / "images.yaml").read_text())
    copy = Path(image["spec"]["path"])
    assert copy.parent == lists / "state" / "images"
    assert copy.read_bytes() == (lists / "deb.qcow2").read_bytes()
    calls = (lists / "words").read_text().splitlines()
    assert len(calls) == 2
    assert all(line.split()[:2] == ["-B", "-q"] and f"-- root@kvm1:{lists}" in line for line in calls)
    # Nothing but the copy is left, also not of one that failed.
    (lists / "images").write_text(f"root@kvm1:{lists}/none.qcow2\n")
    assert "scp cannot copy" in seed(lists, "--images", str(lists / "images"), "--force").err
    assert list(copy.parent.iterdir()) == [copy]


def test_with_nothing_to_import_it_says_so(tmp_path: Path) -> None:
    assert seed(tmp_path).exit == 64
    (tmp_path / "pm").write_text("\n")
    assert "there is nothing in it" in seed(tmp_path, "--hosts", str(tmp_path / "pm")).err
