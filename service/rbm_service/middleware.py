"""What surrounds every request: its id, its metrics and access line, the limit on its body. Pure ASGI."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rbm_service.errors import PROBLEM_MEDIA_TYPE, BackendError, PayloadTooLargeError, ServiceError
from rbm_service.metrics import Metrics

if TYPE_CHECKING:  # the extra `tracing` may not be installed
    from rbm_service.tracing import Tracer

MAX_REQUEST_ID_LENGTH: Final = 128
UNMATCHED: Final = "unmatched"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CLIENT_GONE: Final = 499  # nobody reads it; the access line and the metrics do

log = structlog.get_logger(__name__)


def problem_response(error: ServiceError, scope: Scope) -> Response:
    """An error as the answer to the request of `scope`."""
    body = error.body(scope["state"]["request_id"])
    return Response(body, int(error.status), error.headers, PROBLEM_MEDIA_TYPE)


class Surroundings:
    """Gives every request an id, bounds its body, counts and times it, and answers for what nobody caught.

    One layer for all of it, since each layer costs every message of every request a call. The id is the
    caller's `X-Request-ID` or made up, and goes back with the answer.

    Args:
        tracer: where traces are wanted; the access line then has the trace's id.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        routes: Collection[str],
        max_body_bytes: int,
        tracer: "Tracer | None" = None,
    ) -> None:
        self.app = app
        self.tracer = tracer
        self.metrics = metrics.bind_routes([*routes, UNMATCHED])
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _open_exchange(scope, receive, send, self.max_body_bytes)
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        route = scope["path"] if scope["path"] in self.metrics else UNMATCHED
        metrics = self.metrics[route]
        metrics.in_progress.inc()
        started = perf_counter()
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_GONE
        except Exception:  # the unit of work is one request
            log.exception("request failed", request_id=exchange.request_id, route=route)
            if not exchange.status:
                await problem_response(BackendError(), scope)(scope, receive, exchange.send)
        finally:
            metrics.in_progress.dec()
            self._record(scope, route, exchange, started)

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
    max_body_bytes: int
    receive_next: Receive
    send_on: Send
    num_bytes: int = 0
    status: int = 0  # nothing sent yet

    async def receive(self) -> Message:
        """The next message; refuses a body as soon as it is known to be too long, announced or streamed.

        The refusal is raised where the route reads the body, so that it counts as an answer of that route.
        """
        if self.announced_bytes > self.max_body_bytes:
            raise PayloadTooLargeError(self.max_body_bytes)
        message = await self.receive_next()
        self.num_bytes += len(message.get("body", b""))
        if self.num_bytes > self.max_body_bytes:
            raise PayloadTooLargeError(self.max_body_bytes)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on, the first with the id of the request."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.request_id.encode())]
        await self.send_on(message)


def _open_exchange(scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> _Exchange:
    headers = dict(scope["headers"])
    request_id = _usable_id(headers.get(b"x-request-id", b"")) or secrets.token_hex(16)
    announced = headers.get(b"content-length", b"")
    announced_bytes = int(announced) if announced.isdigit() else 0
    return _Exchange(request_id, announced_bytes, max_body_bytes, receive, send)


def _usable_id(value: bytes) -> str | None:
    given = value.decode("latin-1")
    usable = len(given) <= MAX_REQUEST_ID_LENGTH and given.isascii() and given.isprintable()
    return given if usable else None
