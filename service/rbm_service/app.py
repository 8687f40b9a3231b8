"""The application: the only place where the parts of the service are put together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from rbm_bundle.version import package_version
from rbm_service.api import admin, classify, console, docs, node_map, operations, stats
from rbm_service.api.dependencies import APP_STATE, AppState
from rbm_service.api.document import complete
from rbm_service.api.v2 import infer, repository
from rbm_service.api.v2 import models as v2_models
from rbm_service.observability.metrics import Metrics
from rbm_service.serving.manager import ModelManager
from rbm_service.serving.registry import ModelRegistry
from rbm_service.serving.supervisor import supervising
from rbm_service.settings import Settings
from rbm_service.web.api_keys import KeyRing
from rbm_service.web.limits import BodyLimits
from rbm_service.web.middleware import RequestMiddleware
from rbm_service.web.server import serving_metrics

if TYPE_CHECKING:
    from rbm_service.observability.tracing import Tracer

DESCRIPTION = "Classifies the nodes of a graph without the graph, by a distilled Routing-by-Memory student."
OPENAPI_URL = "/openapi.json"
EXPOSED_HEADERS = ("Server-Timing", "X-Request-ID", "Retry-After", infer.JSON_LENGTH)


class Service(FastAPI):
    """FastAPI behind `RequestMiddleware`, with a complete OpenAPI document."""

    request_middleware: ASGIApp
    app_state: AppState
    body_limits: BodyLimits
    on_engine_lost: Callable[[], None] = staticmethod(lambda: None)  # whoever runs a server ends it here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle whatever the server sends."""
        await self.request_middleware(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Leave all errors to `RequestMiddleware`, and what is around every route of FastAPI out."""
        return AsyncExitStackMiddleware(self.router)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            for route in self.routes:
                if isinstance(route, APIRoute):
                    route.operation_id = route.name
            complete(super().openapi(), self.app_state.keys)
        return super().openapi()


def create_app(settings: Settings) -> Service:
    """A service with these settings; it loads its models when its lifespan begins.

    Raises:
        KeyFileError: a file of keys is not right.
        BundleError, EngineError: from the lifespan, when a model cannot be served.
        EngineLostError: from its end, when an engine failed and could not be rebuilt.
    """
    has_docs = settings.docs != "off"
    routes = _routes(settings)
    app = Service(
        title="Routing by Memory",
        description=DESCRIPTION,
        version=package_version(),
        openapi_url=OPENAPI_URL if has_docs else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        routes=routes,
    )
    metrics, tracer = Metrics(), _tracer(settings)
    keys = KeyRing(settings.api_keys_file, settings.admin_key_file, open_docs=settings.has_open_docs)
    models = ModelRegistry(metrics)
    app.app_state = AppState(settings, metrics, keys, models, ModelManager(settings, metrics, models))
    app.body_limits = BodyLimits(
        settings.max_body_bytes, settings.body_timeout_seconds, settings.max_buffered_bytes
    )
    metrics.rbm_http_buffered_body_bytes.labels().value = lambda: app.body_limits.num_held
    app.request_middleware = RequestMiddleware(
        partial(FastAPI.__call__, app),
        metrics=metrics,
        keys=keys,
        routes=[*([OPENAPI_URL] if has_docs else []), *_paths(routes)],
        inference_routes=_paths([*classify.router.routes, *infer.router.routes]),
        body_limits=app.body_limits,
        state={APP_STATE: app.app_state},
        shortcuts={("POST", "/classify"): classify.classify},
        tracer=tracer,
        root_path=settings.root_path,
    )
    if settings.allowed_origins:  # whose scripts may read every answer, errors too; a preflight needs no key
        app.request_middleware = CORSMiddleware(
            app.request_middleware,
            settings.allowed_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.state.tracer = tracer
    return app


def _routes(settings: Settings) -> list[BaseRoute]:
    has_admin = settings.admin_key_file is not None
    routers = [
        *(classify.router, operations.router, stats.router, node_map.router),
        *(v2_models.router, infer.router),
        *([admin.router, repository.router] if has_admin else []),
        *([operations.metrics_router] if settings.metrics_port is None else []),
        *([docs.router] if settings.docs != "off" else []),
        *([console.router] if settings.console == "on" else []),
    ]
    return [route for router in routers for route in router.routes]


def _paths(routes: Sequence[BaseRoute]) -> list[str]:
    return [route.path for route in routes if isinstance(route, APIRoute)]


def _tracer(settings: Settings) -> "Tracer | None":
    if settings.otlp_endpoint is None:
        return None
    from rbm_service.observability.tracing import Tracer  # which the extra `tracing` makes importable

    return Tracer(str(settings.otlp_endpoint), package_version())


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run everything beside the requests; what began first ends last, also when something fails."""
    assert isinstance(app, Service)
    metrics, settings = app.app_state.metrics, app.app_state.settings
    models, manager = app.app_state.models, app.app_state.manager
    async with AsyncExitStack() as stack:
        if app.state.tracer is not None:
            stack.callback(app.state.tracer.close)  # which sends the last spans when everyone is answered
        if settings.metrics_port is not None:
            stack.enter_context(serving_metrics(metrics.registry, settings.host, settings.metrics_port))
        stack.callback(manager.close)
        stack.callback(models.close)
        manager.start()
        stack.push_async_callback(_end, asyncio.create_task(manager.poll_loop()))
        await stack.enter_async_context(
            supervising(models, manager.rebuild, settings.engine_timeout_seconds, app.on_engine_lost)
        )
        yield


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
