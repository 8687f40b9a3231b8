"""Arrays of numbers in a JSON body, read without a Python object for each number.

Most of a long body is numbers. They are cut out of it, pydantic judges what is left, and simdjson reads the
numbers into arrays, a part at a time: none of it keeps the interpreter from other threads for long. A key cut
out this way can be no text inside of a string, where its quotes would be escaped.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import simdjson

from rbm_service.errors import InvalidRequestError

Kind = Literal["d", "i"]  # float64 and int64, as simdjson calls them

Rows = npt.NDArray[Any] | list[npt.NDArray[Any]]  # a list where they differ in length

PART_BYTES: Final = 128 * 1024  # read in about half a millisecond
OPENING: Final = re.compile(rb"[ \t\n\r]*:[ \t\n\r]*\[[ \t\n\r]*(?=[\[\-0-9])")
ESCAPED_LETTER: Final = re.compile(rb"\\u00[4-7]")
ARRAY: Final = re.compile(rb"[ \t\n\r]*:[ \t\n\r]*\[[ \t\n\r]*")
END_OF_ROWS: Final = re.compile(rb"\][ \t\n\r]*\]")
BETWEEN_ROWS: Final = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*(?=\[)")
OPEN: Final = ord("[")
DTYPES: Final[dict[Kind, npt.DTypeLike]] = {"d": np.float64, "i": np.int64}


class NotNumbersError(ValueError):
    """An array that holds something else than numbers, or is no JSON.

    Attributes:
        part: the text that is wrong, without the brackets around it.
        index: how many rows or numbers come before it.
    """

    def __init__(self, part: bytes, index: int) -> None:
        super().__init__(part[:100])
        self.part = part
        self.index = index


class NumberText:
    """An array in a body: the text between its brackets, of rows of numbers or of numbers."""

    __slots__ = ("is_nested", "text")

    def __init__(self, text: bytes, is_nested: bool) -> None:
        self.text = text
        self.is_nested = is_nested

    def numbers(self, kind: Kind) -> npt.NDArray[Any]:
        """Numbers of one kind.

        Raises:
            NotNumbersError: they are no numbers, or of the other kind.
        """
        arrays, start, num_read = [], 0, 0
        while start <= len(self.text):
            comma = self.text.find(b",", start + PART_BYTES)
            end = len(self.text) if comma < 0 else comma
            arrays.append(_read_numbers(self.text[start:end], kind, num_read))
            num_read += len(arrays[-1])
            start = end + 1
        return np.concatenate(arrays)

    def rows(self, kind: Kind = "d") -> Rows:
        """Rows of numbers: as many whole ones at once as a part may have, and of a longer one the numbers.

        Raises:
            NotNumbersError: they are no rows of numbers, or of the other kind.
        """
        lengths: list[int] = []
        arrays = []
        start = 0
        while start < len(self.text):
            end = self.text.find(b"]", start + PART_BYTES) + 1 or len(self.text)
            part = self.text[start:end]
            if len(part) > 2 * PART_BYTES and part.count(b"[") == 1:
                values = NumberText(part.strip()[1:-1], False).numbers(kind)
                found = [len(values)]
            else:
                found, values = _read_rows(part, kind, len(lengths))
            lengths += found
            arrays.append(values)
            between = BETWEEN_ROWS.match(self.text, end)
            if between is None and end < len(self.text):
                raise NotNumbersError(self.text[end : end + PART_BYTES], len(lengths))
            start = between.end() if between else end
        return _shaped(np.concatenate(arrays), lengths)


def cut_out(body: bytes, keys: Sequence[bytes]) -> tuple[bytes, list[NumberText]]:
    """Separate the arrays of numbers under some keys from the rest of a body.

    Args:
        keys: with their quotes.

    Returns:
        The body in which the only number of each array is its place among them, and the arrays.

    Raises:
        InvalidRequestError: there are arrays within rows.
    """
    texts: list[NumberText] = []
    spans = []
    for key in keys:
        place = body.find(key)
        while place >= 0:
            start = end = place + len(key)
            opening = OPENING.match(body, start)
            if opening is not None:
                start = opening.end()
                is_nested = body[start] == OPEN
                end = _end_of_rows(body, start) if is_nested else body.find(b"]", start)
                if end < 0:
                    break
                if is_nested and body.count(b"[", start, end) != body.count(b"]", start, end):
                    raise InvalidRequestError.mismatch(
                        key.decode().strip('"'), expected="rows of numbers", got="lists within them"
                    )
                spans.append((start, end, (b"[%d]" if is_nested else b"%d") % len(texts)))
                texts.append(NumberText(body[start:end], is_nested))
            place = body.find(key, end)
    rest = _with_stand_ins(body, sorted(spans))
    if ESCAPED_LETTER.search(rest):  # perhaps in one of the keys, which would then not be found
        return body, []
    return rest, texts


def text_of(column: object, texts: Sequence[NumberText]) -> NumberText | None:
    """The array for which a column stands in, None where it is no such column."""
    while isinstance(column, list):
        if len(column) != 1:
            return None
        column = column[0]
    is_place = isinstance(column, int | float) and 0 <= column < len(texts)
    return texts[int(column)] if is_place else None  # type: ignore[call-overload]


def least_number_of_items(body: bytes, key: bytes) -> int:
    """How many items an array in a body has at least, without reading it; 0 where there is none.

    Commas count them, and where there are strings, their quotes: a backslash stands before each quote within.
    """
    place = body.find(key)
    opening = ARRAY.match(body, place + len(key)) if place >= 0 else None
    if opening is None:
        return 0
    start = opening.end()
    end = _end_of_rows(body, start) if body[start : start + 1] == b"[" else body.find(b"]", start)
    if end < 0:
        return 0
    num_quotes = body.count(b'"', start, end)
    if num_quotes:
        return (num_quotes - body.count(b"\\", start, end)) // 2
    return body.count(b",", start, end) + 1


def is_json(body: bytes) -> bool:
    """Whether a body is JSON, of a depth that anybody reads: found out many times faster than read."""
    try:
        simdjson.Parser().parse(body)
    except (ValueError, RuntimeError):
        return False
    return True


def read_document(body: bytes, keys: Collection[str]) -> tuple[dict[str, Any], dict[str, Rows]] | None:
    """A short JSON object at once: the rows of numbers under some keys, and all else as Python has it.

    Returns:
        Both, or None for whatever is not surely what pydantic would read: it then has to judge.
    """
    if body[:1] != b"{":
        return None
    try:
        document: Any = simdjson.Parser().parse(body)
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
    if B == 1 or lengths.count(F) == B:
        return values.reshape(B, F)
    return np.split(values, np.cumsum(lengths)[:-1])


def _end_of_rows(body: bytes, start: int) -> int:
    closing = END_OF_ROWS.search(body, start)
    return closing.end() - 1 if closing else -1


def _with_stand_ins(body: bytes, spans: Sequence[tuple[int, int, bytes]]) -> bytes:
    rest, last = [], 0
    for start, end, stand_in in spans:
        rest += [body[last:start], stand_in]
        last = end
    return b"".join([*rest, body[last:]])


def _read_rows(part: bytes, kind: Kind, num_before: int) -> tuple[list[int], npt.NDArray[Any]]:
    """The lengths of some rows, and their numbers one row behind the other."""
    try:
        document: Any = simdjson.Parser().parse(b"[%b]" % part)
        lengths = [len(row) for row in document]
        if part.count(b"[") == len(lengths):  # or rows within rows would be read as one
            return lengths, np.frombuffer(document.as_buffer(of_type=kind), DTYPES[kind])
    except (ValueError, TypeError, RuntimeError):
        pass
    raise NotNumbersError(part, num_before)


def _read_numbers(part: bytes, kind: Kind, num_before: int) -> npt.NDArray[Any]:
    try:
        document: Any = simdjson.Parser().parse(b"[%b]" % part)
        if part.strip() and b"[" not in part:
            return np.frombuffer(document.as_buffer(of_type=kind), DTYPES[kind])
    except (ValueError, TypeError, RuntimeError):
        pass
    raise NotNumbersError(part, num_before)
