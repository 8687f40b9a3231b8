"""`POST /classify`: the classes of a batch of nodes."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.background import BackgroundTask

from rbm_service.api.inference import MAX_BYTES_ON_LOOP, comparison, compute, count_failure
from rbm_service.api.parts import Parts, parts_of
from rbm_service.api.plain_route import PlainRoute
from rbm_service.api.schemas import (
    CSR_FORM,
    DENSE_FORM,
    ClassifyRequest,
    ClassifyResponse,
    body_of,
    problem_responses,
)
from rbm_service.api.timing import Stopwatch
from rbm_service.errors import (
    FieldError,
    InvalidJsonError,
    InvalidRequestError,
    ServiceError,
    UnsupportedMediaTypeError,
)
from rbm_service.exchange import Exchange, exchange_of
from rbm_service.predictions import check_options, decode
from rbm_service.slot import ServedModel

JSON: Final = b"application/json"
MAX_LISTED_ERRORS: Final = 20
MAX_SHOWN_KEY: Final = 100  # characters of a key that the caller made up

Loc = tuple[str | int, ...]
Body = TypeVar("Body", bound=BaseModel)


class JsonAnswer(Response):
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
    parts, exchange = parts_of(request), exchange_of(request.scope)
    try:
        check_media_type(exchange.headers)
        raw = await exchange.body()
        watch = Stopwatch()
        is_long = len(raw) > MAX_BYTES_ON_LOOP
        if is_long:
            body = await asyncio.to_thread(parse, raw, ClassifyRequest)
        else:
            body = parse(raw, ClassifyRequest)
        with parts.models.lease(body.model, body.version) as model:
            return await _answer(exchange, parts, body, model, watch, is_long)  # of one version alone
    except BaseException as error:
        count_failure(parts.metrics, error)
        raise


async def _answer(
    exchange: Exchange,
    parts: Parts,
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
        exchange,
        parts,
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
    return JsonAnswer(content, watch.header(), comparison(parts, query, computed.answer, model))


def check_media_type(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a body that is not plain JSON; `headers` are as ASGI has them, names in lower case.

    Raises:
        UnsupportedMediaTypeError: another content type, none, or an encoding on top.
    """
    given = headers.get(b"content-type", b"")
    if given != JSON and given.split(b";")[0].strip().lower() != JSON:
        raise UnsupportedMediaTypeError("the content type must be application/json")
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() != b"identity":
        raise UnsupportedMediaTypeError("the body must come without a content encoding")


def parse(raw: bytes, schema: type[Body]) -> Body:
    """Read a body.

    Raises:
        InvalidJsonError: it is no JSON.
        InvalidRequestError: it does not fit the schema.
    """
    try:
        body: Body = schema.__pydantic_validator__.validate_json(raw)  # as `model_validate_json` does
        return body
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> ServiceError:
    if error.error_count() > MAX_LISTED_ERRORS:
        return InvalidRequestError(f"{error.error_count()} things are wrong with the body")
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return InvalidJsonError(found[0]["msg"])
    listed = _listed(found)
    return InvalidRequestError("; ".join(map(str, listed)), errors=listed)


def _listed(found: Sequence[ErrorDetails]) -> list[FieldError]:
    """What is wrong, once; pydantic speaks of both forms of `features`, the caller meant one of them."""
    an_object = ("features", CSR_FORM) not in [item["loc"] for item in found]
    meant, other = (CSR_FORM, DENSE_FORM) if an_object else (DENSE_FORM, CSR_FORM)
    shown = [
        FieldError(_shown(item["loc"], meant), item["msg"])
        for item in found
        if item["loc"][:2] != ("features", other)
    ]
    return list(dict.fromkeys(map(_of_either_kind, shown)))


def _of_either_kind(error: FieldError) -> FieldError:
    """For an id, pydantic says of each kind by itself that it is not of this one."""
    if error.loc[:1] in (("node_ids",), ("neighbors",)) and error.loc[-1] in ("int", "str"):
        return FieldError(error.loc[:-1], "Input should be an integer or a string")
    return error


def _shown(loc: Loc, form: str) -> Loc:
    place = ("features", *loc[2:]) if loc[:2] == ("features", form) else loc
    return tuple(part[:MAX_SHOWN_KEY] if isinstance(part, str) else part for part in place)
