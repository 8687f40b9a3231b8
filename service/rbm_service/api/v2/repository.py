"""`POST /v2/repository/…`: which models of the repository are in service; needs the admin key."""

from fastapi import Request, Response

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.openapi import body_of
from rbm_service.api.v2.requests import ChangeRequest, IndexRequest
from rbm_service.api.v2.responses import Done, ModelIndex, ModelIndexRow
from rbm_service.api.v2.routes import add_route, json_response, new_router
from rbm_service.api.validation import parse
from rbm_service.serving.manager import IndexRow

MODEL = "/v2/repository/models/{model}"


async def index_repository(request: Request) -> Response:
    """Lists the models in service and on their way, those that were refused, and what else the repository
    holds."""
    asked = parse(await request.body() or b"{}", IndexRequest)
    rows = [_index_row(row) for row in await app_state_of(request).manager.index()]
    return json_response(ModelIndex([row for row in rows if row.state == "READY" or not asked.ready]))


async def load_model(request: Request) -> Response:
    """Loads the promoted version of a model, verifies it and puts it in service."""
    parse(await request.body() or b"{}", ChangeRequest)
    await app_state_of(request).manager.load(request.path_params["model"])
    return json_response(Done())


async def unload_model(request: Request) -> Response:
    """Takes a model out of service; answers when all that the model had begun is answered."""
    parse(await request.body() or b"{}", ChangeRequest)
    await app_state_of(request).manager.unload(request.path_params["model"])
    return json_response(Done())


def _index_row(row: IndexRow) -> ModelIndexRow:
    version = None if row.version is None else str(row.version)
    return ModelIndexRow(name=row.name, version=version, state=row.state, reason=row.reason)


router = new_router()
for path, endpoint, answer, body, errors in (
    ("/v2/repository/index", index_repository, ModelIndex, IndexRequest, ()),
    (f"{MODEL}/load", load_model, Done, ChangeRequest, (404, 409, 503)),
    (f"{MODEL}/unload", unload_model, Done, ChangeRequest, (404, 409, 503)),
):
    add_route(
        router,
        path,
        endpoint,
        answer,
        errors=(400, 408, 413, 422, 429, *errors),
        method="POST",
        body=body_of(body, required=False),
    )
