"""A whole installation behind the API: a real store, a real git repository, real tokens, and a clock to turn.

def test_a_viewer_changes_nothing(site):
    viewer = site.client(Grant(Role.VIEWER))
    assert viewer.simulate_delete("/api/v1/virtualmachines/web-1").status_code == 403
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import falcon.testing
import pytest

from api.app import create_app
from api.auth import tokens
from api.auth.gate import Gate
from api.services import Services
from reconciler.model.access import Caller, Grant, Role
from reconciler.model.api_config import ApiConfig
from reconciler.model.config import SourceConfig
from reconciler.store.base import Store
from reconciler.store.sql import open_store

SMALL = """\
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: small}
spec: {cpus: 1, memory: 1Gi}
"""
ROOT = Caller("root", grants=(Grant(Role.ADMIN),), via="cli")


@dataclass
class Clock:
    """Seconds since the epoch, and those that a test adds."""

    added: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.added


class Asker(falcon.testing.TestClient):
    """Calls the API by one name, as browsers do."""

    def simulate_request(self, *args: Any, **kwargs: Any) -> Any:
        return super().simulate_request(*args, **{"host": "api.test", **kwargs})


@dataclass
class Site:
    """An installation, and those who ask it."""

    store: Store
    repository: Path
    config: ApiConfig
    services: Services
    clock: Clock
    app: Any = None
    _names: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.app = create_app(self.services)

    def token(self, *grants: Grant, name: str = "", ttl: float | None = None, mail: str = "") -> str:
        """The text of a new token."""
        wish = tokens.TokenWish(name or f"caller-{next(self._names)}", grants, mail, ttl)
        return tokens.make(self.store, wish, ROOT, self.clock())[1]

    def client(self, *grants: Grant, name: str = "", **headers: str) -> falcon.testing.TestClient:
        """Somebody with a token of these grants; without any, nobody."""
        if grants:
            headers["Authorization"] = f"Bearer {self.token(*grants, name=name)}"
        return Asker(self.app, headers=headers)

    @property
    def admin(self) -> falcon.testing.TestClient:
        """Somebody who may do everything."""
        return self.client(Grant(Role.ADMIN))

    def git(self, *arguments: str) -> str:
        """What git says in the repository."""
        return git(self.repository, *arguments)

    def commit(self, files: dict[str, str], message: str = "by hand") -> str:
        """Commit files, as a person does."""
        for name, text in files.items():
            place = self.repository / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        git(self.repository, "add", "--all")
        git(self.repository, "commit", "--quiet", "--message", message)
        return git(self.repository, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    """Run git there."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def machine(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """The manifest of a machine."""
    return {
        "apiVersion": "reconciler/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
        "spec": {"cpus": 1, "memory": "64Mi", **spec},
    }


def open_desired(repository: Path, config: ApiConfig) -> Any:
    """The desired-state repository, as the composition root opens it."""
    from reconciler.desired.writes import Repository  # noqa: PLC0415  # lands with the rest of the API

    return Repository(SourceConfig(path=str(repository), git=True, ref="main"), repository, config)


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one preset, to be copied: four processes of git a test add up."""
    place = tmp_path_factory.mktemp("repository")
    git(place, "init", "--quiet", "--initial-branch", "main")
    git(place, "config", "user.name", "Site")
    git(place, "config", "user.email", "site@example.org")
    (place / "small.yaml").write_text(SMALL)
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message", "begin")
    return place


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty store, to be copied likewise."""
    place = tmp_path_factory.mktemp("state") / "state"
    open_store(place).close()
    return place


@pytest.fixture
def make_site(tmp_path: Path, empty_repository: Path, empty_state: Path) -> Iterator[Callable[..., Site]]:
    """Makes installations; ``make_site(max_body=1000)`` gives fields of `ApiConfig`."""
    opened: list[Site] = []

    def make(desired: bool = True, **about: Any) -> Site:
        place = tmp_path / f"site-{len(opened)}"
        repository = place / "source"
        if desired:
            shutil.copytree(empty_repository, repository)
        shutil.copytree(empty_state, place / "state")
        config, clock = ApiConfig(**about), Clock()
        store = open_store(place / "state")
        services = Services(
            config,
            "test",
            store,
            open_desired(repository, config) if desired else SimpleNamespace(),
            SimpleNamespace(),
            authenticator=Gate(store, config, clock),
            clock=clock,
        )
        opened.append(Site(store, repository, config, services, clock))
        return opened[-1]

    yield make
    for site in opened:
        site.services.threads.shutdown()
        site.store.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """An installation with the default configuration, one preset (``small``), and no machine."""
    return make_site()
