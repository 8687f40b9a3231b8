"""What the OpenAPI document says of bodies, errors and keys, which routes handle by themselves."""

from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rbm_service.api.schemas import ClassifyRequest, Problem, PromoteRequest
from rbm_service.web.api_keys import KeyRing, is_for_admin
from rbm_service.web.error_response import speaks_protocol

SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def declare_keys(document: dict[str, Any], keys: KeyRing) -> None:
    """Say which operations need a key, and how they answer without one; nothing where none is needed."""
    guarded = [path for path in document["paths"] if keys.needs_key(path)]
    if guarded:
        document["components"]["securitySchemes"] = SCHEMES
    for path in guarded:
        statuses = (401, 403) if is_for_admin(path) else (401,)
        refusals = error_responses(*statuses) if speaks_protocol(path) else problem_responses(*statuses)
        for operation in document["paths"][path].values():
            operation["security"] = [{scheme: []} for scheme in SCHEMES]
            operation["responses"] |= {str(status): answer for status, answer in refusals.items()}


def body_of(schema: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI entry for a body that a route parses by itself."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}}
    return {"requestBody": {"required": True, "content": content}}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for answers that are problems."""
    schema = {"$ref": "#/components/schemas/Problem"}
    content = {"application/problem+json": {"schema": schema}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def extra_components() -> dict[str, Any]:
    """Schemas that no route declares by itself: the body it parses, the problems it raises."""
    _, schema = models_json_schema(
        [(ClassifyRequest, "validation"), (PromoteRequest, "validation"), (Problem, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    return dict(schema["$defs"])


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for answers that are errors of the protocol."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/InferenceError"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}
