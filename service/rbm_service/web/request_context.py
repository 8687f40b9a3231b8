"""One request and its answer as routes meet them: an id, a key, a body bounded in length and in time."""

import asyncio
import random
import re
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from rbm_service.errors import OverloadedError, PayloadTooLargeError, RequestTimeoutError
from rbm_service.observability.metrics import RequestTrace
from rbm_service.web.api_keys import Headers
from rbm_service.web.compression import encoding_of, expand
from rbm_service.web.exchange import BodyLimits, Exchange, RawHeaders

REQUEST_CONTEXT: Final = "context"  # where it lies in the state of a request
USABLE_ID: Final = re.compile(rb"[ -~]{1,128}")

_random = random.Random()  # an id has to be new, not hard to guess


class RequestContext:
    """One request, from its headers to the end of its answer.

    Its id is the caller's `X-Request-ID` or made up, and goes back with the answer. Whoever makes a context
    puts it in the state of the scope and takes it out at the end: each holds the other, and what is left to
    the garbage collector costs a short request as much as its node's lookup.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: BodyLimits) -> None:
        headers: Headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if USABLE_ID.fullmatch(given) else b"%032x" % _random.getrandbits(128)
        self.request_id = request_id.decode()
        self._id_header = (b"x-request-id", request_id)
        self.headers = headers
        self.path = ""  # without the prefix under which a proxy offers the service
        self.key_name: str | None = None
        self.status = 0  # nothing sent yet
        self.work: RequestTrace | None = None  # for its trace, where there are traces
        announced = headers.get(b"content-length", b"")
        self._announced_bytes = int(announced[:19]) if announced.isdigit() else 0  # longer: as much too long
        self._limits = limits
        self._deadline: float | None = None  # from when the body is waited for
        server = getattr(receive, "__self__", None)
        self.exchange = server if isinstance(server, Exchange) else None
        # Whoever stands between the server and this sees every message of the answer.
        self._answers_whole = self.exchange is not None and getattr(send, "__self__", None) is server
        self._receive_next, self._send_on = receive, send
        self._head: Message | None = None
        self._body_is_complete = False
        self._num_bytes = 0

    async def body(self) -> bytes:
        """Return all of the body; short ones have arrived already, as a rule.

        Raises:
            ClientDisconnect: the client has gone before the end of it.
            PayloadTooLargeError, OverloadedError, RequestTimeoutError: as `receive`.
        """
        if self.exchange is not None and (whole := self.exchange.whole_body()) is not None:
            self._take(len(whole))
            self._body_is_complete = True
            return whole
        return await Request({"type": "http"}, self.receive).body()

    async def expand(self, body: bytes) -> bytes:
        """Return a body without its `Content-Encoding`; both forms count as held.

        Raises:
            UnsupportedMediaTypeError, InvalidRequestError: of another encoding, or damaged.
            PayloadTooLargeError, OverloadedError: it would be too long, or there is no room for it.
        """
        encoding = encoding_of(self.headers.get(b"content-encoding", b""))
        if encoding is None:
            return body
        expanded = await asyncio.to_thread(expand, body, encoding, self._limits.max_bytes)
        if self.exchange is not None:
            self.exchange.hold(len(expanded))
            self._take(0)
        return expanded

    def watch(self, on_gone: Callable[[], object]) -> None:
        """Call this when the caller goes before it has an answer, or now if it has gone; only the service's
        own server knows."""
        if self.exchange is not None:
            self.exchange.on_gone = on_gone
            if self.exchange.disconnected:
                on_gone()

    async def receive(self) -> Message:
        """Return the next message; a body is refused as soon as it is known to be too much.

        The refusal is raised where the route reads the body, so that it counts as an answer of that route.

        Raises:
            PayloadTooLargeError: the body is too long, as announced or as it arrives.
            OverloadedError: there is no room for it beside those of other requests.
            RequestTimeoutError: it takes too long.
        """
        if self._body_is_complete:  # what comes now is that the caller hangs up, whenever that is
            return await self._receive_next()
        self._take(0)
        self._deadline = self._deadline or asyncio.get_running_loop().time() + self._limits.timeout_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive_next()
        except TimeoutError:
            raise RequestTimeoutError(self._limits.timeout_seconds) from None
        if message["type"] == "http.request":
            self._take(len(message.get("body", b"")))
            self._body_is_complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on, the first with the id of the request, and together with its body if there is no
        more to come."""
        if message["type"] == "http.response.start":
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            is_all = not message.get("more_body", False)
            if is_all and self.answer(head["status"], head["headers"], message.get("body", b"")):
                return
            self.status = head["status"]
            await self._send_on({**head, "headers": [*head["headers"], self._id_header]})
        await self._send_on(message)

    def answer(self, status: int, headers: RawHeaders, body: bytes) -> bool:
        """Send a whole answer at once, or do nothing if it has to be sent by messages: then False."""
        whole = self.exchange if self._answers_whole else None
        if whole is None or not whole.answer(status, [*headers, self._id_header], body):
            return False
        self.status = status
        return True

    def _take(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        if max(self._num_bytes, self._announced_bytes) > self._limits.max_bytes:
            raise PayloadTooLargeError(self._limits.max_bytes)
        if self.exchange is not None and self.exchange.drops_body:
            raise OverloadedError(1, "too many bytes of other requests are held")


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = scope["state"][REQUEST_CONTEXT]
    return context
