"""Between the steps of an operation and httpx2: settings, and what came of a request."""

from typing import Any, Final, TypedDict

import httpx2

from rbm_client.errors import (
    ConnectionFailedError,
    ConnectionLostError,
    InputError,
    TimedOutError,
    TransportError,
)
from rbm_client.exchange import Answer, Send

LOST: Final = (httpx2.NetworkError, httpx2.RemoteProtocolError)


class Settings(TypedDict):
    """What both clients of httpx2 take."""

    base_url: str
    headers: dict[str, str]
    limits: httpx2.Limits


def settings(base_url: str, api_key: str | None, max_connections: int) -> Settings:
    """Return the settings of a client.

    Raises:
        InputError: an address or a key that no request could have. The key is not repeated.
    """
    if not _is_address(base_url):
        raise InputError(f"base_url: found {base_url!r}; wanted an address as http://localhost:8000")
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key):
        raise InputError("api_key: found none or characters that no key has; wanted printable ASCII")
    return {
        "base_url": base_url,
        "headers": {} if api_key is None else {"X-API-Key": api_key},
        "limits": httpx2.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
    }


def _is_address(base_url: str) -> bool:
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


def request_of(send: Send) -> dict[str, Any]:
    """Return the arguments with which httpx2 sends a request."""
    call = send.call
    return {
        "method": call.method,
        "url": call.path,
        "content": call.content,
        "headers": call.headers,
        "timeout": send.timeout_seconds,
    }


def answer_of(response: httpx2.Response) -> Answer:
    """Return what came back."""
    return Answer(response.status_code, dict(response.headers), response.content)


def failure_of(error: httpx2.RequestError) -> TransportError:
    """Return why nothing came back."""
    url = error.request.url
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return ConnectionFailedError(
            f"{url}: found no connection ({_reason(error)}); wanted one to the service"
        )
    if isinstance(error, httpx2.TimeoutException):
        return TimedOutError(f"{url}: found no answer in time ({_reason(error)}); wanted one")
    if isinstance(error, LOST):
        return ConnectionLostError(
            f"{url}: found the connection at its end ({_reason(error)}); wanted an answer"
        )
    return TransportError(f"{url}: found {_reason(error)}; wanted an answer")


def _reason(error: httpx2.RequestError) -> str:
    return str(error) or type(error).__name__
