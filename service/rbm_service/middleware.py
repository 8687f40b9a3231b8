"""What surrounds every request: id, key, metrics, access line, the limits on its body. Pure ASGI."""

import asyncio
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rbm_service.errors import (
    BackendError,
    PayloadTooLargeError,
    RequestTimeoutError,
    ServiceError,
    error_body,
)
from rbm_service.keys import Headers, KeyRing
from rbm_service.metrics import Metrics

if TYPE_CHECKING:  # the extra `tracing` may not be installed
    from rbm_service.tracing import Tracer

MAX_REQUEST_ID_LENGTH: Final = 128
UNMATCHED: Final = "unmatched"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_SHORTCUTS: Final[Mapping[tuple[str, str], ASGIApp]] = {}
CLIENT_GONE: Final = 499  # nobody reads it; the access line and the metrics do

log = structlog.get_logger(__name__)


def problem_response(error: ServiceError, scope: Scope) -> Response:
    """An error as the answer to the request of `scope`."""
    body = error_body(error, scope["path"], scope["state"]["request_id"])
    return Response(body.content, int(error.status), error.headers, body.media_type)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How long a body may be, and how long it may take to arrive."""

    max_bytes: int
    timeout_seconds: float


class Surroundings:
    """Gives every request an id, asks for its key, bounds its body, counts and times it, and answers for what
    nobody caught.

    One layer for all of it, since each layer costs every message of every request a call. The id is the
    caller's `X-Request-ID` or made up, and goes back with the answer. The key is looked at before anything
    of the body is read; the log knows it by its name.

    Args:
        app: everything else that answers.
        shortcuts: by method and path, what answers in its place without a router to pass.
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
        shortcuts: Mapping[tuple[str, str], ASGIApp] = NO_SHORTCUTS,
        tracer: "Tracer | None" = None,
    ) -> None:
        self.app = app
        self.shortcuts = shortcuts
        self.tracer = tracer
        self.metrics = metrics.bind_routes([*routes, UNMATCHED])
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
        headers = dict(scope["headers"])
        exchange = _open_exchange(headers, receive, send, self.body_limits)
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        route = self._route_of(scope["path"])
        metrics = self.metrics[route]
        metrics.in_progress.inc()
        started = perf_counter()
        try:
            exchange.key_name = self._admit(headers, scope["path"], route)
            app = self.shortcuts.get((scope["method"], scope["path"]), self.app)
            await app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_GONE
        except ServiceError as refusal:
            await problem_response(refusal, scope)(scope, receive, exchange.send)
        except Exception:  # the unit of work is one request
            log.exception("request failed", request_id=exchange.request_id, route=route)
            if not exchange.status:
                await problem_response(BackendError(), scope)(scope, receive, exchange.send)
        finally:
            metrics.in_progress.dec()
            self._record(scope, route, exchange, started)

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

    def _record(self, scope: Scope, route: str, exchange: "_Exchange", started: float) -> None:
        seconds = perf_counter() - started
        method = scope["method"] if scope["method"] in METHODS else "other"
        status = exchange.status or CLIENT_GONE
        self.metrics[route].count(method, status, seconds)
        traced = {}
        if self.tracer is not None:
            traced["trace_id"] = self.tracer.record(scope, method, route, status, started, seconds)
        log.info(
            "request",
            request_id=exchange.request_id,
            key=exchange.key_name,
            method=method,
            route=route,
            status=status,
            duration_ms=round(1000 * seconds, 3),
            **traced,
        )


@dataclass(slots=True)
class _Exchange:
    """The messages of one request and its answer."""

    request_id: str
    announced_bytes: int
    limits: BodyLimits
    receive_next: Receive
    send_on: Send
    body_deadline: float  # of the event loop's clock
    body_is_complete: bool = False
    num_bytes: int = 0
    status: int = 0  # nothing sent yet
    key_name: str | None = None

    async def receive(self) -> Message:
        """The next message; refuses a body as soon as it is known to be too long, announced or streamed.

        The refusal is raised where the route reads the body, so that it counts as an answer of that route.
        """
        if self.announced_bytes > self.limits.max_bytes:
            raise PayloadTooLargeError(self.limits.max_bytes)
        if self.body_is_complete:  # what comes now is that the caller hangs up, whenever that is
            return await self.receive_next()
        message = await self._receive_in_time()
        self.num_bytes += len(message.get("body", b""))
        if self.num_bytes > self.limits.max_bytes:
            raise PayloadTooLargeError(self.limits.max_bytes)
        self.body_is_complete = not message.get("more_body", False)
        return message

    async def _receive_in_time(self) -> Message:
        try:
            async with asyncio.timeout_at(self.body_deadline):
                return await self.receive_next()
        except TimeoutError:
            raise RequestTimeoutError(self.limits.timeout_seconds) from None

    async def send(self, message: Message) -> None:
        """Pass a message on, the first with the id of the request."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.request_id.encode())]
        await self.send_on(message)


def _open_exchange(headers: Headers, receive: Receive, send: Send, limits: BodyLimits) -> _Exchange:
    request_id = _usable_id(headers.get(b"x-request-id", b"")) or secrets.token_hex(16)
    announced = headers.get(b"content-length", b"")
    announced_bytes = int(announced) if announced.isdigit() else 0
    deadline = asyncio.get_running_loop().time() + limits.timeout_seconds
    return _Exchange(request_id, announced_bytes, limits, receive, send, deadline)


def _usable_id(value: bytes) -> str | None:
    given = value.decode("latin-1")
    usable = len(given) <= MAX_REQUEST_ID_LENGTH and given.isascii() and given.isprintable()
    return given if usable else None
