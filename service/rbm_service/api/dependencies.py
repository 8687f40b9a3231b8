"""What the routes work with; `create_app` has it put in the state of every request."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from rbm_service.observability.metrics import Metrics
from rbm_service.serving.manager import ModelManager
from rbm_service.serving.registry import ModelRegistry
from rbm_service.settings import Settings
from rbm_service.web.api_keys import KeyRing

APP_STATE: Final = "app_state"  # where it lies in the state of a request


@dataclass(frozen=True, slots=True)
class AppState:
    """What every route of one service works with."""

    settings: Settings
    metrics: Metrics
    keys: KeyRing
    models: ModelRegistry
    manager: ModelManager


def app_state_of(request: Request) -> AppState:
    """The state of the service that received a request."""
    app_state: AppState = request.scope["state"][APP_STATE]
    return app_state


class PlainRoute(APIRoute):
    """A route whose function takes the request and gives the response, with nothing to inject or convert."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function itself: what FastAPI would do around it costs as much as reading the body."""
        return self.endpoint
