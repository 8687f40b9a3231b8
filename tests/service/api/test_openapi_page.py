"""What docs/api.md shows must be so."""

import json
import re
from pathlib import Path

import pytest

from rbm_service.api import admin
from rbm_service.api.schemas import ClassifyRequest, Prediction
from rbm_service.errors import ServiceError

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"```sh\n(curl [^`]*)```\n\n```json\n(.*?)```", PAGE, re.DOTALL)


def cut(value):
    """Numbers cut to three digits, as on the page."""
    if isinstance(value, dict):
        return {key: cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cut(item) for item in value]
    return round(value, 3) if isinstance(value, float) else value


@pytest.mark.parametrize(("command", "answer"), EXAMPLES)
def test_the_examples_answer_as_shown(client, command, answer):
    headers = dict(re.findall(r"-H '(.*?): (.*?)'", command))
    path = re.search(r"localhost:8000(/\S+)", command).group(1)
    body = re.search(r"-d '(.*)'", command, re.DOTALL)
    method, content = ("POST", body.group(1)) if body else ("GET", None)
    found = client.request(method, path, content=content, headers=headers)
    assert cut(found.json()) == json.loads(answer)


def test_the_page_names_every_route_field_and_error(client):
    named = set(re.findall(r"`(?:GET |POST )?([a-z_/.0-9{}-]+)`", PAGE))
    assert set(client.get("/openapi.json").json()["paths"]) <= named
    assert set(ClassifyRequest.model_fields) <= named
    assert set(Prediction.model_fields) <= named
    errors = {(str(int(error.status)), error.code) for error in ServiceError.__subclasses__()}
    assert set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)) == errors


def test_the_page_names_every_route_of_an_admin():
    routes = {(method, route.path) for route in admin.router.routes for method in route.methods}
    assert len(routes) == 6
    assert routes <= set(re.findall(r"`(GET|POST|PUT|DELETE) ([a-z/{}]+)`", PAGE))


def test_the_page_has_examples():
    assert len(EXAMPLES) == 6
