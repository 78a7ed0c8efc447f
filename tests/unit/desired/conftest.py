from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


def machine(name: str, **spec: str) -> str:
    """A manifest of a machine; `spec` adds lines."""
    lines = "".join(f"  {field}: {value}\n" for field, value in spec.items())
    return (
        "---\napiVersion: reconciler/v1\nkind: VirtualMachine\n"
        f"metadata: {{name: {name}}}\nspec:\n  cpus: 1\n  memory: 1Gi\n{lines}"
    )


Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Runs git in a folder (default: ``tmp_path/repo``, which is then a new repository)."""
    repository = tmp_path / "repo"

    def run(*arguments: str, at: Path = repository) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
        done = subprocess.run(
            ["git", "-C", str(at), *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    repository.mkdir()
    run("init", "--quiet")
    return run
