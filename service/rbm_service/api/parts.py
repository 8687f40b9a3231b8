"""What the routes work with; `create_app` has it put in the state of every request."""

from dataclasses import dataclass
from typing import Final

from fastapi import Request

from rbm_service.keys import KeyRing
from rbm_service.metrics import Metrics
from rbm_service.models import ServedModels
from rbm_service.reload import Reloader
from rbm_service.settings import Settings

PARTS: Final = "parts"  # where it lies there


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one service."""

    settings: Settings
    metrics: Metrics
    keys: KeyRing
    models: ServedModels
    reloader: Reloader


def parts_of(request: Request) -> Parts:
    """The parts of the service that received a request."""
    parts: Parts = request.scope["state"][PARTS]
    return parts
