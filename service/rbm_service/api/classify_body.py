"""A body of `/classify`: the nodes it asks about, and what its caller wants to read of them."""

from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from rbm_bundle.nodes import MAX_MAGNITUDE
from rbm_service.api.number_arrays import (
    NotNumbersError,
    NumberText,
    cut_out,
    is_json,
    least_number_of_items,
    read_document,
    text_of,
)
from rbm_service.api.schemas import ClassifyRequest
from rbm_service.api.validation import parse
from rbm_service.errors import InvalidJsonError, InvalidRequestError, ServiceError
from rbm_service.inference.features import CsrRows
from rbm_service.inference.preprocessing import MAX_NEIGHBORS, NodeQuery, check_num_rows

MATRICES: Final = ("features", "positions")
CSR_PARTS: Final = ("indptr", "indices", "values")
KEYS: Final = [f'"{key}"'.encode() for key in (*MATRICES, *CSR_PARTS)]
NO_OPTIONS: Final = ClassifyRequest()
MAX_OTHER_BYTES: Final = 4 * 2**20  # of a body, beside features and positions: ids are 60 bytes at most
# What a part is put into, so that the schema says what is wrong with it.
SMALLEST_BODIES: Final = {
    "features": b'{"features":[%b]}',
    "positions": b'{"positions":[%b]}',
    "indptr": b'{"features":{"indptr":[%b],"indices":[]}}',
    "indices": b'{"features":{"indptr":[0],"indices":[%b]}}',
    "values": b'{"features":{"indptr":[0],"indices":[],"values":[%b]}}',
}


def read_short(raw: bytes) -> tuple[ClassifyRequest, NodeQuery]:
    """Read a body at once.

    Raises:
        InvalidJsonError, InvalidRequestError: it is no JSON, or not what the schema says.
    """
    if b'"features"' in raw or b'"positions"' in raw:
        found = read_document(raw, MATRICES)
        if found is not None:
            rest, rows = found
            try:
                options = ClassifyRequest.model_validate(rest) if rest else NO_OPTIONS
            except ValidationError:
                pass  # the validator of the whole body says what is wrong, and where
            else:
                query = options.query()
                query.features = rows.get("features", query.features)
                query.positions = rows.get("positions", query.positions)
                return options, query
    options = parse(raw, ClassifyRequest)
    return options, options.query()


def read_long(raw: bytes, max_rows: int) -> tuple[ClassifyRequest, NodeQuery]:
    """Read a body piece by piece, so that other threads get their turn.

    Raises:
        InvalidJsonError, InvalidRequestError: as `read_short`; a list that is too long is refused
            before it is read.
    """
    rest, texts = cut_out(raw, KEYS)
    _check_lists(rest, max_rows)
    options = parse(rest, ClassifyRequest)
    query = options.query()
    for key in MATRICES:
        text = text_of(getattr(query, key), texts)
        if text is not None:
            check_num_rows(key, text.text.count(b"["), max_rows)
            setattr(query, key, _read(key, text))
    if isinstance(query.features, CsrRows):
        columns = {part: getattr(query.features, part) for part in CSR_PARTS}
        found = {part: text_of(column, texts) for part, column in columns.items()}
        query.features = replace(
            query.features, **{part: _read(part, text) for part, text in found.items() if text is not None}
        )
    return options, query


def _check_lists(rest: bytes, max_rows: int) -> None:
    for key, most in (("node_ids", max_rows), ("neighbors", MAX_NEIGHBORS + max_rows)):
        least = least_number_of_items(rest, f'"{key}"'.encode())
        if least > most:
            raise InvalidRequestError.mismatch(key, expected=f"at most {most} ids", got=f"{least} or more")
    if len(rest) > MAX_OTHER_BYTES and is_json(rest):
        expected = f"at most {MAX_OTHER_BYTES} bytes beside features and positions"
        raise InvalidRequestError.mismatch(expected=expected, got=str(len(rest)))


def _read(key: str, text: NumberText) -> Any:  # noqa: ANN401 - of the type that the column takes
    try:
        return text.rows() if key in MATRICES else text.numbers("d" if key == "values" else "i")
    except NotNumbersError as error:
        raise _explained(error, key) from None


def _explained(error: NotNumbersError, key: str) -> ServiceError:
    """What the schema says of the part that is wrong, at its place in the whole."""
    depth = 1 if key in MATRICES else 2
    try:
        parse(SMALLEST_BODIES[key] % error.part, ClassifyRequest)
    except InvalidRequestError as refusal:
        moved = [replace(item, loc=_moved(item.loc, depth, error.index)) for item in refusal.errors]
        return InvalidRequestError("; ".join(map(str, moved)), errors=moved)
    except InvalidJsonError as refusal:
        return refusal
    # What pydantic takes and simdjson does not are integers of more than 64 bits.
    return InvalidRequestError.mismatch(key, expected=f"numbers within ±{MAX_MAGNITUDE:.0e}", got="others")


def _moved(loc: tuple[str | int, ...], depth: int, index: int) -> tuple[str | int, ...]:
    """A place within a part as one within the whole."""
    first = loc[depth : depth + 1]
    return (*loc[:depth], *(index + int(place) for place in first), *loc[depth + 1 :])
