"""`GET /v2` and `/v2/health`: what serves here, and how it is."""

from typing import Final

from fastapi import Request, Response

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.v2.responses import Liveness, Readiness, ServerMetadata
from rbm_service.api.v2.routes import add_route, json_response, new_router

NAME: Final = "routing-by-memory"
EXTENSIONS: Final = ("binary_tensor_data", "classification", "model_configuration", "statistics")
REPOSITORY: Final = "model_repository"

router = new_router()


async def server_metadata(request: Request) -> Response:
    """Name, version and extensions."""
    takes_commands = app_state_of(request).settings.model_control == "explicit"
    extensions = (*EXTENSIONS, REPOSITORY) if takes_commands else EXTENSIONS
    return json_response(ServerMetadata(name=NAME, version=request.app.version, extensions=extensions))


async def live(request: Request) -> Response:
    """Answers as long as the event loop turns."""
    return json_response(Liveness())


async def ready(request: Request) -> Response:
    """200 while every model is in service, else 503."""
    app_state_of(request).models.check_ready()
    return json_response(Readiness())


add_route(router, "/v2", server_metadata, ServerMetadata)
add_route(router, "/v2/health/live", live, Liveness)
add_route(router, "/v2/health/ready", ready, Readiness, errors=(503,))
