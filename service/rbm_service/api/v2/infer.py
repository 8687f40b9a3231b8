"""`POST /v2/models/…/infer`: the tensors of a model, in JSON or as bytes behind it.

Bytes are the way for many rows: they become the graph's inputs where they lie in the body, and outputs become
the answer without a list of numbers in between.
"""

from functools import partial
from time import perf_counter
from typing import Final

from fastapi import APIRouter, Request, Response

from rbm_bundle import Manifest
from rbm_service.api.dependencies import AppState, PlainRoute, app_state_of
from rbm_service.api.inference import (
    MAX_BYTES_ON_LOOP,
    MAX_RECORD_BYTES_ON_LOOP,
    MAX_VALUES_ON_LOOP,
    Computed,
    compute,
    count_failure,
    finish,
    offload,
)
from rbm_service.api.number_arrays import cut_out, least_number_of_items, parse_rest
from rbm_service.api.v2.models import MODEL, VERSION, version_of
from rbm_service.api.v2.outputs import Wanted, answer_body, needs_explanation, wanted_outputs, with_unknown
from rbm_service.api.v2.requests import InferRequest
from rbm_service.api.v2.responses import InferAnswer
from rbm_service.api.v2.tensors import read_query
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.node_query import NodeQuery
from rbm_service.serving.model import ServedModel
from rbm_service.settings import Settings
from rbm_service.web.api_keys import Headers
from rbm_service.web.compression import accepted_encoding, compress, expand_body
from rbm_service.web.limits import RawBody
from rbm_service.web.request_context import RequestContext, context_of

DATA: Final = b'"data"'
JSON_LENGTH: Final = "Inference-Header-Content-Length"


router = APIRouter(tags=["open inference"], route_class=PlainRoute)


@router.post(f"{VERSION}/infer", name="infer_model_version", response_model=InferAnswer)
@router.post(f"{MODEL}/infer", response_model=InferAnswer)
async def infer_model(request: Request) -> Response:
    """Computes outputs of the graph for some nodes, by id, features or positions. Data may be JSON, or bytes
    behind the JSON."""
    app_state, context = app_state_of(request), context_of(request.scope)
    try:
        raw = await context.body()
        with app_state.models.lease(request.path_params["model"], version_of(request)) as model:
            return await _answer(context, app_state, model, raw)
    except BaseException as error:
        count_failure(app_state.metrics, error)
        raise


async def _answer(context: RequestContext, app_state: AppState, model: ServedModel, raw: RawBody) -> Response:
    started, headers, manifest = perf_counter(), context.headers, model.bundle.manifest
    body = await expand_body(raw, context)
    is_long = len(body) > MAX_BYTES_ON_LOOP or b"content-encoding" in headers
    read = partial(read_question, body, headers, manifest, app_state.settings)
    asked, query, wanted = await offload(read) if is_long else read()
    is_long = is_long or (query.records is not None and len(body) > MAX_RECORD_BYTES_ON_LOOP)
    explain = needs_explanation(wanted)
    computed = await compute(
        context, app_state, model, query, started, is_long, explain, asked.timeout_seconds
    )
    write = partial(_response, asked.id, model, wanted, computed, headers)
    is_long = computed.rows.num_asked * len(manifest.labels) > MAX_VALUES_ON_LOOP
    response = await offload(write) if is_long else write()
    return finish(response, context, app_state, model, computed)


def read_question(
    body: RawBody, headers: Headers, manifest: Manifest, settings: Settings
) -> tuple[InferRequest, NodeQuery, list[Wanted]]:
    """Read a body: the request, the query that it asks and the outputs that it wants.

    Raises:
        ServiceError: it is no JSON, or no request that this model can answer.
    """
    length = _json_length(headers.get(JSON_LENGTH.lower().encode()), len(body))
    text, max_rows = body if length == len(body) else body[:length], settings.max_request_rows
    rest: RawBody = text
    texts: list[RawBody] = []
    if length > MAX_BYTES_ON_LOOP:
        rest, texts = cut_out(text, {DATA: None})
        if (least := least_number_of_items(rest, DATA)) > max_rows:
            expected = f"at most {max_rows} strings"
            raise InvalidRequestError.mismatch("data", expected=expected, got=f"{least} or more")
    request = parse_rest(rest, text, InferRequest)
    wanted = wanted_outputs(request, len(manifest.labels))
    query = read_query(request.inputs, memoryview(body)[length:], manifest, max_rows, texts)
    query.on_unknown = request.parameters.on_unknown
    return request, query, wanted


def _json_length(header: bytes | None, body_length: int) -> int:
    """How much of a body is JSON."""
    if header is None:
        return body_length
    length = int(header) if header.isdigit() and len(header) <= 10 else -1
    if not 0 <= length <= body_length:
        found = header[:20].decode("latin-1")
        raise InvalidRequestError(f"{JSON_LENGTH}: expected a number up to {body_length}, got {found!r}")
    return length


def _response(
    request_id: str | None, model: ServedModel, wanted: list[Wanted], computed: Computed, headers: Headers
) -> Response:
    outputs, rows = computed.outputs.outputs, computed.rows
    outputs = with_unknown(outputs, rows) if rows.unknown else outputs
    head = {"model_name": model.name, "model_version": str(model.version)}
    if request_id is not None:
        head["id"] = request_id
    content, json_length = answer_body(head, model.bundle.manifest.labels, wanted, outputs)
    own = {} if json_length is None else {JSON_LENGTH: str(json_length)}
    encoding = accepted_encoding(headers.get(b"accept-encoding", b""))
    if encoding is not None:
        content = compress(content, encoding)
        own["Content-Encoding"] = encoding
    media_type = "application/json" if json_length is None else "application/octet-stream"
    return Response(content, headers=own, media_type=media_type)
