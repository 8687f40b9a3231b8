"""Which model a path means."""

from fastapi import Request

from rbm_service.api.parts import parts_of
from rbm_service.errors import UnknownModelError
from rbm_service.models import shown
from rbm_service.slot import ServedModel, Tenure


def lease(request: Request) -> Tenure:
    """`with lease(request) as model`: the model that a path names, in service until the block ends.

    Raises:
        UnknownModelError: no such model is in service, or in another version.
        WarmingError, DrainingError: it is not there yet, or no more.
    """
    return parts_of(request).models.lease(request.path_params["model"], _version(request))


def present_model(request: Request) -> ServedModel:
    """The same, for a glance that awaits nothing."""
    return parts_of(request).models.current(request.path_params["model"], _version(request))


def _version(request: Request) -> int | None:
    """The version in a path, which is as text only what a number is written as."""
    version = request.path_params.get("version")
    if version is None:
        return None
    if not (version.isascii() and version.isdigit() and len(version) <= 18 and version == str(int(version))):
        raise UnknownModelError(f"no model has a version {shown(version)}")
    return int(version)
