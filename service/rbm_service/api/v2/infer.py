"""`POST /v2/models/…/infer`: the tensors of a model, in JSON or as bytes behind it.

Bytes are the way for many rows: they become the graph's inputs where they lie in the body, and outputs become
the answer without a list of numbers in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Final

from fastapi import Request, Response

from rbm_bundle import Manifest
from rbm_service.api.dependencies import AppState, app_state_of
from rbm_service.api.inference import MAX_BYTES_ON_LOOP, comparison, compute, count_failure, finish, offload
from rbm_service.api.number_arrays import cut_out
from rbm_service.api.openapi import body_of
from rbm_service.api.v2.models import lease
from rbm_service.api.v2.outputs import (
    AnsweringModel,
    Wanted,
    answer_body,
    needs_explanation,
    wanted_outputs,
)
from rbm_service.api.v2.requests import InferRequest
from rbm_service.api.v2.responses import InferAnswer
from rbm_service.api.v2.routes import JSON, MODEL, VERSION, add_route, new_router
from rbm_service.api.v2.tensors import read_query
from rbm_service.api.validation import parse
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.preprocessing import NodeQuery
from rbm_service.runtime.tensors import Tensors
from rbm_service.serving.model import ServedModel
from rbm_service.settings import Settings
from rbm_service.web.compression import accepted_encoding, compress
from rbm_service.web.request_context import RequestContext, context_of

VALUES_ON_LOOP: Final = 8192  # numbers of each output: written out in a few milliseconds
BINARY: Final = "application/octet-stream"
JSON_LENGTH: Final = "Inference-Header-Content-Length"

JSON_LENGTH_HEADER: Final = {
    "name": JSON_LENGTH,
    "in": "header",
    "description": "Bytes of JSON at the start of a body with binary tensors; left out, all of it is JSON",
    "schema": {"type": "integer", "minimum": 0},
}

Headers = Mapping[bytes, bytes]

router = new_router()


@dataclass(frozen=True, slots=True)
class Question:
    """A request, the query it asks and the outputs it wants."""

    request: InferRequest
    query: NodeQuery
    wanted: list[Wanted]


async def infer_model(request: Request) -> Response:
    """Computes outputs of the graph for some nodes, by id, features or positions. Data may be JSON, or bytes
    behind the JSON."""
    app_state, context = app_state_of(request), context_of(request.scope)
    try:
        raw = await context.body()
        with lease(request) as model:
            return await _answer(context, app_state, raw, model)
    except BaseException as error:
        count_failure(app_state.metrics, error)
        raise


async def _answer(context: RequestContext, app_state: AppState, raw: bytes, model: ServedModel) -> Response:
    started, headers = perf_counter(), context.headers
    manifest = model.bundle.manifest
    body = await context.expand(raw)
    is_long = len(body) > MAX_BYTES_ON_LOOP or b"content-encoding" in headers
    question = await offload(is_long, partial(read_question, body, headers, manifest, app_state.settings))
    computed = await compute(
        context,
        app_state,
        question.query,
        model,
        started,
        is_long=is_long,
        explain=needs_explanation(question.wanted),
        timeout_seconds=question.request.timeout_seconds,
    )
    answering = AnsweringModel(model.name, model.version, manifest.labels)
    outputs = computed.outputs
    write = partial(_response, question.request.id, answering, question.wanted, outputs.outputs, headers)
    response = await offload(computed.rows.num_rows * len(manifest.labels) > VALUES_ON_LOOP, write)
    response.headers["Server-Timing"] = finish(context, app_state, model, computed)
    response.background = comparison(app_state, question.query, outputs, model)
    return response


def read_question(body: bytes, headers: Headers, manifest: Manifest, settings: Settings) -> Question:
    """Read a body.

    Raises:
        ServiceError: it is no JSON, or no request that this model can answer.
    """
    length = _json_length(headers.get(JSON_LENGTH.lower().encode()), len(body))
    rest, texts = cut_out(body[:length], [b'"data"']) if length > MAX_BYTES_ON_LOOP else (body[:length], [])
    request = parse(rest, InferRequest)
    wanted = wanted_outputs(request, len(manifest.labels))
    query = read_query(request.inputs, memoryview(body)[length:], manifest, settings.max_request_rows, texts)
    return Question(request, query, wanted)


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
    request_id: str | None,
    model: AnsweringModel,
    wanted: list[Wanted],
    outputs: Tensors,
    headers: Headers,
) -> Response:
    body = answer_body(request_id, model, wanted, outputs)
    extra: dict[str, str] = {}
    if body.header_length is not None:
        extra[JSON_LENGTH] = str(body.header_length)
    content = body.content
    encoding = accepted_encoding(headers.get(b"accept-encoding", b""))
    if encoding is not None:
        content = compress(content, encoding)
        extra["Content-Encoding"] = encoding
    return Response(content, headers=extra, media_type=JSON if body.header_length is None else BINARY)


for path in (MODEL, VERSION):
    add_route(
        router,
        f"{path}/infer",
        infer_model,
        InferAnswer,
        errors=(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        method="POST",
        headers=[JSON_LENGTH_HEADER],
        body=body_of(InferRequest),
    )
