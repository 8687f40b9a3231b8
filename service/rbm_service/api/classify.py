"""`POST /classify`: the classes of a batch of nodes.

The route comes first, then how its body is read: a short one at once, a long one piece by piece.
"""

import re
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, Final

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from rbm_bundle.nodes import MAX_MAGNITUDE
from rbm_service.api.dependencies import APP_STATE, AppState, PlainRoute
from rbm_service.api.inference import (
    MAX_BYTES_ON_LOOP,
    MAX_RECORD_BYTES_ON_LOOP,
    MAX_VALUES_ON_LOOP,
    compute,
    count_failure,
    finish,
    offload,
)
from rbm_service.api.number_arrays import (
    NotNumbersError,
    cut_out,
    least_number_of_items,
    parse_rest,
    read_array,
    read_document,
    text_of,
)
from rbm_service.api.schemas import ClassifyRequest, ClassifyResponse, SparseFeatures
from rbm_service.api.validation import JSON, check_media_type, parse, refusal_of
from rbm_service.errors import InvalidJsonError, InvalidRequestError, ServiceError
from rbm_service.inference.features import CsrRows, Matrix
from rbm_service.inference.node_query import NodeQuery
from rbm_service.inference.postprocessing import values_per_row, write_answer
from rbm_service.inference.preprocessing import MAX_NEIGHBORS, check_num_rows
from rbm_service.web.limits import RawBody
from rbm_service.web.request_context import REQUEST_CONTEXT, RequestContext

# What a part of a column is put into, so that the schema says what is wrong with it.
SMALLEST_BODIES: Final = {
    "features": b'{"features":[%b]}',
    "positions": b'{"positions":[%b]}',
    "indptr": b'{"features":{"indptr":[%b],"indices":[]}}',
    "indices": b'{"features":{"indptr":[0],"indices":[%b]}}',
    "values": b'{"features":{"indptr":[0],"indices":[],"values":[%b]}}',
}
OTHER_OBJECTS: Final = 2  # of a body: itself, and sparse features
STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
NO_OPTIONS: Final = ClassifyRequest()
MATRICES: Final = ("features", "positions")
CSR_PARTS: Final = ("indptr", "indices", "values")
KEYS: Final = {f'"{key}"'.encode(): key in MATRICES for key in SMALLEST_BODIES}

router = APIRouter(tags=["classify"], route_class=PlainRoute)


class JsonResponse(Response):
    """JSON with status 200; what Starlette does around an answer costs more than the answer."""

    def __init__(self, content: bytes) -> None:
        self.body = content
        self.status_code = 200
        self.background = None
        self.raw_headers = [(b"content-length", b"%d" % len(content)), (b"content-type", JSON)]


@router.post("/classify", response_model=ClassifyResponse)
async def classify(request: Request) -> Response:
    """Classify nodes by id, features, neighbours or positions; times are in the header `Server-Timing`."""
    state = request.scope["state"]
    app_state: AppState = state[APP_STATE]
    context: RequestContext = state[REQUEST_CONTEXT]
    try:
        if context.headers.get(b"content-type") != JSON or b"content-encoding" in context.headers:
            check_media_type(context.headers)
        raw = await context.body()
        started, is_long = perf_counter(), len(raw) > MAX_BYTES_ON_LOOP
        if is_long:
            options, query = await offload(partial(read_long, raw, app_state.settings.max_request_rows))
        else:
            options, query = read_short(raw)
            is_long = query.records is not None and len(raw) > MAX_RECORD_BYTES_ON_LOOP
        with app_state.models.lease(options.model, options.version) as model:  # of one version alone
            labels = model.bundle.manifest.labels
            if options.top_k > len(labels):
                expected = f"at most {len(labels)} (classes)"
                raise InvalidRequestError.mismatch("top_k", expected=expected, got=options.top_k)
            computed = await compute(
                context, app_state, model, query, started, is_long, options.explain, options.timeout_seconds
            )
            rows, outputs = computed.rows, computed.outputs
            rows_at_once = max(1, MAX_VALUES_ON_LOOP // values_per_row(options, outputs))
            write = partial(
                write_answer, model.as_json, outputs, options.node_ids, rows, options, labels, rows_at_once
            )
            content, num_abstained = await offload(write) if rows.num_asked > rows_at_once else write()
            return finish(JsonResponse(content), context, app_state, model, computed, num_abstained)
    except BaseException as error:
        count_failure(app_state.metrics, error)
        raise


def read_short(raw: RawBody) -> tuple[ClassifyRequest, NodeQuery]:
    """Read a body at once.

    Raises:
        InvalidJsonError, InvalidRequestError: it is no JSON, or not what the schema says.
    """
    if b'"features"' in raw or b'"positions"' in raw:
        found = read_document(raw, MATRICES)
        if found is not None:
            rest, rows = found
            with suppress(ValidationError):  # the schema says of the whole body all that is wrong with it
                options = ClassifyRequest.model_validate(rest) if rest else NO_OPTIONS
                query = query_of(options)
                query.features = rows.get("features", query.features)
                query.positions = rows.get("positions", query.positions)
                return options, query
    try:  # as `parse` does, which would be one more call for every request
        options = ClassifyRequest.__pydantic_validator__.validate_json(raw)
    except ValidationError as error:
        raise refusal_of(error, ClassifyRequest) from None
    return options, query_of(options)


def read_long(raw: RawBody, max_rows: int) -> tuple[ClassifyRequest, NodeQuery]:
    """Read a body piece by piece, so that other threads get their turn.

    Raises:
        InvalidJsonError, InvalidRequestError: as `read_short`, but of the first thing that is wrong; a list
            that is too long is refused before it is read.
    """
    rest, texts = cut_out(raw, KEYS)
    for key, most in (("node_ids", max_rows), ("neighbors", MAX_NEIGHBORS + max_rows)):
        least = least_number_of_items(rest, f'"{key}"'.encode())
        if least > most:
            raise InvalidRequestError.mismatch(key, expected=f"at most {most} ids", got=f"{least} or more")
    _check_num_records(rest, max_rows)
    options = parse_rest(rest, raw, ClassifyRequest)
    query = query_of(options)
    for key in MATRICES:
        if (text := text_of(getattr(query, key), texts)) is not None:
            check_num_rows(key, text.count(b"["), max_rows)
            setattr(query, key, _read(key, text))
    if isinstance(query.features, CsrRows):
        found = {key: text_of(getattr(query.features, key), texts) for key in CSR_PARTS}
        arrays = {key: _read(key, text) for key, text in found.items() if text is not None}
        query.features = replace(query.features, **arrays)
    return options, query


def _check_num_records(rest: bytes | bytearray, max_rows: int) -> None:
    """Refuse more records than rows before they are read."""
    if b'"records"' in rest and rest.count(b"{") > max_rows + OTHER_OBJECTS:
        check_num_rows("records", STRING.sub(b"", rest).count(b"{") - OTHER_OBJECTS, max_rows)


def query_of(options: ClassifyRequest) -> NodeQuery:
    """The columns of a body; sparse rows are as yet unchecked against each other."""
    features: Matrix | SparseFeatures | CsrRows | None = options.features
    if isinstance(features, SparseFeatures):
        features = CsrRows(features.indptr, features.indices, features.values)
    return NodeQuery(
        node_ids=options.node_ids,
        features=features,
        neighbors=options.neighbors,
        positions=options.positions,
        records=options.records,
        on_unknown=options.on_unknown,
    )


def _read(key: str, text: RawBody) -> Any:  # noqa: ANN401 - of the type that the column takes
    try:
        return read_array(text, np.int64 if key in ("indptr", "indices") else np.float64)
    except NotNumbersError as error:
        raise _explained(error, key) from None


def _explained(error: NotNumbersError, key: str) -> ServiceError:
    """What the schema says of the part that is wrong, at its place in the whole."""
    depth = 1 if key in MATRICES else 2
    try:
        parse(SMALLEST_BODIES[key] % error.part, ClassifyRequest)
    except InvalidRequestError as refusal:
        wrong = refusal.errors[0]  # the first number or row that is, and the schema looks no further
        places = [int(place) + num for place, num in zip(wrong.loc[depth:], (*error.before, 0), strict=False)]
        return InvalidRequestError.at(*wrong.loc[:depth], *places, msg=wrong.msg)
    except InvalidJsonError as refusal:
        return refusal
    # What pydantic takes and simdjson does not are integers of more than 64 bits.
    return InvalidRequestError.mismatch(key, expected=f"numbers within ±{MAX_MAGNITUDE:.0e}", got="others")
