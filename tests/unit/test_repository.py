"""The house rules that no other tool checks."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from reconciler import __version__
from reconciler.lab.packages import DEBIAN_PACKAGES

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
SCRIPTS = ("scripts/setup", "scripts/test", "scripts/bench", "scripts/demo", ".ci/run")


def repository_files() -> list[Path]:
    """What git tracks or would track."""
    # The clone may belong to another user than the one who tests it.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = (ROOT / name for name in listing.split("\0") if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def texts() -> list[tuple[str, str]]:
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" not in content:
            found.append((str(path.relative_to(ROOT)), content.decode("utf-8", "replace")))
    return found


def public_modules() -> list[Path]:
    return [path for path in repository_files() if path.suffix == ".py" and "tests" not in path.parts]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_pins_every_package_by_hash(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    requirements = [entry for entry in text.replace("\\\n", "").splitlines() if re.match(r"\w", entry)]
    assert len(requirements) > 20
    assert [entry for entry in requirements if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_the_locks_agree_and_hold_every_direct_dependency() -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==[^\s]+", (ROOT / lock).read_text(), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {pin.partition("==")[0] for pin in pins("requirements-dev.lock")}
    direct = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    assert {re.split(r"[<>=\[]", name)[0].lower() for name in direct} <= pinned


def test_nothing_names_a_registry_or_this_machine() -> None:
    registry = re.compile(r"(extra-)?index-" + r"url|find-" + r"links|https?://\S+/simp" + r"le\b")
    checkout = re.compile(re.escape(str(ROOT)) + r"\b") if len(ROOT.parts) > 2 else None
    for name, text in texts():
        assert not registry.search(text), name
        assert not (checkout and checkout.search(text)), f"{name} names the folder of this checkout"


def test_files_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in repository_files()
        if path.suffix == ".py" and (lines := len(path.read_bytes().splitlines())) >= 500
    }
    assert long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in public_modules()
        if not ast.get_docstring(ast.parse(path.read_bytes()))
    ]
    assert silent == []


def test_every_word_of_the_readme_can_be_typed() -> None:
    # Not at the top: a command that cannot be imported must fail this test and not all of them.
    cli = importlib.import_module("reconciler.cli.main").cli
    readme = (ROOT / "README.md").read_text()
    scripts = set(re.findall(r"\bscripts/[\w-]+", readme))
    assert {"scripts/demo", "scripts/test"} <= scripts
    assert [script for script in scripts if not os.access(ROOT / script, os.X_OK)] == []
    commands = set(re.findall(r"(?:^ +|`)reconciler ([a-z]+)", readme, re.MULTILINE))
    assert len(commands) > 10
    assert sorted(commands - set(cli.list_commands(click.Context(cli)))) == []


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for name, text in texts():
        if not name.endswith(".md"):
            continue
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
            assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    text = (ROOT / ".ci/run").read_text()
    assert text.rstrip().endswith("exec scripts/test")
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_setup_installs_all_that_the_lab_needs() -> None:
    text = (ROOT / "scripts/debian-packages").read_text()
    listed = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert set(DEBIAN_PACKAGES) <= set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    "script", ["scripts/setup", "scripts/test", "scripts/bench", "scripts/demo", ".ci/run"]
)
def test_scripts_are_strict_and_parse(script: str) -> None:
    text = (ROOT / script).read_text()
    assert text.startswith("#!/usr/bin/env bash\n#")
    assert "\nset -euo pipefail\n" in text
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_the_version_is_said_once_everywhere_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
