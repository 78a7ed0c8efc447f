from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.desired.source import Source, open_source
from reconciler.errors import DesiredStateError
from reconciler.model.config import SourceConfig
from reconciler.model.desired import Origin

from .conftest import machine


def folder(root: Path, **config: object) -> Source:
    return open_source(SourceConfig.model_validate({"path": str(root), **config}), Path("/"))


def messages(caught: pytest.ExceptionInfo[DesiredStateError]) -> list[str]:
    return [str(problem) for problem in caught.value.problems]


def test_files_below_are_read_and_hidden_ones_and_our_configuration_are_not(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml", "sub/deep/c.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(machine(Path(name).stem))
    for name in (
        ".hidden.yaml",
        ".git/x.yaml",
        "sub/.x/y.yaml",
        "reconciler.yaml",
        "notes.txt",
        "x.yaml.bak",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("wrong: [")
    state = folder(tmp_path).read()
    assert list(state.machines) == ["a", "b", "c"]
    assert state.origins["VirtualMachine/c"] == Origin("sub/deep/c.yaml", 2)
    assert state.revision.startswith("folder:")


def test_only_one_folder_of_it(tmp_path: Path) -> None:
    (tmp_path / "prod").mkdir()
    (tmp_path / "prod" / "a.yaml").write_text(machine("a"))
    (tmp_path / "b.yaml").write_text("wrong")
    assert list(folder(tmp_path, folder="prod").read().origins.values()) == [Origin("prod/a.yaml", 2)]
    with pytest.raises(DesiredStateError, match="leads out"):
        folder(tmp_path, folder="../x")


def test_a_folder_that_is_not_there_is_not_empty(tmp_path: Path) -> None:
    with pytest.raises(DesiredStateError, match="does not exist"):
        folder(tmp_path / "gone").read()
    (tmp_path / "file").write_text("")
    with pytest.raises(DesiredStateError, match="is not a folder"):
        folder(tmp_path / "file").read()
    with pytest.raises(DesiredStateError, match="no manifest"):
        folder(tmp_path).read()


def test_what_did_not_change_is_the_same_object(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(machine("a") + machine("b"))
    (tmp_path / "c.yaml").write_text(machine("c"))
    source = folder(tmp_path)
    first = source.read()
    assert source.read() is first
    (tmp_path / "a.yaml").write_text(machine("a") + machine("b", description="new"))
    second = source.read()
    assert second.revision != first.revision
    assert second.machines["a"] is first.machines["a"]
    assert second.machines["c"] is first.machines["c"]
    assert second.machines["b"].spec.description == "new"
    (tmp_path / "a.yaml").write_text(machine("a") + machine("b"))
    assert source.read().revision == first.revision


def test_touching_a_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(machine("a"))
    source = folder(tmp_path)
    first = source.read()
    os.utime(tmp_path / "a.yaml", (1, 1))
    assert source.read() is first


def test_two_writes_in_one_tick_of_the_clock_are_both_seen(tmp_path: Path) -> None:
    source = folder(tmp_path)
    for letter in "abcdefgh":  # same size, same inode, most of them within one tick of the kernel's clock
        (tmp_path / "a.yaml").write_text(machine(letter))
        assert list(source.read().machines) == [letter]


def test_files_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(machine("a"))
    source = folder(tmp_path)
    source.read()
    (tmp_path / "b.yaml").write_text(machine("b"))
    assert list(source.read().machines) == ["a", "b"]
    (tmp_path / "a.yaml").unlink()
    assert list(source.read().machines) == ["b"]


def test_a_mistake_refuses_everything_until_it_is_mended(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(machine("a"))
    (tmp_path / "b.yaml").write_text(machine("b", image="debian"))
    source = folder(tmp_path)
    for _ in range(2):
        with pytest.raises(DesiredStateError, match="unknown Image `debian`") as caught:
            source.read()
        assert caught.value.problems[0].line == 8
    (tmp_path / "b.yaml").write_text(machine("b"))
    assert list(source.read().machines) == ["a", "b"]


def test_a_reference_is_checked_again_when_its_target_goes(tmp_path: Path) -> None:
    envelope = "apiVersion: reconciler/v1\nkind: InstanceType\nmetadata: {name: small}\n"
    preset = envelope + "spec: {cpus: 1, memory: 1Gi}\n"
    (tmp_path / "types.yaml").write_text(preset)
    (tmp_path / "a.yaml").write_text(machine("a", instanceType="small"))
    source = folder(tmp_path)
    source.read()
    (tmp_path / "types.yaml").write_text(preset.replace("small", "large"))
    with pytest.raises(DesiredStateError, match=r"a.yaml:8:17: .*unknown InstanceType `small`"):
        source.read()


def test_links_stay_inside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    for place in (outside, root / "real", root / "..data"):
        place.mkdir(parents=True)
    (outside / "x.yaml").write_text(machine("x"))
    (root / "real" / "a.yaml").write_text(machine("a"))
    (root / "..data" / "b.yaml").write_text(machine("b"))
    (root / "twice.yaml").symlink_to("real/a.yaml")
    (root / "b.yaml").symlink_to("..data/b.yaml")
    (root / "loop").symlink_to(".")
    assert list(folder(root).read().machines) == ["b", "a"]
    (root / "out.yaml").symlink_to(outside / "x.yaml")
    (root / "folder").symlink_to(outside)
    (root / "dangling.yaml").symlink_to("nowhere")
    with pytest.raises(DesiredStateError) as caught:
        folder(root).read()
    assert messages(caught) == [
        "dangling.yaml: cannot be read: No such file or directory",
        "folder: the symbolic link leads out of the source, which is refused",
        "out.yaml: the symbolic link leads out of the source, which is refused",
    ]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(DesiredStateError, match="not a regular file"):
        folder(tmp_path).read()


def test_templates(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    template = tmp_path / "templates" / "gpu.xml.j2"
    (tmp_path / "a.yaml").write_text(machine("a", xmlTemplate="templates/gpu.xml.j2"))
    source = folder(tmp_path)
    with pytest.raises(DesiredStateError, match="not in the source"):
        source.read()
    template.write_text("<one/>")
    first = source.read()
    assert first.templates == {"templates/gpu.xml.j2": "<one/>"}
    assert source.read() is first
    template.write_text("<two/>")
    second = source.read()
    assert second.templates == {"templates/gpu.xml.j2": "<two/>"}
    assert second.revision != first.revision
    template.write_bytes(b"\xff")
    with pytest.raises(DesiredStateError, match="cannot be read as text"):
        source.read()
    template.unlink()
    template.symlink_to("/etc/hostname")
    with pytest.raises(DesiredStateError, match="not in the source"):
        source.read()


def test_equal_parts_are_shared(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        machine("a", placement="{hostSelector: {a: b}}") + machine("b", placement="{hostSelector: {a: b}}")
    )
    machines = folder(tmp_path).read().machines
    assert machines["a"].spec.placement is machines["b"].spec.placement


@pytest.fixture
def with_inventory(tmp_path: Path) -> Path:
    """The layout of the README: an inventory between the manifests."""
    for name in ("hosts.yml", "group_vars/all.yml", "host_vars/kvm1/main.yml", "sites/a/hosts.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("all: {hosts: {kvm1: {}}}\n")
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "a.yaml").write_text(machine("a"))
    return tmp_path


def test_a_named_inventory_and_its_variables_are_no_manifests(with_inventory: Path) -> None:
    root = with_inventory
    (root / "link.yml").symlink_to("hosts.yml")
    config = SourceConfig(path=str(root))
    for named in (
        [root / "hosts.yml", root / "sites"],
        [Path("hosts.yml"), Path("sites")],
        [root / "link.yml", root / "sites", Path("/elsewhere/hosts.yml"), root],
    ):
        state = open_source(config, Path("/"), exclude=named).read()
        assert list(state.origins) == ["VirtualMachine/a"]


def test_an_inventory_that_nobody_named_is_told(with_inventory: Path) -> None:
    config = SourceConfig(path=str(with_inventory))
    with pytest.raises(DesiredStateError) as caught:
        open_source(config, Path("/"), exclude=[with_inventory / "sites"]).read()
    assert [problem.file for problem in caught.value.problems] == [
        "group_vars/all.yml",
        "host_vars/kvm1/main.yml",
        "hosts.yml",
    ]
    assert all("set source.folder" in problem.message for problem in caught.value.problems)


def test_a_source_that_is_not_there_is_a_plain_sentence(tmp_path: Path) -> None:
    with pytest.raises(DesiredStateError) as caught:
        folder(tmp_path / "gone").read()
    assert caught.value.message == f"{tmp_path / 'gone'}: the source does not exist"
