"""An installation as the orchestration layer's clients see it, and how they ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.model.access import Grant, Role
from support.ticks import Ticks

TYPES = """
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: type-3, annotations: {seed/tid: "3"}}
spec: {cpus: 2, memory: 512Mi, rootDiskSize: 1Gi}
---
apiVersion: reconciler/v1
kind: InstanceType
metadata: {name: odd}
spec: {cpus: 1, memory: 100000000}
"""
SHA = "0" * 64
IMAGES = f"""
apiVersion: reconciler/v1
kind: Image
metadata: {{name: Ubuntu12.04amd64, annotations: {{seed/image-id: "100"}}}}
spec: {{url: "http://images.test/a.qcow2", sha256: {SHA}}}
---
apiVersion: reconciler/v1
kind: Image
metadata: {{name: other}}
spec: {{url: "http://images.test/b.qcow2", sha256: {SHA}}}
"""


ALPHA = 8
"""Number of the host that was not imported: the next one."""


@pytest.fixture
def old(make_site):
    """An installation with two types and two images, switched on by one line."""
    made = make_site(older_apis={"orchestration": True, "timeout": "20s"})
    for file in made.repository.glob("*.yaml"):
        file.unlink()
    made.commit({"types.yaml": TYPES, "images.yaml": IMAGES})
    return made


@pytest.fixture
def ticks(old) -> Iterator[Ticks]:
    with Ticks(old.services.desired, old.store) as running:
        yield running


@pytest.fixture
def get(old):
    """Ask as an operator, and the JSON of the answer."""
    client = old.client(Grant(Role.OPERATOR), name="ann")

    def ask(path: str, status: int = 200, **given: object):
        answer = client.simulate_get(path, params={name: str(value) for name, value in given.items()})
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json

    return ask


def make(get, name: str = "web", kind: int = 3, image: int = 100) -> int:
    number = get("/vm/create", name=name, instance_type=kind, image_id=image)["vmid"]
    assert number > 0
    return number
