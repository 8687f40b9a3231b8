"""`POST /v2/repository/…`: which models of the repository are in service; only with the admin's key."""

from fastapi import Request, Response

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.v2.requests import ChangeRequest, IndexRequest, parse
from rbm_service.api.v2.responses import Done, ModelIndex, ModelIndexRow
from rbm_service.api.v2.routes import add_route, body_of, json_response, new_router
from rbm_service.serving.manager import IndexRow

MODEL = "/v2/repository/models/{model}"


async def index(request: Request) -> Response:
    """The models in service and on their way, the last refusals, and what else the repository holds."""
    asked = parse(await request.body() or b"{}", IndexRequest)
    rows = [_index_row(row) for row in await app_state_of(request).manager.index()]
    return json_response(ModelIndex([row for row in rows if row.state == "READY" or not asked.ready]))


async def load(request: Request) -> Response:
    """Load the promoted version of a model, verify it, put it in service."""
    parse(await request.body() or b"{}", ChangeRequest)
    await app_state_of(request).manager.load(request.path_params["model"])
    return json_response(Done())


async def unload(request: Request) -> Response:
    """Take a model out of service; answers when all that it had begun is answered."""
    parse(await request.body() or b"{}", ChangeRequest)
    await app_state_of(request).manager.unload(request.path_params["model"])
    return json_response(Done())


def _index_row(row: IndexRow) -> ModelIndexRow:
    version = None if row.version is None else str(row.version)
    return ModelIndexRow(name=row.name, version=version, state=row.state, reason=row.reason)


router = new_router()
for path, endpoint, answer, body in (
    ("/v2/repository/index", index, ModelIndex, IndexRequest),
    (f"{MODEL}/load", load, Done, ChangeRequest),
    (f"{MODEL}/unload", unload, Done, ChangeRequest),
):
    add_route(
        router,
        path,
        endpoint,
        answer,
        errors=(400, 404, 408, 409, 413, 422, 503),
        method="POST",
        body=body_of(body, required=False),
    )
