"""`POST /classify`: the classes of a batch of nodes."""

import asyncio

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json
from starlette.background import BackgroundTask

from rbm_service.api.dependencies import AppState, PlainRoute, app_state_of
from rbm_service.api.inference import MAX_BYTES_ON_LOOP, comparison, compute, count_failure
from rbm_service.api.openapi import body_of, problem_responses
from rbm_service.api.schemas import ClassifyRequest, ClassifyResponse
from rbm_service.api.validation import JSON, check_media_type, parse
from rbm_service.inference.postprocessing import check_options, decode
from rbm_service.observability.timings import Stopwatch
from rbm_service.serving.model import ServedModel
from rbm_service.web.request_context import RequestContext, context_of


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
    app_state, context = app_state_of(request), context_of(request.scope)
    try:
        check_media_type(context.headers)
        raw = await context.body()
        watch = Stopwatch()
        is_long = len(raw) > MAX_BYTES_ON_LOOP
        if is_long:
            body = await asyncio.to_thread(parse, raw, ClassifyRequest)
        else:
            body = parse(raw, ClassifyRequest)
        with app_state.models.lease(body.model, body.version) as model:
            return await _answer(context, app_state, body, model, watch, is_long)  # of one version alone
    except BaseException as error:
        count_failure(app_state.metrics, error)
        raise


async def _answer(
    context: RequestContext,
    app_state: AppState,
    body: ClassifyRequest,
    model: ServedModel,
    watch: Stopwatch,
    is_long: bool,
) -> Response:
    labels = model.bundle.manifest.labels
    query = body.query()
    check_options(body, len(labels))
    watch.lap("parse")
    computed = await compute(
        context,
        app_state,
        query,
        model,
        watch,
        is_long=is_long,
        explain=body.explain,
        timeout_seconds=body.timeout_seconds,
    )
    decoded = decode(computed.answer, query, computed.rows, body, labels)
    content = to_json(
        {"model": {"name": model.name, "version": model.version}, "predictions": decoded.predictions}
    )
    watch.lap("serialize")
    model.metrics.stages.note(watch.seconds)
    if decoded.num_abstained:
        model.metrics.abstained.inc(decoded.num_abstained)
    return JsonResponse(content, watch.header(), comparison(app_state, query, computed.answer, model))
