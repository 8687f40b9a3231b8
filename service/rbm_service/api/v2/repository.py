"""`POST /v2/repository/…`: which models of the repository are in service; needs the admin key."""

from fastapi import APIRouter, Request

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.v2.requests import ChangeRequest, IndexRequest
from rbm_service.api.v2.responses import Done, ModelIndexRow
from rbm_service.api.validation import parse

router = APIRouter(prefix="/v2/repository", tags=["open inference"])


@router.post("/index", response_model_exclude_none=True, response_description="One row for each model")
async def index_repository(request: Request) -> list[ModelIndexRow]:
    """Lists the models in service and on their way, those that were refused, and what else the repository
    holds."""
    asked = parse(await request.body() or b"{}", IndexRequest)
    rows = await app_state_of(request).manager.index()
    shown = [row for row in rows if row.state == "READY" or not asked.ready]
    return [ModelIndexRow.model_validate(row, from_attributes=True) for row in shown]


@router.post("/models/{model}/load")
async def load_model(request: Request) -> Done:
    """Loads the promoted version of a model, verifies it and puts it in service."""
    parse(await request.body() or b"{}", ChangeRequest)
    await app_state_of(request).manager.load(request.path_params["model"])
    return Done()


@router.post("/models/{model}/unload")
async def unload_model(request: Request) -> Done:
    """Takes a model out of service; answers when all that the model had begun is answered."""
    parse(await request.body() or b"{}", ChangeRequest)
    await app_state_of(request).manager.unload(request.path_params["model"])
    return Done()
