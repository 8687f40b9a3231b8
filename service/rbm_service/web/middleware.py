"""Surrounds every request: id, key, metrics, access line, and an answer to what nobody caught. Pure ASGI."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from rbm_service.errors import BackendError, ServiceError
from rbm_service.observability.http_metrics import RouteMetrics
from rbm_service.observability.logging import log_access
from rbm_service.observability.metrics import Metrics
from rbm_service.web.api_keys import OPEN_PATHS, KeyRing
from rbm_service.web.body_limits import BodyLimits
from rbm_service.web.error_response import error_response
from rbm_service.web.request_context import REQUEST_CONTEXT, RequestContext

if TYPE_CHECKING:  # the extra `tracing` may not be installed
    from rbm_service.observability.tracing import Tracer

Endpoint = Callable[[Request], Awaitable[Response]]

UNMATCHED: Final = "unmatched"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_STATE: Final[Mapping[str, object]] = {}
NO_SHORTCUTS: Final[Mapping[tuple[str, str], Endpoint]] = {}
CLIENT_GONE: Final = 499  # nobody reads it; the access line and the metrics do

log = structlog.get_logger(__name__)


class RequestMiddleware:
    """Gives every request an id, asks for its key, bounds its body, counts and times it, and answers for what
    nobody caught.

    One layer does all of it, since each layer costs every message of every request a call. The key is looked
    at before anything of the body is read; the log knows it by its name.

    Args:
        app: everything else that answers.
        state: what every route finds in the state of its request.
        shortcuts: by method and path, what answers in its place: a router and the layers around it would
            cost more than all that a short route does itself.
        tracer: where traces are wanted; the access line then has the trace's id.
        root_path: the prefix under which a proxy offers the service, whether it cuts it off or not.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        keys: KeyRing,
        routes: Collection[str],
        inference_routes: Collection[str],
        body_limits: BodyLimits,
        state: Mapping[str, object] = NO_STATE,
        shortcuts: Mapping[tuple[str, str], Endpoint] = NO_SHORTCUTS,
        tracer: "Tracer | None" = None,
        root_path: str = "",
    ) -> None:
        self.app = app
        self.shortcuts = shortcuts
        self.tracer = tracer
        self._state = state
        self._root_path = root_path
        self.metrics = {route: RouteMetrics(metrics, route) for route in (*routes, UNMATCHED)}
        self.inference_failures = metrics.inference_failures
        self._templates = [(compile_path(route)[0], route) for route in routes if "{" in route]
        self.keys = keys
        self.inference_routes = frozenset(inference_routes)
        self.body_limits = body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        context = RequestContext(scope, receive, send, self.body_limits)
        context.path = path = self._without_prefix(scope["path"]) if self._root_path else scope["path"]
        state = scope.setdefault("state", {})
        state.update(self._state)
        state[REQUEST_CONTEXT] = context
        route = path if path in self.metrics else self._template_of(path)
        metrics = self.metrics[route]
        metrics.in_progress.value += 1
        started = perf_counter()
        try:
            await self._answer(scope, context)
        except ClientDisconnect:
            context.status = CLIENT_GONE
        except ServiceError as refusal:
            if refusal.reason == "unauthorized" and route in self.inference_routes:
                self.inference_failures.labels(refusal.reason).inc()
            await error_response(refusal, scope)(scope, receive, context.send)
        except (Exception, asyncio.CancelledError):  # the unit of work is one request
            log.exception("request failed", request_id=context.request_id, route=route)
            if not context.status:
                await error_response(BackendError(), scope)(scope, receive, context.send)
        finally:
            metrics.in_progress.value -= 1
            self._record(scope, route, context, started)
            context.close()
            del state[REQUEST_CONTEXT]

    async def _answer(self, scope: Scope, context: RequestContext) -> None:
        """Let in whoever has the key, and pass the request on to what answers it."""
        context.key_name = self.keys.authorize(context.headers, context.path)
        endpoint = self.shortcuts.get((scope["method"], context.path))
        if endpoint is None:
            await self.app(self._for_router(scope, context.path), context.receive, context.send)
            return
        response = await endpoint(Request(scope, context.receive))
        if not context.answer(response.status_code, response.raw_headers, bytes(response.body)):
            await response(scope, context.receive, context.send)
        elif response.background is not None:
            await response.background()

    def _without_prefix(self, path: str) -> str:
        """Return a path as it is here, once: what the keys are asked for is what the router is given."""
        is_below = path.startswith(f"{self._root_path}/") or path == self._root_path
        return path[len(self._root_path) :] if is_below else path

    def _for_router(self, scope: Scope, path: str) -> Scope:
        """Return the scope as routers want it: the prefix before the path, and GET for HEAD of a probe."""
        is_probed = scope["method"] == "HEAD" and path in OPEN_PATHS
        prefixed = {"path": self._root_path + path, "root_path": self._root_path}
        return {**scope, **prefixed, "method": "GET" if is_probed else scope["method"]}

    def _template_of(self, path: str) -> str:
        """Return what the metrics call a path that is no route by itself: a template, or `unmatched`."""
        return next((route for pattern, route in self._templates if pattern.match(path)), UNMATCHED)

    def _record(self, scope: Scope, route: str, context: RequestContext, started: float) -> None:
        """Count and log a request; it has its answer, whatever happens here."""
        seconds = perf_counter() - started
        method = scope["method"] if scope["method"] in METHODS else "other"
        status = context.status or CLIENT_GONE
        traced = {}
        try:
            self.metrics[route].count(method, status, seconds)
            if self.tracer is not None:
                traced["trace_id"] = self.tracer.record(
                    scope, context.work, context.request_id, method, route, status, started, seconds
                )
            log_access(
                request_id=context.request_id,
                key=context.key_name,
                method=method,
                route=route,
                status=status,
                duration_ms=round(1000 * seconds, 3),
                **traced,
            )
        except Exception:  # the unit of work is one record
            log.exception("request not recorded", request_id=context.request_id, route=route)
