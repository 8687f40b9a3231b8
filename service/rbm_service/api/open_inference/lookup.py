"""Which model a path means."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request

from rbm_service.api.parts import parts_of
from rbm_service.errors import NotFoundError
from rbm_service.slot import ServedModel


@contextmanager
def leased_model(request: Request) -> Iterator[ServedModel]:
    """The model that a path names, in service until the block ends.

    Raises:
        NotFoundError: another model is in service, or another version of it.
        WarmingError, DrainingError: none is.
    """
    with parts_of(request).slot.lease() as model:
        _check(model, request)
        yield model


def present_model(request: Request) -> ServedModel:
    """The same, for a glance that awaits nothing."""
    model = parts_of(request).slot.current()
    _check(model, request)
    return model


def _check(model: ServedModel, request: Request) -> None:
    name, version = request.path_params["model"], request.path_params.get("version")
    if name != model.name:
        raise NotFoundError(f"no model {name[:100]!r} is in service")
    if version not in (None, str(model.version)):
        raise NotFoundError(f"version {version[:100]!r} of {name} is not in service, {model.version} is")
