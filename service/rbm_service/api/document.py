"""The OpenAPI document: to what FastAPI learns from the routes, it adds schemas, examples, headers and keys.

Texts and examples are in `document.json`. Errors are shown as `error_body` writes them.
"""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rbm_service.api.schemas import ClassifyRequest, Problem, PromoteRequest
from rbm_service.api.v2.requests import ChangeRequest, IndexRequest, InferRequest
from rbm_service.api.v2.responses import InferenceError
from rbm_service.errors import (
    FieldError,
    InvalidRequestError,
    ModelRefusedError,
    NotFoundError,
    ServiceError,
    UnknownNodeError,
)
from rbm_service.web.api_keys import KeyRing, is_for_admin
from rbm_service.web.error_response import error_body, speaks_protocol

REQUEST_ID: Final = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
REQUESTS: Final = (ClassifyRequest, PromoteRequest, InferRequest, IndexRequest, ChangeRequest)
BODIES: Final[tuple[type[BaseModel], ...]] = (*REQUESTS, Problem, InferenceError)
HEADERS: Final = {
    "401": ["WWW-Authenticate"],
    "408": ["Connection"],
    "429": ["Retry-After"],
    "503": ["Retry-After"],
}

Node = dict[str, Any]  # of the document


def complete(document: Node, keys: KeyRing) -> None:
    """Add all that the routes do not say of themselves."""
    parts = json.loads(files(__package__).joinpath("document.json").read_text("utf-8"))
    document["components"]["schemas"] |= _schemas()
    document["components"]["headers"] = parts["headers"]
    operations = [(path, each) for path, all_of in document["paths"].items() for each in all_of.values()]
    tags = {tag for _, operation in operations for tag in operation["tags"]}
    document["tags"] = [tag for tag in parts["tags"] if tag["name"] in tags]
    for path, operation in operations:
        if keys.needs_key(path):
            document["components"]["securitySchemes"] = parts["securitySchemes"]
            _require_key(path, operation, list(parts["securitySchemes"]))
        _add_examples(operation, **parts["operations"][operation["operationId"].replace("_version", "")])
        for status, response in operation["responses"].items():
            if status != "200":
                response["content"] = _error_content(status, path, operation, parts["errors"])
            headers = ["X-Request-ID", *HEADERS.get(status, [])]
            if status == "200" and _classifies(path):
                headers.append("Server-Timing")
            response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}


def _schemas() -> Node:
    """Schemas that no route declares by itself: the bodies it parses, the errors it raises."""
    _, schema = models_json_schema(
        [(model, "validation") for model in BODIES], ref_template="#/components/schemas/{model}"
    )
    return dict(schema["$defs"])


def _require_key(path: str, operation: Node, schemes: list[str]) -> None:
    operation["security"] = [{scheme: []} for scheme in schemes]
    operation["responses"]["401"] = {"description": "Unauthorized"}
    if is_for_admin(path):
        operation["responses"]["403"] = {"description": "Forbidden"}


def _add_examples(operation: Node, answer: object, requests: Node | None = None) -> None:
    for content in operation["responses"]["200"]["content"].values():
        content["example"] = answer
    if requests is not None:
        content = operation["requestBody"]["content"]["application/json"]
        content["examples"] = {name: {"value": value} for name, value in requests.items()}


def _error_content(status: str, path: str, operation: Node, details: Node) -> Node:
    schema = "InferenceError" if speaks_protocol(path) else "Problem"
    bodies = {
        error.code: error_body(_raised(error, details[error.code]), path, REQUEST_ID)
        for error in _errors(int(status), path, operation)
    }
    examples = {code: {"value": json.loads(body)} for code, (body, _) in bodies.items()}
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": examples}
    return {media_type: content for _, media_type in bodies.values()}


def _errors(status: int, path: str, operation: Node) -> Iterator[type[ServiceError]]:
    """The errors with this status that an operation may answer with."""
    possible = {
        NotFoundError: False,
        UnknownNodeError: _classifies(path),
        ModelRefusedError: is_for_admin(path),
        InvalidRequestError: "requestBody" in operation,
    }
    for error in ServiceError.__subclasses__():
        if error.status == status and possible.get(error, True):
            yield error


def _raised(error: type[ServiceError], detail: str) -> ServiceError:
    """An error with this detail, whatever its own constructor takes."""
    place, _, message = detail.partition(": ")
    raised = error.__new__(error)
    errors = [FieldError((place,), message)] if error is InvalidRequestError else []
    ServiceError.__init__(raised, detail, errors=errors)
    return raised


def _classifies(path: str) -> bool:
    return path.endswith(("/classify", "/infer"))
