"""Errors as answers: problems of RFC 9457, or what clients of the Open Inference Protocol read."""

import json
from dataclasses import asdict
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from rbm_service.errors import MethodNotAllowedError, NotFoundError, ServiceError
from rbm_service.web.request_context import context_of

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"


def speaks_protocol(path: str) -> bool:
    """Return whether the clients of a path are those of the Open Inference Protocol."""
    return f"{path}/".startswith("/v2/")


def error_response(error: ServiceError | HTTPException, scope: Scope) -> Response:
    """Make an error the answer to the request of `scope`, in the form that clients of its path read.

    Starlette has two of its own: no such route, and not by this method.
    """
    if isinstance(error, HTTPException) and error.status_code == MethodNotAllowedError.status:
        allowed = {"Allow": ", ".join(sorted(_methods_of(scope)))}
        error = MethodNotAllowedError("this route does not take the method", headers=allowed)
    elif isinstance(error, HTTPException):
        error = NotFoundError("no such route")
    context = context_of(scope)
    body, media_type = error_body(error, context.path, context.request_id)
    return Response(body, int(error.status), error.headers, media_type)


def _methods_of(scope: Scope) -> set[str]:
    """Return the methods that the path of a request takes: Starlette names those of its first route alone."""
    routes = [route for route in scope["app"].routes if route.matches(scope)[0] != Match.NONE]
    return {method for route in routes for method in route.methods}


def error_body(error: ServiceError, path: str, request_id: str) -> tuple[str, str]:
    """Return an error in JSON, as clients of a path read it, and its media type."""
    if speaks_protocol(path):
        return json.dumps({"error": error.detail}), "application/json"
    described: dict[str, Any] = {
        "type": "about:blank",
        "title": error.status.phrase,
        "status": int(error.status),
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id,
    }
    if error.errors:
        described["errors"] = [asdict(item) for item in error.errors]
    return json.dumps(described, separators=(",", ":")), PROBLEM_MEDIA_TYPE
