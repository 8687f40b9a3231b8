"""`/admin/...`: routes by which an operator decides which version is served; they need the admin key."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.openapi import body_of, problem_responses
from rbm_service.api.schemas import ChangeResponse, ModelRef, PromoteRequest
from rbm_service.api.validation import check_media_type, parse
from rbm_service.serving.manager import Change

REFUSALS = problem_responses(404, 409, 422, 503)
Name = Annotated[str, Path(description="Name of a model in service", examples=["tiny"])]

router = APIRouter(prefix="/admin/models/{name}", tags=["admin"])


@router.post(
    "/promote",
    responses={**problem_responses(400, 408, 413, 415, 429), **REFUSALS},
    openapi_extra=body_of(PromoteRequest),
)
async def promote_model(name: Name, request: Request) -> ChangeResponse:
    """Load a version, verify it, write it to `CURRENT` and put it in service. If any of that fails, nothing
    has changed."""
    check_media_type(dict(request.scope["headers"]))
    body = parse(await request.body(), PromoteRequest)
    return _response(await app_state_of(request).manager.promote(name, body.version))


@router.post("/rollback", responses=REFUSALS)
async def rollback_model(name: Name, request: Request) -> ChangeResponse:
    """Promote the next lower version than the promoted one, in the same way."""
    return _response(await app_state_of(request).manager.rollback(name))


@router.post("/reload", responses=REFUSALS)
async def reload_model(name: Name, request: Request) -> ChangeResponse:
    """Check at once whether another version was promoted or another shadow named. A version that was refused
    is tried again."""
    return _response(await app_state_of(request).manager.reload(name))


def _response(change: Change) -> ChangeResponse:
    model = ModelRef(name=change.name, version=change.version)
    return ChangeResponse(model=model, former_version=change.former_version)
