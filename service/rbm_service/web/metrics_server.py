"""/metrics on a port of its own.

It is served by one thread beside the event loop of the API, so that a scrape is answered while models are
loaded and when that loop stands still. Connections that send nothing, or read nothing, are closed in time.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rbm_service.web.body_limits import BodyBudget
from rbm_service.web.connection import Connection

PATIENCE_SECONDS: Final = 5.0


@contextmanager
def serving_metrics(registry: CollectorRegistry, host: str, port: int) -> Iterator[None]:
    """Serve a registry for as long as the block runs, at once and whatever the path.

    Raises:
        OSError: the port cannot be opened.
    """
    config = uvicorn.Config(
        _app(registry),
        http=Connection.within(PATIENCE_SECONDS, PATIENCE_SECONDS, BodyBudget()),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server, listener = uvicorn.Server(config), _listen(host, port)
    serving = threading.Thread(
        target=lambda: asyncio.run(server.serve([listener])), name="rbm-metrics", daemon=True
    )
    serving.start()
    try:
        yield
    finally:
        server.should_exit = True
        serving.join()


def _app(registry: CollectorRegistry) -> ASGIApp:
    render = make_asgi_app(registry)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await render(scope, _nothing_more, send)

    return app


async def _nothing_more() -> Message:
    """Wait for no body: a caller that announces one would never be answered."""
    return {"type": "http.request", "body": b"", "more_body": False}


def _listen(host: str, port: int) -> socket.socket:
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise OSError(f"/metrics cannot listen on {host}:{port}: {error}") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # inherited by connections: what is not read in time closes them
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * PATIENCE_SECONDS))
    return listener
