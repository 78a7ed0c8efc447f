"""The frame of the API: ids, problems, queries."""

from types import SimpleNamespace

import falcon.testing
import pytest

from api.app import create_app
from api.services import Services
from reconciler.model.api_config import ApiConfig


@pytest.fixture
def client():
    services = Services(ApiConfig(), "test", SimpleNamespace(), SimpleNamespace(), SimpleNamespace())
    return falcon.testing.TestClient(create_app(services))


def test_health_answers_anybody(client):
    assert client.simulate_get("/healthz").json == {"status": "ok"}


def test_a_request_keeps_a_plain_id_and_gets_another_for_a_strange_one(client):
    assert (
        client.simulate_get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    )
    assert client.simulate_get("/healthz", headers={"X-Request-Id": "a b"}).headers["x-request-id"] != "a b"


def test_an_unknown_path_is_a_problem(client):
    answer = client.simulate_get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["requestId"]


def test_a_misspelt_parameter_is_refused(client):
    answer = client.simulate_get("/healthz", params={"dryrun": "true", "x": "1"})
    assert answer.status_code == 400
    assert [error["path"] for error in answer.json["errors"]] == ["dryrun", "x"]
