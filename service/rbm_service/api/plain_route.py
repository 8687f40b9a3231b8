"""A route without a framework around it."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

RouteHandler = Callable[[Request], Coroutine[Any, Any, Response]]


class PlainRoute(APIRoute):
    """A route whose function takes the request and gives the response, with nothing to inject or convert."""

    def get_route_handler(self) -> RouteHandler:
        """The function itself: what FastAPI would do around it costs as much as reading the body."""
        return self.endpoint
