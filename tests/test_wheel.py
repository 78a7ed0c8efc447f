"""The built wheel, installed as a stranger would: into an empty environment, outside the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from reconciler import __version__

# One group: the environment is built once, whatever the number of test processes.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]

ROOT = Path(__file__).resolve().parent.parent
# What would make the checkout, or this environment, shine through.
HIDDEN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RECONCILER_CONFIG", "RECONCILER_STATE_DIR")


def run(*command: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in HIDDEN}
    arguments = [*map(str, command)]
    done = subprocess.run(arguments, check=False, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, ".", cwd=ROOT)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the empty environment's programs."""
    place = tmp_path_factory.mktemp("elsewhere")
    constraints = place / "constraints"
    pins = re.findall(r"^([\w.-]+==[^\\\n]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    constraints.write_text("\n".join(pins))
    run(sys.executable, "-m", "venv", place / "venv", cwd=place)
    programs = place / "venv" / "bin"
    run(programs / "pip", "--no-input", "install", "--quiet", "-c", constraints, wheel, cwd=place)
    return programs


def shipped(folder: str) -> list[str]:
    """Files of a folder that git tracks or would track."""
    listing = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z", folder]
    found = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in found.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("folder", ["reconciler", "playbooks", "templates", "inventory", "examples"])
def test_the_wheel_holds_every_shipped_file(wheel: Path, folder: str) -> None:
    place = "" if folder == "reconciler" else "reconciler/_data/"
    names = {place + name for name in shipped(folder)}
    assert names, f"{folder} has nothing to ship"
    with zipfile.ZipFile(wheel) as archive:
        assert names <= set(archive.namelist())


def test_programs_stay_programs(installed: Path) -> None:
    (site,) = installed.parent.glob("lib/python*/site-packages")
    programs = [name for name in shipped("reconciler") if os.access(ROOT / name, os.X_OK)]
    assert [name for name in programs if not os.access(site / name, os.X_OK)] == []


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert [name for name in names if not re.match(r"api/|reconciler(/|-[\d.]+\.dist-info/)", name)] == []
    assert [name for name in names if "__pycache__" in name or name.startswith("reconciler/tests")] == []


def test_it_works_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    program = installed / "reconciler"
    assert __version__ in run(program, "--version", cwd=tmp_path)
    assert '"$schema"' in run(program, "schema", cwd=tmp_path)
    assert '"openapi"' in run(program, "schema", "-o", "openapi", cwd=tmp_path)
    ask = "import reconciler.settings as s; print(s.__file__); print(s.data_dir('examples'))"
    package, examples = run(installed / "python", "-c", ask, cwd=tmp_path).split()
    assert package.startswith(str(installed.parent))
    quickstart = tmp_path / "quickstart"
    shutil.copytree(Path(examples) / "quickstart", quickstart)
    (quickstart / "images").mkdir()
    run(Path("/usr/bin/qemu-img"), "create", "-f", "qcow2", "images/tiny.qcow2", "1M", cwd=quickstart)
    run(program, "validate", cwd=quickstart)
    inventory = quickstart / "hosts.ini"
    inventory.write_text(
        "h1 ansible_connection=local reconciler_uri=test:///default reconciler_pool=default-pool "
        "reconciler_memory_overcommit=100\n"
    )
    said = run(program, "plan", "-i", inventory, "--state-dir", tmp_path / "state", cwd=quickstart)
    assert "worker-1: create on h1" in said


def test_ansible_comes_along_and_finds_our_playbooks(installed: Path, tmp_path: Path) -> None:
    ask = "import reconciler.settings as s; print(s.data_dir('playbooks'))"
    folder = Path(run(installed / "python", "-c", ask, cwd=tmp_path).strip())
    playbooks = sorted(folder.glob("*.yml"))
    assert playbooks
    run(installed / "ansible-playbook", "--syntax-check", "-i", "localhost,", *playbooks, cwd=tmp_path)
