"""Compressed bodies: gzip and deflate, expanded no further than a body may be long."""

import asyncio
import re
import zlib
from typing import TYPE_CHECKING, Final, Literal

from rbm_service.errors import InvalidRequestError, PayloadTooLargeError, UnsupportedMediaTypeError
from rbm_service.web.limits import RawBody

if TYPE_CHECKING:
    from rbm_service.web.request_context import RequestContext

Encoding = Literal["gzip", "deflate"]

# What zlib calls the two frames around the same stream; `deflate` in HTTP is the one of zlib itself.
WINDOW_BITS: Final[dict[Encoding, int]] = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
COMPRESSION_LEVEL: Final = 1  # numbers hardly shrink any further
REFUSED: Final = re.compile(r"[^;]*;q=0[0.]*$")  # a choice to stay away from


def encoding_of(header: bytes) -> Encoding | None:
    """What `Content-Encoding` says about a body; None: it comes as it is.

    Raises:
        UnsupportedMediaTypeError: an encoding that nobody here reads.
    """
    named = header.decode("latin-1").strip().lower()
    if named in ("", "identity"):
        return None
    if named not in WINDOW_BITS:
        raise UnsupportedMediaTypeError("the content encoding must be gzip or deflate, or there must be none")
    return named


def accepted_encoding(header: bytes) -> Encoding | None:
    """The encoding that `Accept-Encoding` asks for, gzip where it takes both; None: it takes neither."""
    choices = header.decode("latin-1").lower().replace(" ", "").split(",")
    accepted = {choice.partition(";")[0] for choice in choices if not REFUSED.match(choice)}
    return next((encoding for encoding in WINDOW_BITS if encoding in accepted), None)


def expand(body: RawBody, encoding: Encoding, max_bytes: int) -> bytes:
    """A compressed body as it was; of one that would be longer than allowed, no more than that is expanded.

    Raises:
        PayloadTooLargeError: it would be longer.
        InvalidRequestError: it is cut off, damaged, or followed by something else.
    """
    stream = zlib.decompressobj(WINDOW_BITS[encoding])
    try:
        expanded = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        raise InvalidRequestError(f"the body is not valid {encoding}") from None
    if len(expanded) > max_bytes:
        raise PayloadTooLargeError(max_bytes)
    if not stream.eof or stream.unused_data:
        found = "goes on after its end" if stream.eof else "is cut off"
        raise InvalidRequestError(f"the body is not valid {encoding}: it {found}")
    return expanded


async def expand_body(body: RawBody, context: "RequestContext") -> RawBody:
    """Return the body of a request without its `Content-Encoding`; both forms count as held.

    Raises:
        UnsupportedMediaTypeError: an encoding that nobody here reads.
        PayloadTooLargeError, InvalidRequestError: as `expand`.
        OverloadedError: there is no room for it.
    """
    encoding = encoding_of(context.headers.get(b"content-encoding", b""))
    if encoding is None:
        return body
    expanded = await asyncio.to_thread(expand, body, encoding, context.limits.max_bytes)
    if context.exchange is not None:
        context.exchange.hold(len(expanded))
    context.take(0)
    return expanded


def compress(body: bytes, encoding: Encoding) -> bytes:
    """A body as its reader asked for it."""
    stream = zlib.compressobj(COMPRESSION_LEVEL, wbits=WINDOW_BITS[encoding])
    return stream.compress(body) + stream.flush()
