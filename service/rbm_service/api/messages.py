"""The body of a request and the answer to it, as ASGI has them: what Starlette does around them costs a small
request more than its classes."""

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rbm_service.exchange import exchange_of

JSON_TYPE = (b"content-type", b"application/json")


async def read_body(request: Request) -> bytes:
    """All of a body.

    Raises:
        ClientDisconnect: the client has gone before the end of it.
        PayloadTooLargeError, RequestTimeoutError: it is too long, or takes too long.
    """
    if (body := exchange_of(request.scope).body()) is not None:
        return body
    chunks = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class JsonAnswer(Response):
    """JSON with status 200.

    Args:
        timing: the value of `Server-Timing`.
        afterwards: what is left to do once the answer is out.
    """

    def __init__(self, content: bytes, timing: str, afterwards: BackgroundTask | None) -> None:
        self.body = content
        self.status_code = 200
        self.background = afterwards
        self.raw_headers = [
            (b"content-length", b"%d" % len(content)),
            JSON_TYPE,
            (b"server-timing", timing.encode()),
        ]
