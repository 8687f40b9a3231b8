"""How routes of the protocol are declared: as functions of the request, described in full."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from rbm_service.api.dependencies import PlainRoute
from rbm_service.api.openapi import problem_responses
from rbm_service.errors import NotFoundError

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]

MODEL: Final = "/v2/models/{model}"
VERSION: Final = f"{MODEL}/versions/{{version}}"
PARAMETERS: Final = {"model": ("Name of the model", "tiny"), "version": ("Version in service", "1")}
JSON: Final = "application/json"


def new_router() -> APIRouter:
    """Routes of the protocol."""
    return APIRouter(tags=["open inference"], route_class=PlainRoute)


def add_route(
    router: APIRouter,
    path: str,
    endpoint: Endpoint,
    answer: type[BaseModel],
    *,
    errors: tuple[int, ...] = (),
    method: str = "GET",
    headers: Sequence[Mapping[str, Any]] = (),
    body: Mapping[str, Any] | None = None,
) -> None:
    """Add a route; `headers` and `body` are what OpenAPI should say of those that its function reads."""
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        | {"description": description, "example": example}
        for name, (description, example) in PARAMETERS.items()
        if f"{{{name}}}" in path
    ]
    router.add_api_route(
        path,
        endpoint,
        methods=[method],
        name=endpoint.__name__.replace("_model", "_model_version") if "{version}" in path else None,
        response_class=Response,
        responses={200: {"model": answer, "description": answer.__doc__}, **problem_responses(*errors)},
        openapi_extra={"parameters": [*parameters, *headers], **(body or {})},
    )


def add_model_routes(router: APIRouter, suffix: str, endpoint: Endpoint, answer: type[BaseModel]) -> None:
    """Add a route about a model, and the same about one version of it."""
    for path in (MODEL, VERSION):
        add_route(router, path + suffix, endpoint, answer, errors=(404, 503))


def json_response(answer: BaseModel) -> Response:
    """An answer as it is described; what there is not is left out."""
    return Response(answer.model_dump_json(exclude_none=True), media_type=JSON)


ABSENT: Final[Mapping[str, str]] = {
    "/v2/systemsharedmemory/{rest:path}": "shared memory",
    "/v2/cudasharedmemory/{rest:path}": "CUDA shared memory",
    "/v2/trace/setting": "trace settings",
    f"{MODEL}/trace/setting": "trace settings",
    "/v2/logging": "log settings",
}

absent_router = new_router()


async def absent(request: Request) -> Response:
    """Always 404."""
    raise NotFoundError(f"this service does not offer {ABSENT[request.scope['route'].path]}")


for path in ABSENT:
    absent_router.add_api_route(path, absent, methods=["GET", "POST"], include_in_schema=False)
