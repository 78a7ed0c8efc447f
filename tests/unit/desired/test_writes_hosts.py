"""Hosts are changed in the inventory that people wrote, and never so that Ansible would run something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.desired.inventory import Inventory
from reconciler.desired.writes import Repository
from reconciler.errors import ConflictError, DesiredStateError, NotFoundError, PreconditionError
from reconciler.model.config import SourceConfig
from reconciler.model.write import Change, Write, Written, version_of

from .conftest import Git, machine

AUTHOR = "Ann Other <ann@example.org>"
HOSTS = """\
# Our hosts.
all:
  vars: {ansible_user: root}
  hosts:
    bare:
  children:
    racks:
      hosts:
        one: # the first
          ansible_host: 192.0.2.1
          ansible_ssh_common_args: -o ProxyJump=bastion # kept
          reconciler_labels: {rack: r1}
        rack[01:20]: {}
    fast:
      hosts:
        one:
"""


@pytest.fixture
def root(git: Git) -> Path:
    root = Path(git("rev-parse", "--show-toplevel"))
    (root / "a.yaml").write_text(machine("a"))
    (root / "hosts.yml").write_text(HOSTS)
    (root / "hosts.ini").write_text("one\n")
    git("add", "--all")
    git("commit", "--quiet", "--message=x")
    return root


def repository(root: Path, *inventories: str, **more: Any) -> Repository:
    config = SourceConfig.model_validate({"path": str(root), "git": True, "ref": "main", **more})
    return Repository(config, Path("/"), inventories=[root / each for each in inventories or ["hosts.yml"]])


def change(repository: Repository, name: str, change: Change, body: Any = None, **more: Any) -> Written:
    return repository.write_host(Write(f"Host/{name}", change, body, AUTHOR, f"{change} host {name}", **more))


def test_a_host_comes_changes_rests_and_goes(root: Path, git: Git, tmp_path: Path) -> None:
    ours = repository(root)
    change(ours, "two", Change.CREATE, {"ansible_host": "192.0.2.2", "reconciler_labels": {"rack": "r2"}})
    change(ours, "one", Change.MERGE, {"reconciler_maintenance": True})
    change(ours, "bare", Change.PUT, {"reconciler_cpu_overcommit": 2})
    found = Inventory([root / "hosts.yml"], tmp_path / "state").hosts()
    assert {"one", "two", "bare", "rack01"} <= found.keys()
    assert found["one"].maintenance
    assert found["two"].labels == {"rack": "r2"}
    assert found["bare"].cpu_overcommit == 2
    text = (root / "hosts.yml").read_text()
    assert "one: # the first" in text
    assert "bastion # kept\n" in text
    change(ours, "one", Change.DELETE)
    change(ours, "bare", Change.DELETE)
    change(ours, "two", Change.DELETE)
    assert "one" not in (root / "hosts.yml").read_text()
    assert git("log", "--format=%an %s", "-1") == "Ann Other delete host two"
    assert git("status", "--porcelain") == ""
    with pytest.raises(NotFoundError):
        ours.host("two")


def test_the_version_of_a_host_is_that_of_its_own_variables(root: Path) -> None:
    ours = repository(root)
    seen = ours.host("one")
    assert seen["ansible_host"] == "192.0.2.1"
    change(ours, "one", Change.MERGE, {"reconciler_pool": "fast"}, match=version_of(seen))
    with pytest.raises(PreconditionError, match="changed meanwhile"):
        change(ours, "one", Change.DELETE, match=version_of(seen))
    with pytest.raises(PreconditionError):
        change(ours, "one", Change.PUT, {}, absent=True)
    with pytest.raises(ConflictError, match="there already"):
        change(ours, "one", Change.CREATE, {})
    with pytest.raises(ConflictError, match="one of rack"):
        change(ours, "rack07", Change.PUT, {})
    for act in (Change.MERGE, Change.DELETE):
        with pytest.raises(NotFoundError):
            change(ours, "nobody", act, {} if act is Change.MERGE else None)


@pytest.mark.parametrize(
    "variables",
    [
        {"ansible_host": "{{ lookup('pipe', 'id') }}"},
        {"reconciler_labels": {"a": "{% x %}"}},
        {"reconciler_labels": {"{{ x }}": "a"}},
        {"ansible_host": "-oProxyCommand=id"},
        {"ansible_user": "-oProxyCommand=id"},
        {"ansible_ssh_common_args": "-o ProxyCommand=id"},
        {"ansible_ssh_executable": "/bin/sh"},
        {"ansible_connection": "local"},
        {"ansible_python_interpreter": "/tmp/x"},
        {"reconciler_uri": "qemu+ext:///system?command=/tmp/x"},
        {"reconciler_uri": "qemu+ssh://h/system?keyfile=x&Command=/tmp/x"},
        {"reconciler_uri": "qemu+ssh://h/system?netcat=/tmp/x"},
        {"reconciler_cpu_overcommit": 0},
        {"reconciler_nonsense": 1},
        {"hosts": {}},
    ],
)
def test_what_could_run_a_program_or_is_wrong_is_refused(
    root: Path, git: Git, variables: dict[str, Any]
) -> None:
    before = git("rev-parse", "HEAD")
    with pytest.raises(DesiredStateError) as refused:
        change(repository(root), "new", Change.CREATE, variables)
    assert {problem.file for problem in refused.value.problems} == {"body"}
    assert git("rev-parse", "HEAD") == before


@pytest.mark.parametrize("name", ["x[1:3]", "a,b", "-x", "{{ x }}", "a b", "", "a/b"])
def test_a_name_is_one_host(root: Path, name: str) -> None:
    with pytest.raises(DesiredStateError):
        change(repository(root), name, Change.CREATE, {})


def test_only_yaml_in_the_source_can_be_changed(root: Path, git: Git, tmp_path: Path) -> None:
    (tmp_path / "outside.yml").write_text(HOSTS)
    for inventory in ("hosts.ini", str(tmp_path / "outside.yml")):
        with pytest.raises(ConflictError, match="no YAML file in the desired state"):
            change(repository(root, inventory), "two", Change.CREATE, {})
    git("checkout", "--quiet", "-b", "other")
    with pytest.raises(ConflictError, match="not checked out"):
        change(repository(root), "two", Change.CREATE, {})
    assert (tmp_path / "outside.yml").read_text() == HOSTS


def test_in_a_plain_folder_too(root: Path) -> None:
    ours = Repository(SourceConfig(path=str(root)), Path("/"), inventories=[root / "hosts.yml"])
    change(ours, "two", Change.CREATE, {"ansible_host": "192.0.2.2"})
    assert ours.host("two") == {"ansible_host": "192.0.2.2"}
    assert ours.read().machines.keys() == {"a"}
