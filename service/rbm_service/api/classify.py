"""`POST /classify`: the classes of a batch of nodes."""

from functools import partial
from time import perf_counter
from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask

from rbm_service.api.classify_body import read_long, read_short
from rbm_service.api.dependencies import APP_STATE, AppState, PlainRoute
from rbm_service.api.inference import (
    MAX_BYTES_ON_LOOP,
    comparison,
    compute,
    count_failure,
    finish,
    offload,
)
from rbm_service.api.openapi import body_of, problem_responses
from rbm_service.api.schemas import ClassifyRequest, ClassifyResponse
from rbm_service.api.validation import JSON, check_media_type
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.postprocessing import values_per_row, write_answer
from rbm_service.inference.preprocessing import NodeQuery
from rbm_service.serving.model import ServedModel
from rbm_service.web.request_context import REQUEST_CONTEXT, RequestContext

VALUES_AT_ONCE: Final = 8192  # names and numbers of an answer: written out in a few milliseconds


class JsonResponse(Response):
    """JSON with status 200; without what Starlette does around an answer, which costs more than the answer.

    Args:
        timing: the value of `Server-Timing`.
        afterwards: what is left to do once the answer is out.
    """

    def __init__(self, content: bytes, timing: str, afterwards: BackgroundTask | None) -> None:
        self.body = content
        self.status_code = 200
        self.background = afterwards
        self.raw_headers = [
            (b"content-length", b"%d" % len(content)),
            (b"content-type", JSON),
            (b"server-timing", timing.encode()),
        ]


router = APIRouter(tags=["classify"], route_class=PlainRoute)


@router.post(
    "/classify",
    response_class=Response,
    responses={
        200: {"model": ClassifyResponse, "description": "One prediction per node, in order"},
        **problem_responses(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
    },
    openapi_extra=body_of(ClassifyRequest),
)
async def classify(request: Request) -> Response:
    """Classify nodes by id, features, neighbours or positions; times are in the header `Server-Timing`."""
    state = request.scope["state"]
    app_state: AppState = state[APP_STATE]
    context: RequestContext = state[REQUEST_CONTEXT]
    try:
        if context.headers.get(b"content-type") != JSON or b"content-encoding" in context.headers:
            check_media_type(context.headers)
        raw = await context.body()
        started = perf_counter()
        if len(raw) <= MAX_BYTES_ON_LOOP:
            options, query = read_short(raw)
        else:
            options, query = await offload(True, partial(read_long, raw, app_state.settings.max_request_rows))
        with app_state.models.lease(options.model, options.version) as model:  # of one version alone
            return await _answer(context, app_state, options, query, model, started, len(raw))
    except BaseException as error:
        count_failure(app_state.metrics, error)
        raise


async def _answer(
    context: RequestContext,
    app_state: AppState,
    options: ClassifyRequest,
    query: NodeQuery,
    model: ServedModel,
    started: float,
    body_bytes: int,
) -> Response:
    labels = model.bundle.manifest.labels
    if options.top_k > len(labels):
        msg = f"found {options.top_k}, wanted at most {len(labels)} (classes)"
        raise InvalidRequestError.at("top_k", msg=msg)
    computed = await compute(
        context,
        app_state,
        query,
        model,
        started,
        is_long=body_bytes > MAX_BYTES_ON_LOOP,
        explain=options.explain,
        timeout_seconds=options.timeout_seconds,
    )
    rows, outputs = computed.rows, computed.outputs
    head = {"name": model.name, "version": model.version}
    rows_at_once = max(1, VALUES_AT_ONCE // values_per_row(options, outputs))
    write = partial(
        write_answer, head, outputs, options.node_ids, rows.sources, options, labels, rows_at_once
    )
    content, num_abstained = await offload(rows.num_rows > rows_at_once, write)
    timing = finish(context, app_state, model, computed, num_abstained)
    return JsonResponse(content, timing, comparison(app_state, query, outputs, model))
