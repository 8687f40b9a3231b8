"""Surrounds every request: id, key, metrics, access line, and an answer to what nobody caught. Pure ASGI."""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from rbm_service.errors import BackendError, ServiceError, UnauthorizedError
from rbm_service.observability.logging import log_access
from rbm_service.observability.metrics import Metrics
from rbm_service.web.api_keys import KeyRing
from rbm_service.web.error_response import error_response
from rbm_service.web.limits import BodyLimits
from rbm_service.web.request_context import REQUEST_CONTEXT, RequestContext

if TYPE_CHECKING:  # the extra `tracing` may not be installed
    from rbm_service.observability.tracing import Tracer

Endpoint = Callable[[Request], Awaitable[Response]]

UNMATCHED: Final = "unmatched"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CLIENT_GONE: Final = 499  # nobody reads it; the access line and the metrics do

log = structlog.get_logger(__name__)


class RequestMiddleware:
    """Gives every request an id, asks for its key, bounds its body, counts and times it, and answers for what
    nobody caught.

    One layer does all of it, since each layer costs every message of every request a call. The key is looked
    at before anything of the body is read; the log knows it by its name.

    Args:
        app: everything else that answers; its errors come here.
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
        state: Mapping[str, object] | None = None,
        shortcuts: Mapping[tuple[str, str], Endpoint] | None = None,
        tracer: "Tracer | None" = None,
        root_path: str = "",
    ) -> None:
        self.app = app
        self.routes = (*routes, UNMATCHED)
        self._durations = {
            path: metrics.rbm_http_request_duration_seconds.labels(path) for path in self.routes
        }
        self._in_progress = {path: metrics.rbm_http_requests_in_progress.labels(path) for path in self.routes}
        self._metrics = metrics
        self._state = state or {}
        self._shortcuts = shortcuts or {}
        self._tracer = tracer
        self._root_path = root_path
        self.inference_routes = frozenset(inference_routes)
        self._templates = [(compile_path(route)[0], route) for route in routes if "{" in route]
        self._keys = keys
        self._open_paths = frozenset(path for path in routes if not keys.needs_key(path))
        self._body_limits = body_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        context = RequestContext(scope, receive, send, self._body_limits)
        scope["root_path"] = self._root_path  # which routers cut off the path as it is done here
        context.path = path = get_route_path(scope) if self._root_path else scope["path"]
        state = scope.setdefault("state", {})
        state.update(self._state)
        state[REQUEST_CONTEXT] = context
        # HEAD is a GET of which the connection leaves the body out.
        routed = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        route = path if path in self._durations else self._template_of(path)
        in_progress = self._in_progress[route]
        in_progress.value += 1
        started = perf_counter()
        try:
            if path not in self._open_paths:
                context.key_name = self._keys.authorize(context.headers, path)
            endpoint = self._shortcuts.get((scope["method"], path))
            if endpoint is None:
                await self.app(routed, context.receive, context.send)
                return
            response = await endpoint(Request(scope, context.receive))
            if not context.answer(response.status_code, response.raw_headers, bytes(response.body)):
                await response(scope, context.receive, context.send)
            elif response.background is not None:
                await response.background()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the unit of work is one request
            await self._refuse(error, routed, context, route)
        finally:
            in_progress.value -= 1
            self._record(scope, route, context, started)
            if context.exchange is not None and context.exchange.num_held:  # without an answer
                context.exchange.release()
            del state[REQUEST_CONTEXT]

    async def _refuse(self, error: BaseException, scope: Scope, context: RequestContext, route: str) -> None:
        """Answer a request that ended in an error, unless it has an answer."""
        try:
            if isinstance(error, ClientDisconnect):
                context.status = CLIENT_GONE
                return
            if isinstance(error, UnauthorizedError) and route in self.inference_routes:
                self._metrics.rbm_inference_failures_total.labels(error.reason).inc()
            if context.status or not isinstance(error, ServiceError | HTTPException):
                raise error
            await error_response(error, scope)(scope, context.receive, context.send)
        except (Exception, asyncio.CancelledError):
            log.exception("request failed", request_id=context.request_id, route=route)
            if not context.status:
                await error_response(BackendError(), scope)(scope, context.receive, context.send)

    def _template_of(self, path: str) -> str:
        """Return what the metrics call a path that is no route by itself: a template, or `unmatched`."""
        return next((route for pattern, route in self._templates if pattern.match(path)), UNMATCHED)

    def _record(self, scope: Scope, route: str, context: RequestContext, started: float) -> None:
        """Count and log a request; it has its answer, whatever happens here."""
        seconds = perf_counter() - started
        method = scope["method"] if scope["method"] in METHODS else "other"
        status = context.status or CLIENT_GONE
        line = {
            "request_id": context.request_id,
            "key": context.key_name,
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(1000 * seconds, 3),
        }
        try:
            self._metrics.rbm_http_requests_total[route, method, str(status)].value += 1
            duration = self._durations[route]  # observed in place: a call would cost as much again
            duration.counts[bisect_left(duration.edges, seconds)] += 1
            duration.total += seconds
            if self._tracer is not None:
                line["trace_id"] = self._tracer.record(
                    scope, context.work, context.request_id, method, route, status, started, seconds
                )
            log_access(line)
        except Exception:  # the unit of work is one record
            log.exception("request not recorded", request_id=context.request_id, route=route)
