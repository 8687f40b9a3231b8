"""What surrounds every request: id, key, metrics, access line, the limits on its body. Pure ASGI."""

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
from rbm_service.observability.logging import AccessLog
from rbm_service.observability.metrics import Metrics
from rbm_service.web.api_keys import Headers, KeyRing
from rbm_service.web.error_response import error_body
from rbm_service.web.request_context import REQUEST_CONTEXT, BodyLimits, RequestContext, context_of

if TYPE_CHECKING:  # the extra `tracing` may not be installed
    from rbm_service.observability.tracing import Tracer

Endpoint = Callable[[Request], Awaitable[Response]]

UNMATCHED: Final = "unmatched"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_STATE: Final[Mapping[str, object]] = {}
NO_SHORTCUTS: Final[Mapping[tuple[str, str], Endpoint]] = {}
CLIENT_GONE: Final = 499  # nobody reads it; the access line and the metrics do

log = structlog.get_logger(__name__)


def problem_response(error: ServiceError, scope: Scope) -> Response:
    """An error as the answer to the request of `scope`."""
    body = error_body(error, scope["path"], context_of(scope).request_id)
    return Response(body.content, int(error.status), error.headers, body.media_type)


class RequestMiddleware:
    """Gives every request an id, asks for its key, bounds its body, counts and times it, and answers for what
    nobody caught.

    One layer for all of it, since each layer costs every message of every request a call. The key is looked
    at before anything of the body is read; the log knows it by its name.

    Args:
        app: everything else that answers.
        state: what every route finds in the state of its request.
        shortcuts: by method and path, what answers in its place: a router and the layers around it would
            cost more than all that a short route does itself.
        tracer: where traces are wanted; the access line then has the trace's id.
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
    ) -> None:
        self.app = app
        self.shortcuts = shortcuts
        self.tracer = tracer
        self._state = state
        self._access_log = AccessLog()
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
        state = scope.setdefault("state", {})
        state.update(self._state)
        state[REQUEST_CONTEXT] = context
        route = self._route_of(scope["path"])
        metrics = self.metrics[route]
        metrics.num_in_progress += 1
        started = perf_counter()
        try:
            context.key_name = self._admit(context.headers, scope["path"], route)
            endpoint = self.shortcuts.get((scope["method"], scope["path"]))
            if endpoint is not None:
                response = await endpoint(Request(scope, context.receive))
                await _reply(response, scope, context)
            else:
                await self.app(scope, context.receive, context.send)
        except ClientDisconnect:
            context.status = CLIENT_GONE
        except ServiceError as refusal:
            await problem_response(refusal, scope)(scope, receive, context.send)
        except Exception:  # the unit of work is one request
            log.exception("request failed", request_id=context.request_id, route=route)
            if not context.status:
                await problem_response(BackendError(), scope)(scope, receive, context.send)
        finally:
            metrics.num_in_progress -= 1
            self._record(scope, route, context, started)
            del state[REQUEST_CONTEXT]

    def _admit(self, headers: Headers, path: str, route: str) -> str | None:
        """The name of the key that the request came with, or None where it needs none."""
        try:
            return self.keys.authorize(headers, path)
        except ServiceError as refusal:
            if route in self.inference_routes:
                self.inference_failures.labels(refusal.reason).inc()
            raise

    def _route_of(self, path: str) -> str:
        """What the metrics call a path: its route, a template where it has parameters, or `unmatched`."""
        if path in self.metrics:
            return path
        return next((route for pattern, route in self._templates if pattern.match(path)), UNMATCHED)

    def _record(self, scope: Scope, route: str, context: RequestContext, started: float) -> None:
        seconds = perf_counter() - started
        method = scope["method"] if scope["method"] in METHODS else "other"
        status = context.status or CLIENT_GONE
        self.metrics[route].answers.note((method, status, seconds))
        traced = {}
        if self.tracer is not None:
            traced["trace_id"] = self.tracer.record(
                scope, context.work, context.request_id, method, route, status, started, seconds
            )
        self._access_log.note(
            request_id=context.request_id,
            key=context.key_name,
            method=method,
            route=route,
            status=status,
            duration_ms=round(1000 * seconds, 3),
            **traced,
        )


async def _reply(response: Response, scope: Scope, context: RequestContext) -> None:
    """Send a response whose body is there, and do what it leaves to be done afterwards."""
    if not context.answer(response.status_code, response.raw_headers, bytes(response.body)):
        await response(scope, context.receive, context.send)
    elif response.background is not None:
        await response.background()
