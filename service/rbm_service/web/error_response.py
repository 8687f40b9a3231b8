"""Errors as response bodies: `application/problem+json` (RFC 9457), and on the routes of the Open Inference
Protocol what its clients read."""

import json
from dataclasses import dataclass

from rbm_service.errors import ServiceError

PROBLEM_MEDIA_TYPE = "application/problem+json"


OPEN_INFERENCE = "/v2"


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """An error as bytes, and what they are."""

    content: bytes
    media_type: str


def speaks_protocol(path: str) -> bool:
    """Whether the clients of a path are those of the Open Inference Protocol."""
    return path == OPEN_INFERENCE or path.startswith(f"{OPEN_INFERENCE}/")


def error_body(error: ServiceError, path: str, request_id: str) -> ErrorBody:
    """The body in the form that clients of a path read."""
    if speaks_protocol(path):
        return ErrorBody(json.dumps({"error": error.detail}).encode(), "application/json")
    return ErrorBody(error.body(request_id), PROBLEM_MEDIA_TYPE)
