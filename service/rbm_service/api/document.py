"""The OpenAPI document: to what FastAPI learns from the routes, it adds what `document.json` says of them.

That is, by the name of a route's function: the body that it reads, its parameters, what goes wrong in it, and
examples. Errors are shown as `error_body` writes them.
"""

import json
import re
from importlib.resources import files
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from rbm_service.api.admin_schemas import PromoteRequest, ShadowRequest
from rbm_service.api.schemas import ClassifyRequest, Problem
from rbm_service.api.v2.requests import ChangeRequest, IndexRequest, InferRequest
from rbm_service.api.v2.responses import InferenceError
from rbm_service.errors import FieldError, ServiceError
from rbm_service.web.api_keys import KeyRing, is_for_admin
from rbm_service.web.error_response import error_body, speaks_protocol

REQUEST_ID: Final = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
REQUESTS: Final = (ClassifyRequest, PromoteRequest, ShadowRequest, InferRequest, IndexRequest, ChangeRequest)
ERRORS: Final = (Problem, InferenceError)

Node = dict[str, Any]  # of the document


def complete(document: Node, keys: KeyRing) -> None:
    """Add all that the routes do not say of themselves."""
    parts = json.loads(files(__package__).joinpath("document.json").read_text("utf-8"))
    # Schemas that no route declares by itself: the bodies it parses, the errors it raises.
    _, schemas = models_json_schema(
        [(model, "validation") for model in (*REQUESTS, *ERRORS)], ref_template="#/components/schemas/{model}"
    )
    components = document["components"]
    components["schemas"] |= schemas["$defs"]
    components["headers"] = parts["headers"]
    tags = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            described = parts["operations"][operation["operationId"].replace("_version", "")]
            groups = list(described.get("errors", []))
            if keys.needs_key(path):
                components["securitySchemes"] = parts["securitySchemes"]
                operation["security"] = [{scheme: []} for scheme in parts["securitySchemes"]]
                groups += ["key", "admin key"] if is_for_admin(path) else ["key"]
            _add_request(operation, path, described, parts["parameters"])
            _add_answer(operation["responses"]["200"], described["answer"], components["schemas"])
            for group in groups:
                _add_errors(operation["responses"], path, parts["errors"][group])
            for status, response in operation["responses"].items():
                own = described.get("headers", []) if status == "200" else parts["headers_of"].get(status, [])
                names = ["X-Request-ID", *own]
                response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
            tags.update(operation["tags"])
    document["tags"] = [tag for tag in parts["tags"] if tag["name"] in tags]


def _add_request(operation: Node, path: str, described: Node, parameters: Node) -> None:
    names = [*re.findall("{.*?}", path), *described.get("parameters", [])]
    if names:
        operation["parameters"] = [parameters[name] for name in names]
    if "body" in described:
        schema = {"$ref": f"#/components/schemas/{described['body']}"}
        examples = {name: {"value": value} for name, value in described["requests"].items()}
        content = {"application/json": {"schema": schema, "examples": examples}}
        operation["requestBody"] = {"required": described.get("body_required", True), "content": content}


def _add_answer(response: Node, example: object, schemas: Node) -> None:
    for content in response["content"].values():
        content["example"] = example
        if "$ref" in content["schema"]:
            response["description"] = schemas[content["schema"]["$ref"].split("/")[-1]]["description"]


def _add_errors(responses: Node, path: str, details: Node) -> None:
    schema = {"$ref": f"#/components/schemas/{'InferenceError' if speaks_protocol(path) else 'Problem'}"}
    for error in ServiceError.__subclasses__():
        if error.code in details:
            body, media_type = error_body(_raised(error, details[error.code]), path, REQUEST_ID)
            empty = {"description": error.status.phrase, "content": {}}
            response = responses.setdefault(str(int(error.status)), empty)
            content = response["content"].setdefault(media_type, {"schema": schema, "examples": {}})
            content["examples"][error.code] = {"value": json.loads(body)}


def _raised(error: type[ServiceError], detail: str) -> ServiceError:
    """An error with this detail, whatever its own constructor takes."""
    place, _, message = detail.partition(": ")
    raised = error.__new__(error)
    errors = [FieldError((place,), message)] if error.code == "validation" else []
    ServiceError.__init__(raised, detail, errors=errors)
    return raised
