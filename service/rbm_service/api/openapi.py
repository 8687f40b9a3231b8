"""What routes say of themselves for the OpenAPI document; `document` adds what is the same for all."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel


def body_of(schema: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """OpenAPI entry for a body that a route parses by itself."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}}
    return {"requestBody": {"required": required, "content": content}}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for errors; their form follows from the path of the route."""
    return {status: {"description": HTTPStatus(status).phrase} for status in statuses}
