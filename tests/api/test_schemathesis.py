"""The API answers what its document says, whatever it is asked: status, media type, schema, and no 5xx."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import AcceptedNegativeData
from support.api_world import world

from api.app import create_app
from api.operation import Answer, operation
from api.resources.documents import Documents

NOT_HERE = {
    "ignored_auth",  # the world lets everybody in: tests/api/test_auth_*.py
    "positive_data_acceptance",  # a schema cannot say that two fields contradict each other
}
LASTS = {"watch", "wait"}
"""Parameters of answers that take their time."""

SLOW = ("/createVM/", "/vm/create", "/server/vm/create")
"""Older calls that answer when a daemon has made the machine; here is none."""


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with world(tmp_path_factory.mktemp("world") / "site") as made:
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(made.services))


def found_wrong(schema: Any, mode: GenerationMode, examples: int) -> list[str]:
    """What answers were not as the document says, each with a command that repeats it."""
    excluded = [check for check in CHECKS.get_all() if check.__name__ in NOT_HERE]
    wrong: dict[tuple[str, ...], str] = {}

    def ask(case: Any) -> None:
        case.query = {name: value for name, value in (case.query or {}).items() if name not in LASTS}
        if "/hosts" in case.path and case.method in ("POST", "PUT", "PATCH"):
            case.query.setdefault("test", "false")  # there is no host at an address that was made up
        response = case.call()
        try:
            case.validate_response(response, excluded_checks=excluded)
        except FailureGroup as group:
            for error in group.exceptions:
                if isinstance(error, AcceptedNegativeData) and response.status_code == 412:
                    continue  # what must be so before is looked at before the body
                key = (case.operation.label, type(error).__name__, str(response.status_code))
                wrong.setdefault(key, f"{key}\n{error}\n{case.as_curl_command()}\n{response.text[:500]}")

    for one in schema.exclude(path=list(SLOW)).get_all_operations():
        cases = one.ok().as_strategy(generation_mode=mode)
        chosen = settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # it takes nothing that could be wrong
            chosen(hypothesis.given(cases)(ask))()
    return list(wrong.values())


@pytest.mark.slow
def test_a_few_answers_of_every_operation(schema: Any) -> None:
    assert found_wrong(schema, GenerationMode.POSITIVE, 2) == []


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "examples"), [(GenerationMode.POSITIVE, 12), (GenerationMode.NEGATIVE, 2)])
def test_many_answers_of_every_operation(schema: Any, mode: GenerationMode, examples: int) -> None:
    assert found_wrong(schema, mode, examples) == []


class Liar:
    """Answers otherwise than it says."""

    @operation("lie", summary="Lie", answers=(Answer(200, "A number.", {"type": "integer"}),), role=None)
    async def on_get(self, _req: Any, resp: Any) -> None:
        resp.media = "three"


@pytest.mark.slow
def test_an_answer_that_is_not_as_it_says_is_found(tmp_path: Path) -> None:
    with world(tmp_path / "site") as made:
        app = create_app(made.services)
        app.add_route("/lie", Liar())
        document = Documents([("/lie", Liar())]).document
        lying = schemathesis.openapi.from_dict(document)
        lying.app = app
        assert any("integer" in one for one in found_wrong(lying, GenerationMode.POSITIVE, 1))
