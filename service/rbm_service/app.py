"""The application: the only place where the parts of the service are put together."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from prometheus_client import start_http_server
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from rbm_service.api import classify, operations
from rbm_service.api.admin import admin_router
from rbm_service.api.admin_key import AdminKey
from rbm_service.api.parts import Parts
from rbm_service.api.schemas import extra_components
from rbm_service.errors import MethodNotAllowedError, NotFoundError, ServiceError
from rbm_service.metrics import Metrics
from rbm_service.middleware import Surroundings, problem_response
from rbm_service.models import ServedModels
from rbm_service.reload import Reloader
from rbm_service.settings import Settings

if TYPE_CHECKING:
    from rbm_service.tracing import Tracer

DESCRIPTION = "Classifies the nodes of a graph without the graph, by a distilled Routing-by-Memory student."
OPENAPI_URL = "/openapi.json"
DOCS_URL = "/docs"


class Service(FastAPI):
    """FastAPI, with the schemas of the bodies that routes parse and raise by themselves."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["schemas"].update(extra_components())
        return document


def create_app(settings: Settings) -> FastAPI:
    """A service with these settings; it loads its models when its lifespan begins.

    Raises:
        OSError: the admin's key cannot be read.
        BundleError, EngineError: from the lifespan, when a model cannot be served.
    """
    metrics, tracer = Metrics(), _tracer(settings)
    routers = [classify.router, operations.router]
    if settings.admin_key_file is not None:
        routers.append(admin_router(AdminKey.read(settings.admin_key_file)))
    if settings.metrics_port is None:
        routers.append(operations.metrics_router)
    routes: list[BaseRoute] = [route for router in routers for route in router.routes]
    app = Service(
        title="Routing by Memory",
        description=DESCRIPTION,
        version=_version(),
        openapi_url=OPENAPI_URL,
        docs_url=DOCS_URL,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        middleware=[
            Middleware(
                Surroundings,
                metrics=metrics,
                routes=[OPENAPI_URL, DOCS_URL, *_paths(routes)],
                max_body_bytes=settings.max_body_bytes,
                tracer=tracer,
            )
        ],
        routes=routes,
        exception_handlers={ServiceError: _on_service_error, HTTPException: _on_http_exception},
    )
    app.state.tracer = tracer
    models = ServedModels(metrics)
    app.state.parts = Parts(settings, metrics, models, Reloader(settings, metrics, models))
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    with _tracing(app.state.tracer), _metrics_server(parts):
        try:
            parts.reloader.start()
            async with _following(parts.reloader):
                yield
        finally:
            parts.models.close()
            parts.reloader.close()


@asynccontextmanager
async def _following(reloader: Reloader) -> AsyncIterator[None]:
    """Follow promotions, as often as the settings say and whenever told to."""
    following = asyncio.create_task(reloader.follow())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.wait([following])


def _tracer(settings: Settings) -> "Tracer | None":
    if settings.otlp_endpoint is None:
        return None
    from rbm_service.tracing import Tracer  # here, since without the extra `tracing` it cannot be imported

    return Tracer(str(settings.otlp_endpoint), _version())


@contextmanager
def _tracing(tracer: "Tracer | None") -> Iterator[None]:
    """Send the last spans when everyone is answered."""
    try:
        yield
    finally:
        if tracer is not None:
            tracer.close()


@contextmanager
def _metrics_server(parts: Parts) -> Iterator[None]:
    """/metrics on a port of its own, where that is wanted."""
    if parts.settings.metrics_port is None:
        yield
        return
    host, port = parts.settings.host, parts.settings.metrics_port
    try:
        server, thread = start_http_server(port, host, parts.metrics.registry)
    except OSError as error:
        raise OSError(f"/metrics cannot listen on {host}:{port}: {error}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem_response(error, request.scope)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own two: no such route, and not by this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == MethodNotAllowedError.status:
        problem: ServiceError = MethodNotAllowedError(
            "this route does not take the method", headers=error.headers
        )
    else:
        problem = NotFoundError("no such route")
    return problem_response(problem, request.scope)


def _paths(routes: Sequence[BaseRoute]) -> list[str]:
    return [route.path for route in routes if isinstance(route, APIRoute)]


def _version() -> str:
    try:
        return version("routing-by-memory")
    except PackageNotFoundError:
        return "0+source"
