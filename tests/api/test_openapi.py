"""The OpenAPI document: whole, valid, and of what the code says."""

import json
import re
from types import SimpleNamespace

import falcon.testing
import jsonschema_rs
import pytest
import yaml
from click.testing import CliRunner
from schemathesis.specs.openapi.definitions import OPENAPI_31

from api.app import create_app, routes
from api.openapi.document import document, undeclared
from api.openapi.examples import EXAMPLES, manifest
from api.openapi.offline import offline
from api.openapi.page import POLICY, page, prose
from api.operation import Answer, Body, Query, operation
from api.services import Services
from reconciler.cli.main import cli
from reconciler.model.access import Role
from reconciler.model.api_config import ApiConfig, OlderApisConfig
from reconciler.model.manifest import KINDS

EVERYTHING = ApiConfig(older_apis=OlderApisConfig(orchestration=True, reservations="runners"))


@pytest.fixture(scope="module")
def services():
    nothing = SimpleNamespace()
    return Services(EVERYTHING, "test", nothing, nothing, nothing)


@pytest.fixture(scope="module")
def made():
    return offline(EVERYTHING)


def _refs(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from _refs(each)
    elif isinstance(value, list):
        for each in value:
            yield from _refs(each)


def _operations(made):
    for path, methods in made["paths"].items():
        for method, one in methods.items():
            if method != "parameters":
                yield path, method, one


def test_every_responder_of_every_route_declares_itself(services):
    silent = {path: undeclared(resource) for path, resource in routes(services) if undeclared(resource)}
    assert silent == {}


def test_a_responder_without_a_declaration_is_noticed():
    class Silent:
        async def on_get(self, req, resp): ...

    assert undeclared(Silent()) == ["on_get"]


def test_it_is_valid_openapi(made):
    jsonschema_rs.validator_for(OPENAPI_31).validate(made)


def test_every_schema_is_a_valid_schema(made):
    for schema in made["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_every_name_that_is_referred_to_exists(made):
    for target in set(_refs(made)):
        place = made
        for step in target.removeprefix("#/").split("/"):
            assert step in place, target
            place = place[step]


def test_operation_ids_are_unique_and_every_operation_says_what_it_answers(made):
    ids = [one["operationId"] for _, _, one in _operations(made)]
    assert len(ids) == len(set(ids))
    for _, _, one in _operations(made):
        assert any(status[0] in "123" for status in one["responses"]), one["operationId"]
        assert one["summary"]


def test_every_field_of_a_path_is_a_parameter(made):
    for path, _, one in _operations(made):
        known = [*made["paths"][path].get("parameters", []), *one.get("parameters", [])]
        named = [parameter["name"] for parameter in known if parameter["in"] == "path"]
        assert sorted(named) == sorted(re.findall(r"\{(\w+)\}", path))


def test_who_may_what_is_told(made):
    for path, method, one in _operations(made):
        assert (one.get("security") == []) == ("x-role" not in one), (path, method)


@pytest.mark.parametrize("kind", sorted(EXAMPLES.keys() & KINDS.keys()))
def test_the_example_of_a_kind_is_one(kind):
    KINDS[kind].model_validate(manifest(kind))


def test_every_kind_has_an_example(made):
    assert KINDS.keys() <= EXAMPLES.keys()
    body = made["paths"]["/api/v1/volumes"]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"] == manifest("Volume")


class Things:
    @operation(
        "putThing",
        summary="Put <b>a</b> thing",
        description="A `thing` & **more**.\n\n<script>alert(1)</script>",
        tag="things",
        query=(
            Query("wait", {"type": "string", "format": "duration"}, "So long."),
            Query("why", {"type": "string"}, "Why.", required=True),
        ),
        body=Body("Volume"),
        answers=(Answer(200, "It.", "Volume"), Answer(304, "The same.", headers={"ETag": "Its version."})),
        problems=(409,),
        role=Role.OPERATOR,
    )
    async def on_put(self, req, resp): ...


def test_an_operation_becomes_what_it_declares():
    made = document([("/things/{name}/{number:int}", Things())])
    methods = made["paths"]["/things/{name}/{number}"]
    assert [one["name"] for one in methods["parameters"]] == ["name", "number"]
    one = methods["put"]
    told = "200 304 400 401 403 404 406 408 409 413 415 422 429 503"
    assert " ".join(one["responses"]) == told
    assert one["requestBody"]["content"]["application/yaml"]["schema"] == {
        "$ref": "#/components/schemas/Volume"
    }
    wait = next(parameter for parameter in one["parameters"] if parameter["name"] == "wait")
    assert re.search(wait["schema"]["pattern"], "1m30s")
    assert not re.search(wait["schema"]["pattern"], "")
    assert one["x-role"] == "operator"


def test_the_page_runs_no_script_and_escapes_what_it_is_given():
    told = page(document([("/things/{name}", Things())]))
    assert "<script" not in told
    assert "Put &lt;b&gt;a&lt;/b&gt; thing" in told
    assert "<code>thing</code> &amp; <b>more</b>" in told
    assert not re.search(r"(src|href)=\"(https?:)?//", told)
    assert "curl -X PUT" in told


def test_prose_reads_a_little_markdown():
    assert prose("a **b** `c<d`\n\ne") == "<p>a <b>b</b> <code>c&lt;d</code></p>\n<p>e</p>"


def test_it_is_served_in_each_form(services):
    client = falcon.testing.TestClient(create_app(services))
    as_json = client.simulate_get("/openapi.json")
    as_yaml = client.simulate_get("/openapi.yaml")
    as_page = client.simulate_get("/docs")
    assert as_json.json["openapi"].startswith("3.1")
    assert yaml.load(as_yaml.text, yaml.CSafeLoader) == as_json.json
    assert as_page.headers["content-type"].startswith("text/html")
    assert as_page.headers["content-security-policy"].startswith(POLICY)
    assert all(f'id="{one["operationId"]}"' in as_page.text for _, _, one in _operations(as_json.json))


def test_the_command_prints_it_without_a_server():
    told = CliRunner().invoke(cli, ["schema", "-o", "openapi"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["info"]["title"] == "reconciler"
