"""Arrays of numbers in a JSON body, read without a Python object for each number.

Most of a long body is numbers. They are cut out of it, pydantic judges what is left, and simdjson reads the
numbers into arrays, a part at a time: none of it keeps the interpreter from other threads for long. A key cut
out this way can be no text inside of a string, where its quotes would be escaped.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import simdjson

from rbm_service.api.validation import Schema, parse
from rbm_service.errors import InvalidJsonError, InvalidRequestError
from rbm_service.web.limits import RawBody

Dtype = type[np.float64] | type[np.int64]
Rows = npt.NDArray[Any] | list[npt.NDArray[Any]]  # a list where they differ in length

MAX_REST_BYTES: Final = 8 * 2**20  # of a body, beside numbers: as many ids as may come, 120 bytes each
MAX_ARRAYS: Final = 64  # under one key
PART_BYTES: Final = 128 * 1024  # read in about half a millisecond
ARRAY: Final = re.compile(rb"[ \t\n\r]*:[ \t\n\r]*\[[ \t\n\r]*")
# A letter of ASCII written as an escape, in a key that would so not be found: a colon follows its string.
ESCAPED_KEY: Final = re.compile(rb'\\u00[4-7](?:[^"\\]|\\.)*"[ \t\n\r]*:')
END_OF_ROWS: Final = re.compile(rb"\](?=[ \t\n\r]*\])")
STARTS_OF_NUMBERS: Final = b"[-0123456789"

# Of short bodies, one after the other; nothing of a document outlives its reading.
_parser: Final = simdjson.Parser()


class NotNumbersError(ValueError):
    """An array that holds something else than numbers, or is no JSON.

    Attributes:
        part: the text that is wrong, without the brackets around it.
        before: how many rows or numbers come before it; of a part of a row, how many of both.
    """

    def __init__(self, part: RawBody, *before: int) -> None:
        super().__init__(part[:100])
        self.part = part
        self.before = before


def cut_out(body: RawBody, keys: Mapping[bytes, bool | None]) -> tuple[RawBody, list[RawBody]]:
    """Separate the arrays of numbers under some keys from the rest of a body.

    Args:
        keys: with their quotes; whether rows of numbers stand there, True, or numbers; None: either.

    Returns:
        The body in which the only number of each array is its place among them, and what stood between the
        brackets of each: numbers, or rows of numbers.

    Raises:
        InvalidRequestError: something else stands among the numbers of such an array, or there are very many.
    """
    texts: list[RawBody] = []
    rest = body
    for key, nested in keys.items():  # what one key has cut out, the next need not look through
        place, last, kept = key.decode().strip('"'), 0, []
        for number, (start, end) in enumerate(_arrays(rest, key)):
            if rest[start] not in STARTS_OF_NUMBERS:
                continue
            is_nested = rest.startswith(b"[", start)
            wants_rows = is_nested if nested is None else nested
            opened, closed = rest.count(b"[", start, end), rest.count(b"]", start, end)
            # A list among numbers or in a row of them is none of these.
            if not wants_rows == is_nested == (opened > 0) or opened != closed:
                if not is_json(body):
                    return body, []  # which whoever reads it will say
                expected = "rows of numbers" if wants_rows else "numbers"
                raise InvalidRequestError.mismatch(place, expected=expected, got="something else")
            if number >= MAX_ARRAYS:
                raise InvalidRequestError.mismatch(place, expected="it once", got=f"it {number} times")
            kept += [rest[last:start], (b"[%d]" if is_nested else b"%d") % len(texts)]
            texts.append(rest[start:end])
            last = end
        rest = b"".join([*kept, rest[last:]]) if kept else rest
    return (body, []) if ESCAPED_KEY.search(rest) else (rest, texts)


def text_of(column: object, texts: Sequence[RawBody]) -> RawBody | None:
    """The text for which a column stands in, None where it is no such column."""
    while isinstance(column, list):
        column = column[0] if len(column) == 1 else None
    if isinstance(column, int | float) and 0 <= column < len(texts):
        return texts[int(column)]
    return None


def least_number_of_items(body: RawBody, key: bytes) -> int:
    """How many items the longest array under a key has at least, without reading it; 0 where there is none.

    Commas count them, and where there are strings, their quotes: a backslash stands before each quote within.
    """
    most = 0
    for start, end in _arrays(body, key):
        num_quotes, num_escapes = body.count(b'"', start, end), body.count(b"\\", start, end)
        num_items = (num_quotes - num_escapes) // 2 if num_quotes else body.count(b",", start, end) + 1
        most = max(most, num_items)
    return most


def read_array(text: RawBody, dtype: Dtype) -> Rows:
    """Read numbers, or rows of numbers, in parts: of a row that is longer than a part, the numbers.

    Raises:
        NotNumbersError: they are no numbers, or of the other kind.
    """
    return _read_parts(text, dtype, text.startswith(b"["))


def _read_parts(text: RawBody, dtype: Dtype, are_rows: bool) -> Rows:
    lengths: list[int] = []
    arrays = []
    for part in _parts(text, are_rows):
        num_before = len(lengths) if are_rows else sum(lengths)
        if are_rows and len(part) > 2 * PART_BYTES and part.count(b"[") == 1:
            row = part.strip()[1:-1]
            try:
                values: Any = _read_parts(row, dtype, are_rows=False) if row.strip() else np.empty(0, dtype)
            except NotNumbersError as error:
                raise NotNumbersError(b"".join([b"[", error.part, b"]"]), num_before, *error.before) from None
            lengths.append(len(values))
        else:
            found, values = _read_part(part, dtype, num_before, are_rows)
            lengths += found
        arrays.append(values)
    joined = np.concatenate(arrays)
    return _shaped(joined, lengths) if are_rows else joined


def parse_rest(rest: RawBody, body: RawBody, schema: type[Schema]) -> Schema:
    """Read what is left of a body in one go.

    Raises:
        InvalidJsonError: the body is no JSON.
        InvalidRequestError: it does not fit the schema, or more is left than can stand beside numbers.
    """
    if len(rest) > MAX_REST_BYTES and not ESCAPED_KEY.search(rest) and is_json(rest):
        expected = f"at most {MAX_REST_BYTES} bytes beside numbers"
        raise InvalidRequestError.mismatch(expected=expected, got=len(rest))
    try:
        return parse(rest, schema)
    except InvalidJsonError:
        if rest == body or not is_json(body):
            raise
        got = "strings with brackets among them"
        raise InvalidRequestError.mismatch(expected="numbers", got=got) from None


def is_json(body: RawBody) -> bool:
    """Whether a body is JSON, of a depth that anybody reads: found out many times faster than read."""
    with suppress(ValueError, RuntimeError):
        simdjson.Parser().parse(body)
        return True
    return False


def read_document(body: RawBody, keys: Collection[str]) -> tuple[dict[str, Any], dict[str, Rows]] | None:
    """A short JSON object at once: the rows of numbers under some keys, and all else as Python has it.

    Returns:
        Both, or None for whatever is not surely what pydantic would read: it then has to judge.
    """
    if body[:1] != b"{":
        return None
    try:
        document: Any = _parser.parse(body)
        rest, rows, num_brackets = {}, {}, 0
        for key in list(document):
            value = document[key]
            is_array = type(value) is simdjson.Array
            num_brackets += is_array
            if key in keys and is_array:
                lengths = [len(row) for row in value]
                num_brackets += len(lengths)
                rows[key] = _shaped(np.frombuffer(value.as_buffer(of_type="d")), lengths)
            else:
                rest[key] = value.as_list() if is_array else value
        if len(rest) + len(rows) < len(document) or body.count(b"[") != num_brackets:
            return None  # a key comes twice, or there are arrays in a row, which would be read as one
    except (ValueError, TypeError, RuntimeError, AttributeError, IndexError):
        return None
    return rest, rows


def _shaped(values: npt.NDArray[Any], lengths: list[int]) -> Rows:
    """Numbers, one row behind the other, as a matrix; as a list of rows where they differ in length."""
    B, F = len(lengths), lengths[0]
    if lengths.count(F) == B:
        return values.reshape(B, F)
    return np.split(values, np.cumsum(lengths)[:-1])


def _arrays(body: RawBody, key: bytes) -> Iterator[tuple[int, int]]:
    """Where the text between the brackets of each array under a key starts and ends."""
    end = 0
    while (place := body.find(key, end)) >= 0:
        end = place + len(key)
        opening = ARRAY.match(body, end)
        if opening is not None:
            start = opening.end()
            if body.startswith(b"[", start):
                closing = END_OF_ROWS.search(body, start)
                end = closing.end() if closing else -1
            else:
                end = body.find(b"]", start)
            if end < 0:
                return
            yield start, end


def _parts(text: RawBody, are_rows: bool) -> Iterator[RawBody]:
    """The text cut at commas, of which those between rows stand behind a bracket."""
    start = 0
    while start <= len(text):
        least = start + PART_BYTES
        closing = text.find(b"]", least) if are_rows else least
        comma = text.find(b",", closing) if closing >= 0 else -1
        end = comma if comma >= 0 else len(text)
        yield text[start:end]
        start = end + 1


def _read_part(
    part: RawBody, dtype: Dtype, num_before: int, are_rows: bool
) -> tuple[list[int], npt.NDArray[Any]]:
    """The lengths of its rows, or its own if it has none, and all numbers one behind the other."""
    try:
        document: Any = simdjson.Parser().parse(b"".join([b"[", part, b"]"]))
        lengths = [len(row) for row in document] if are_rows else [len(document)]
        num_rows = len(lengths) if are_rows else 0
        if part.strip() and part.count(b"[") == num_rows:  # or rows within rows would be read as one
            buffer = document.as_buffer(of_type="d" if dtype is np.float64 else "i")
            return lengths, np.frombuffer(buffer, dtype)
    except (ValueError, TypeError, RuntimeError):
        pass
    raise NotNumbersError(part if part.strip() else b",", num_before)
