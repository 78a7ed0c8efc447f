"""The real app over a real store and a real git repository, for tests of the API."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import falcon.testing

from api.app import create_app
from api.services import Services
from reconciler.desired.history import History
from reconciler.desired.writes import Repository
from reconciler.model.access import Caller, Grant, Role
from reconciler.model.api_config import ApiConfig
from reconciler.model.config import SourceConfig
from reconciler.store.sql import open_store

SMALL = (
    "kind: InstanceType\napiVersion: reconciler/v1\nmetadata: {name: small}\nspec: {cpus: 1, memory: 1Gi}\n"
)
MACHINES = """\
# Machines of the shop. Ask Ann before you change them.
apiVersion: reconciler/v1
kind: VirtualMachine
metadata:
  name: web-1   # the first one
  labels: {app: web, tier: front}
spec:
  instanceType: small
---
apiVersion: reconciler/v1
kind: VirtualMachine
metadata: {name: db-1, labels: {app: db}}
spec: {instanceType: small, memory: 2Gi}
"""


class As:
    """Says that every request comes from this caller; stands where tokens are checked."""

    def __init__(self, *grants: Grant, name: str = "ann") -> None:
        self.caller = Caller(name, "ann@example.com", grants, "token")

    def authenticate(self, headers: object, scope: object) -> Caller:
        return self.caller


ADMIN = Grant(Role.ADMIN)


def git(folder: Path, *arguments: str) -> str:
    """What git says in a folder."""
    done = subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@functools.cache
def _template() -> Path:
    """A repository with a preset and two machines, and an empty store: made once in a process."""
    keep = tempfile.TemporaryDirectory(prefix="reconciler-served-")
    atexit.register(keep.cleanup)
    folder = Path(keep.name) / "repository"
    folder.mkdir()
    open_store(Path(keep.name) / "state").close()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "Test")
    git(folder, "config", "user.email", "test@example.com")
    (folder / "small.yaml").write_text(SMALL)
    (folder / "machines.yaml").write_text(MACHINES)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "begin")
    return folder.parent


class Served:
    """An installation whose API is asked in this process."""

    def __init__(
        self, folder: Path, config: ApiConfig | None = None, *, fresh: bool = True, **services: object
    ) -> None:
        self.repository = folder / "repository"
        if fresh:
            shutil.copytree(_template() / "repository", self.repository)
            shutil.copytree(_template() / "state", folder / "state")
            self.git("update-index", "--refresh")
        self.store = open_store(folder / "state")
        config = config or ApiConfig()
        self.source = SourceConfig(path=str(self.repository), git=True)
        self.desired = Repository(self.source, folder, config)
        history = History(self.source, folder)
        found = {"authenticator": As(ADMIN), "planner": None} | services
        self.services = Services(
            config=config,
            owner="test",
            store=self.store,
            desired=self.desired,
            committed=history.committed,
            contains=history.contains,
            **found,
        )
        self.client = falcon.testing.TestClient(create_app(self.services))

    def as_(self, *grants: Grant, name: str = "ann") -> falcon.testing.TestClient:
        """A client of somebody else."""
        return falcon.testing.TestClient(
            create_app(replace(self.services, authenticator=As(*grants, name=name)))
        )

    def with_(self, **services: object) -> Served:
        """The same installation with other services."""
        self.services = replace(self.services, **services)
        self.client = falcon.testing.TestClient(create_app(self.services))
        return self

    def at(self, clock: Callable[[], float]) -> falcon.testing.TestClient:
        """A client for which it is another time."""
        return falcon.testing.TestClient(create_app(replace(self.services, clock=clock)))

    def git(self, *arguments: str) -> str:
        """What git says in the repository."""
        return git(self.repository, *arguments)

    def commit(self, file: str, text: str) -> str:
        """What a person does in git: the revision that it made."""
        (self.repository / file).write_text(text)
        self.git("add", "--", file)
        self.git("commit", "--quiet", "--message", f"write {file}")
        return self.git("rev-parse", "HEAD")

    def close(self) -> None:
        """Let go of everything."""
        self.services.threads.shutdown()
        self.store.close()
