"""The OpenAPI document lacks nothing: operations have plain ids and examples, fields have descriptions."""

import json
import re

import jsonschema_rs
import pytest
from starlette.testclient import TestClient

from rbm_service.app import create_app
from rbm_service.errors import ServiceError
from rbm_service.settings import Settings
from tests.bundles import repository_of, with_map
from tests.keys import ADMIN_KEY, key_files


@pytest.fixture(scope="module")
def guarded(bundle, tmp_path_factory):
    """A service with every route there is, and a key to each; its bundle has a map."""
    folder = tmp_path_factory.mktemp("guarded")
    repository = repository_of(folder / "models", with_map(bundle, folder / "bundle").path)
    settings = Settings(models_dir=repository.root, device="cpu", max_batch_rows=4, **key_files(folder))
    with TestClient(create_app(settings), headers={"X-API-Key": ADMIN_KEY}) as client:
        yield client


@pytest.fixture(scope="module")
def document(guarded):
    return guarded.get("/openapi.json").json()


def operations_of(document):
    """Each operation with a name for it."""
    return [
        (f"{method.upper()} {path}", operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def contents_of(document):
    """Each body of a request or an answer, with a name for it."""
    for name, operation in operations_of(document):
        bodies = {"request": operation["requestBody"]} if "requestBody" in operation else {}
        for part, body in (bodies | operation["responses"]).items():
            for media_type, content in body["content"].items():
                yield f"{name} {part} {media_type}", content


def examples_of(content):
    return [*([content["example"]] if "example" in content else [])] + [
        example["value"] for example in content.get("examples", {}).values()
    ]


def test_every_operation_has_a_plain_id_of_its_own_a_description_and_a_tag(document):
    operations = operations_of(document)
    ids = [operation["operationId"] for _, operation in operations]
    assert len(set(ids)) == len(ids)
    assert [each for each in ids if not re.fullmatch("[a-z]+(_[a-z]+){0,3}", each)] == []
    assert {"classify", "get_info", "infer_model", "infer_model_version"} <= set(ids)
    assert [name for name, operation in operations if not operation.get("description")] == []
    assert [name for name, operation in operations if len(operation["tags"]) != 1] == []


def test_every_tag_is_described_and_used(document):
    used = {tag for _, operation in operations_of(document) for tag in operation["tags"]}
    assert {tag["name"] for tag in document["tags"]} == used
    assert all(tag["description"] for tag in document["tags"])


def test_every_field_parameter_and_header_is_described(document):
    components = document["components"]
    schemas = components["schemas"].items()
    fields = [
        (f"{name}.{field}", described)
        for name, schema in schemas
        for field, described in schema.get("properties", {}).items()
    ]
    parameters = [
        (f"{name} {parameter['name']}", parameter)
        for name, operation in operations_of(document)
        for parameter in operation.get("parameters", [])
    ]
    everything = [*schemas, *fields, *parameters, *components["headers"].items()]
    assert [name for name, described in everything if not described.get("description")] == []


def test_every_body_has_an_example(document):
    assert [name for name, content in contents_of(document) if not examples_of(content)] == []
    for name, operation in operations_of(document):
        assert all(response["content"] for response in operation["responses"].values()), name


def test_every_example_fits_its_schema(document):
    for name, content in contents_of(document):
        schema = {**content["schema"], "components": document["components"]}
        for example in examples_of(content):
            errors = [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(example)]
            assert errors == [], name


def test_every_answer_names_headers_that_are_described(document):
    for name, operation in operations_of(document):
        for status, response in operation["responses"].items():
            assert {header["$ref"].split("/")[-1] for header in response["headers"].values()} <= set(
                document["components"]["headers"]
            ), name
            assert "X-Request-ID" in response["headers"]
            assert ("Retry-After" in response["headers"]) == (status in ("429", "503"))


def test_every_error_has_an_example_with_its_own_code_and_status(document):
    examples = [
        (status, code, example["value"])
        for _, operation in operations_of(document)
        for status, response in operation["responses"].items()
        for media_type, content in response["content"].items()
        if media_type == "application/problem+json"
        for code, example in content["examples"].items()
    ]
    assert all(str(value["status"]) == status for status, _, value in examples)
    assert all(value["code"] == code for _, code, value in examples)
    shown = {code for _, code, _ in examples}
    assert {error.code for error in ServiceError.__subclasses__()} - shown == {
        "not_found",
        "method_not_allowed",  # of paths and methods that the document does not have
    }


@pytest.mark.parametrize("operation", ["classify", "infer_model"])
def test_the_requests_shown_are_answered_and_the_first_as_shown(guarded, document, operation):
    (shown,) = [each for _, each in operations_of(document) if each["operationId"] == operation]
    path = {"classify": "/classify", "infer_model": "/v2/models/tiny/infer"}[operation]
    requests = examples_of(shown["requestBody"]["content"]["application/json"])
    answers = [guarded.post(path, json=request) for request in requests]
    assert [answer.status_code for answer in answers] == [200] * len(requests)
    as_shown = json.loads(answers[0].text, parse_float=lambda digits: round(float(digits), 3))
    assert as_shown == shown["responses"]["200"]["content"]["application/json"]["example"]


def test_the_answers_shown_have_the_keys_of_real_ones(guarded, document):
    for name, operation in operations_of(document):
        method, path = name.split(" ")
        content = operation["responses"]["200"]["content"].get("application/json")
        if method == "GET" and content is not None:
            answer = guarded.get(path.format(model="tiny", name="tiny", version="1"))
            assert keys_of(answer.json()) == keys_of(content["example"]), name


def keys_of(value):
    if isinstance(value, dict):
        return {key: keys_of(each) for key, each in value.items() if not key.isdigit()}  # no statuses
    return [keys_of(each) for each in value] if isinstance(value, list) else None


def test_an_open_service_shows_neither_keys_nor_what_is_for_the_admin(client):
    document = client.get("/openapi.json").json()
    assert "securitySchemes" not in document["components"]
    assert "admin" not in {tag["name"] for tag in document["tags"]}
