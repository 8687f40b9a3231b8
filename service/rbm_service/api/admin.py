"""`/admin/...`: routes for those who decide which version is served; only where there is a key to them."""

from fastapi import APIRouter, Request

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.openapi import body_of, problem_responses
from rbm_service.api.schemas import ChangeResponse, ModelRef, PromoteRequest
from rbm_service.api.validation import check_media_type, parse
from rbm_service.serving.manager import Change

REFUSALS = problem_responses(404, 409, 422, 503)

router = APIRouter(prefix="/admin/models/{name}", tags=["admin"])


@router.post(
    "/promote",
    responses={**problem_responses(400, 408, 413, 415), **REFUSALS},
    openapi_extra=body_of(PromoteRequest),
)
async def promote(name: str, request: Request) -> ChangeResponse:
    """Put a version in service: load it, verify it, write it to `CURRENT`, switch. All of that or nothing."""
    check_media_type(dict(request.scope["headers"]))
    body = parse(await request.body(), PromoteRequest)
    return _response(await app_state_of(request).manager.promote(name, body.version))


@router.post("/rollback", responses=REFUSALS)
async def rollback(name: str, request: Request) -> ChangeResponse:
    """Promote the next lower version in the same way."""
    return _response(await app_state_of(request).manager.rollback(name))


@router.post("/reload", responses=REFUSALS)
async def reload(name: str, request: Request) -> ChangeResponse:
    """Look at once whether another version is promoted, also one that was refused before; follow `SHADOW`."""
    return _response(await app_state_of(request).manager.reload(name))


def _response(change: Change) -> ChangeResponse:
    model = ModelRef(name=change.name, version=change.version)
    return ChangeResponse(model=model, former_version=change.former_version)
