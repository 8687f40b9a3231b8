"""What the routes work with; `create_app` leaves it in the application's state."""

from dataclasses import dataclass, field

from fastapi import Request

from rbm_service.api.waiting import Lookouts
from rbm_service.keys import KeyRing
from rbm_service.metrics import Metrics
from rbm_service.models import ServedModels
from rbm_service.reload import Reloader
from rbm_service.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one service."""

    settings: Settings
    metrics: Metrics
    keys: KeyRing
    models: ServedModels
    reloader: Reloader
    lookouts: Lookouts = field(default_factory=Lookouts)


def parts_of(request: Request) -> Parts:
    """The parts of the service that received a request."""
    parts: Parts = request.scope["app"].parts
    return parts
