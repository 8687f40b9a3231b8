"""`/admin/...`: routes by which an operator decides which version is served; they need the admin key."""

from fastapi import APIRouter, Request

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.schemas import ChangeResponse, ModelRef, PromoteRequest
from rbm_service.api.validation import check_media_type, parse
from rbm_service.serving.manager import Change

router = APIRouter(prefix="/admin/models/{name}", tags=["admin"])


@router.post("/promote")
async def promote_model(request: Request) -> ChangeResponse:
    """Load a version, verify it, write it to `CURRENT` and put it in service. If any of that fails, nothing
    has changed."""
    check_media_type(dict(request.scope["headers"]))
    body = parse(await request.body(), PromoteRequest)
    manager = app_state_of(request).manager
    return _response(await manager.promote(request.path_params["name"], body.version))


@router.post("/rollback")
async def rollback_model(request: Request) -> ChangeResponse:
    """Promote the next lower version than the promoted one, in the same way."""
    return _response(await app_state_of(request).manager.rollback(request.path_params["name"]))


@router.post("/reload")
async def reload_model(request: Request) -> ChangeResponse:
    """Check at once whether another version was promoted or another shadow named. A version that was refused
    is tried again."""
    return _response(await app_state_of(request).manager.reload(request.path_params["name"]))


def _response(change: Change) -> ChangeResponse:
    model = ModelRef(name=change.name, version=change.version)
    return ChangeResponse(model=model, former_version=change.former_version)
