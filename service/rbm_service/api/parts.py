"""What the routes work with; `create_app` leaves it in the application's state."""

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from rbm_service.keys import KeyRing
from rbm_service.metrics import Metrics
from rbm_service.settings import Settings
from rbm_service.slot import ModelSlot


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one service."""

    settings: Settings
    metrics: Metrics
    keys: KeyRing
    slot: ModelSlot


def parts_of(request: Request) -> Parts:
    """The parts of the service that received a request."""
    return cast(Parts, request.app.state.parts)
