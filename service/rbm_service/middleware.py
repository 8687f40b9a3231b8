"""What surrounds every request: its id, its metrics and access line, the limit on its body. Pure ASGI."""

from collections.abc import Collection
from time import perf_counter
from typing import Final
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rbm_service.errors import PROBLEM_MEDIA_TYPE, BackendError, PayloadTooLargeError, ServiceError
from rbm_service.metrics import Metrics

MAX_REQUEST_ID_LENGTH: Final = 128
UNMATCHED: Final = "unmatched"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CLIENT_GONE: Final = 499  # nobody reads it; the access line and the metrics do

log = structlog.get_logger(__name__)


def problem_response(error: ServiceError, scope: Scope) -> Response:
    """An error as the answer to the request of `scope`."""
    body = error.body(scope["state"]["request_id"])
    return Response(body, int(error.status), error.headers, PROBLEM_MEDIA_TYPE)


class RequestId:
    """Takes the caller's `X-Request-ID` or makes one up, and sends it back with the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _given_request_id(Headers(scope=scope)) or uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        await self.app(scope, receive, send_with_id)


class Observation:
    """Counts and times every request by route, writes its access line, and answers for what nobody caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Collection[str]) -> None:
        self.app = app
        self.metrics = metrics
        self.routes = frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0  # nothing sent yet

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        route = scope["path"] if scope["path"] in self.routes else UNMATCHED
        in_progress = self.metrics.http_in_progress.labels(route)
        in_progress.inc()
        started = perf_counter()
        try:
            await self.app(scope, receive, send_and_note)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception:  # the unit of work is one request
            log.exception("request failed", request_id=scope["state"]["request_id"], route=route)
            if not status:
                await problem_response(BackendError(), scope)(scope, receive, send_and_note)
        finally:
            in_progress.dec()
            self._record(scope, route, status or CLIENT_GONE, perf_counter() - started)

    def _record(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.http_requests.labels(route, method, status).inc()
        self.metrics.http_duration.labels(route).observe(seconds)
        log.info(
            "request",
            request_id=scope["state"]["request_id"],
            method=method,
            route=route,
            status=status,
            duration_ms=round(1000 * seconds, 3),
        )


class BodyLimit:
    """Refuses a body as soon as it is known to be too long, be it announced or streamed.

    The refusal is raised where the route reads the body, so that it counts as an answer of that route.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        num_bytes = int(announced) if announced.isdigit() else 0
        too_long = num_bytes > self.max_body_bytes
        num_read = 0

        async def receive_within_limit() -> Message:
            nonlocal num_read
            if too_long:
                raise PayloadTooLargeError(self.max_body_bytes)
            message = await receive()
            num_read += len(message.get("body", b""))
            if num_read > self.max_body_bytes:
                raise PayloadTooLargeError(self.max_body_bytes)
            return message

        await self.app(scope, receive_within_limit, send)


def _given_request_id(headers: Headers) -> str | None:
    given = headers.get("x-request-id", "")
    usable = 0 < len(given) <= MAX_REQUEST_ID_LENGTH and given.isascii() and given.isprintable()
    return given if usable else None
