"""`GET /v2` and `/v2/health`: what serves, and whether it is alive and ready."""

from typing import Final

from fastapi import Request, Response

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.v2.responses import Liveness, Readiness, ServerMetadata
from rbm_service.api.v2.routes import add_route, json_response, new_router

NAME: Final = "routing-by-memory"
EXTENSIONS: Final = ("binary_tensor_data", "classification", "model_configuration", "statistics")
REPOSITORY: Final = "model_repository"

router = new_router()


async def get_server(request: Request) -> Response:
    """Describes the server: its name, its version, its extensions of the protocol."""
    takes_commands = app_state_of(request).settings.model_control == "explicit"
    extensions = (*EXTENSIONS, REPOSITORY) if takes_commands else EXTENSIONS
    return json_response(ServerMetadata(name=NAME, version=request.app.version, extensions=extensions))


async def get_server_live(request: Request) -> Response:
    """Answers as long as the event loop runs."""
    return json_response(Liveness())


async def get_server_ready(request: Request) -> Response:
    """Answers 200 while every model is in service, else 503."""
    app_state_of(request).models.check_ready()
    return json_response(Readiness())


add_route(router, "/v2", get_server, ServerMetadata)
add_route(router, "/v2/health/live", get_server_live, Liveness)
add_route(router, "/v2/health/ready", get_server_ready, Readiness, errors=(503,))
