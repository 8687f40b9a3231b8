"""A body of `/classify`, short or long, is read as pydantic alone would read it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbm_service.api import classify, number_arrays
from rbm_service.api.classify import query_of, read_long, read_short
from rbm_service.api.number_arrays import MAX_REST_BYTES
from rbm_service.api.schemas import ClassifyRequest
from rbm_service.api.validation import parse
from rbm_service.errors import InvalidJsonError, InvalidRequestError, ServiceError
from rbm_service.inference.features import CsrRows
from rbm_service.inference.preprocessing import MAX_NEIGHBORS

MAX_ROWS = 1024

numbers = (
    st.integers(-(10**40), 10**40)
    | st.floats()
    | st.sampled_from([-0.0, 5e-324, 1e15, 1.1e15, 2**53 + 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1])
)
oddities = st.none() | st.booleans() | st.text(max_size=3) | st.lists(numbers, max_size=2)
rows = st.lists(st.lists(numbers, max_size=4), max_size=4) | st.lists(
    st.lists(numbers | oddities, max_size=4) | oddities, max_size=4
)
csr = st.fixed_dictionaries(
    {
        "indptr": st.lists(st.integers(-1, 2**31), max_size=4),
        "indices": st.lists(numbers | oddities, max_size=4),
    },
    optional={"values": st.lists(numbers, max_size=4), "value": st.just(1)},
)
ids = st.lists(st.integers() | st.text(max_size=8) | oddities, max_size=5)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "features": rows | csr | oddities,
        "positions": rows | oddities,
        "node_ids": ids,
        "neighbors": st.lists(ids | st.none(), max_size=3),
        "top_k": st.integers(-1, 3),
        "model": st.text(max_size=5) | st.just('"features": [[1]]'),
        "feature": rows,
    },
)
layouts = st.sampled_from(
    [{"separators": (",", ":")}, {}, {"indent": 1}, {"indent": "\t", "separators": (" ,", " : ")}]
)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    """So that short bodies are read in parts as well."""
    monkeypatch.setattr(number_arrays, "PART_BYTES", 12)


def column_of(values):
    if isinstance(values, CsrRows):
        return [column_of(part) for part in (values.indptr, values.indices, values.values)]
    if values is None or (
        isinstance(values, list) and not any(isinstance(row, np.ndarray) for row in values)
    ):
        return values
    return [row.tolist() if isinstance(row, np.ndarray) else row for row in values]


def outcome(read, raw):
    try:
        options, query = read(raw)
    except ServiceError as refusal:
        return type(refusal)
    columns = (query.node_ids, query.features, query.neighbors, query.positions)
    return [options.top_k, options.model, *map(repr, map(column_of, columns))]


def read_by_pydantic(raw):
    options = parse(raw, ClassifyRequest)
    query = query_of(options)
    for name in ("features", "positions"):
        column = getattr(query, name)
        if isinstance(column, list):  # as arrays hold them
            setattr(query, name, [np.array(row, np.float64) for row in column])
        elif isinstance(column, CsrRows) and column.values is not None:
            query.features = CsrRows(column.indptr, column.indices, np.array(column.values, np.float64))
    return options, query


def as_floats(read):
    """The same, with numbers that only lists can hold as floats: of more than 64 bits."""

    def reading(raw):
        options, query = read(raw)
        for name in ("features", "positions"):
            column = getattr(query, name)
            if isinstance(column, list):
                setattr(query, name, [np.array(row, np.float64) for row in column])
            elif isinstance(column, CsrRows):
                values = None if column.values is None else np.array(column.values, np.float64)
                query.features = CsrRows(
                    list(map(int, column.indptr)), list(map(int, column.indices)), values
                )
        return options, query

    return reading


@given(bodies, layouts)
def test_a_short_body_is_read_and_refused_as_by_pydantic(body, layout):
    raw = json.dumps(body, **layout).encode()
    assert outcome(as_floats(read_short), raw) == outcome(read_by_pydantic, raw)


@given(bodies, layouts)
def test_a_long_body_is_read_and_refused_as_by_pydantic(body, layout):
    raw = json.dumps(body, **layout).encode()
    expected = outcome(read_by_pydantic, raw)
    found = outcome(as_floats(lambda raw: read_long(raw, MAX_ROWS)), raw)
    if found is InvalidRequestError and isinstance(expected, list):
        assert holds_more_than_64_bits(body)  # which the graph refuses otherwise
    elif found is InvalidRequestError:
        assert expected in (InvalidRequestError, InvalidJsonError)
    else:
        assert found == expected


def holds_more_than_64_bits(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(holds_more_than_64_bits, value))
    return isinstance(value, int) and not -(2**63) <= value < 2**64


def refusal(raw, max_rows=MAX_ROWS):
    with pytest.raises(ServiceError) as refused:
        read_long(raw, max_rows)
    return refused.value.detail


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b'{"features":[[0.5,1],[1,2],[3,"4"]]}', "features[2][1]: expected a finite number, got a string"),
        (
            b'{"features":[[1.5,2.5,3.5,4.5,5.5,6.5,7.5,8.5,9.5,true]]}',
            "features[0][9]: expected a finite number, got true",
        ),
        (b'{"positions":[[0.5,1],[1,2],[3,NaN]]}', "positions[2][1]: expected a finite number, got NaN"),
        (b'{"features":[[1.5,2.5,3.5,4.5,true]]}', "features[0][4]: expected a finite number, got true"),
        (
            b'{"features":[[0.5,1],[1,2],[3,[4]]]}',
            "features: expected rows of numbers, got something else",
        ),
        (
            b'{"features":{"indptr":[0,4],"indices":[10,20,30,40.5]}}',
            "features.indices[3]: expected an integer, got 40.5",
        ),
        (
            b'{"features":{"indptr":[0,4],"indices":[1],"values":[0.25,0.5,0.75,null]}}',
            "features.values[3]: expected a finite number, got null",
        ),
        (
            b'{"features":[[1,2],[3,4],[100000000000000000000]]}',
            "features: expected numbers within ±1e+15, got",
        ),
    ],
)
def test_what_is_wrong_in_a_long_body_is_named_at_its_place(raw, detail):
    assert refusal(raw).startswith(detail)


@pytest.mark.parametrize(
    "raw", [b'{"features":[[1,2],[3,,4]]}', b'{"features":[[1,2] [3]]}', b'{"features":[[1']
)
def test_a_long_body_that_is_no_json_is_refused_as_such(raw):
    with pytest.raises(InvalidJsonError):
        read_long(raw, MAX_ROWS)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"node_ids": [1] * 5}, "node_ids: expected at most 4 ids, got 5 or more"),
        ({"node_ids": ["a,b", 'c"d'] * 5}, "node_ids: expected at most 4 ids, got"),
        (
            {"neighbors": [[1] * (MAX_NEIGHBORS + 5)]},
            "neighbors: expected at most 65540 ids, got 65541 or more",
        ),
        ({"model": "x" * MAX_REST_BYTES}, f"expected at most {MAX_REST_BYTES} bytes beside numbers"),
    ],
)
def test_a_list_that_is_too_long_is_refused_before_it_is_read(monkeypatch, body, detail):
    monkeypatch.setattr(classify, "parse", None)
    assert refusal(json.dumps(body).encode(), max_rows=4).startswith(detail)


def test_more_rows_than_a_request_may_have_are_refused_before_they_are_read(monkeypatch):
    monkeypatch.setattr(number_arrays.simdjson, "Parser", None)
    assert refusal(b'{"features":[[1],[2],[3]]}', max_rows=2) == "features: expected 1 to 2 rows, got 3"


@pytest.mark.parametrize("node_ids", [["a,b", "c,,d"], ['\\"', '","'], [1, 2]])
def test_ids_that_look_like_more_than_they_are_are_not_refused(node_ids):
    _, query = read_long(json.dumps({"node_ids": node_ids, "positions": [[0.5]] * 2}).encode(), max_rows=2)
    assert query.node_ids == node_ids


@pytest.mark.parametrize(
    ("raw", "positions"),
    [
        (b'{"positions":[[1]],"positions":[[2.5]]}', [[2.5]]),
        (b'{"features":[[7],[8]],"posit\\u0069ons":[[1.0]]}', [[1.0]]),
        (b' {"model":"\\"positions\\":[[1]]","positions": [ [ 0.5 ] ]}', [[0.5]]),
    ],
)
@pytest.mark.parametrize("read", [read_short, lambda raw: read_long(raw, MAX_ROWS)])
def test_keys_mean_what_they_mean_in_json(read, raw, positions):
    _, query = read(raw)
    assert [list(row) for row in query.positions] == positions


@pytest.mark.parametrize(
    "raw",
    [
        b'{"node_ids":[100],"features":[1,[2],3]}',
        b'{"features":[["]]", 1]]}',
        b'{"features":[1,2]}',
        b'{"features":{"indptr":[[0,1]],"indices":[0]}}',
        b'{"positions":[[1],["]"]]}',
        b"{" + b",".join([b'"positions":[[1]]'] * 100) + b"}",
    ],
)
def test_json_that_is_no_request_is_not_said_to_be_no_json(raw):
    with pytest.raises(InvalidRequestError) as refused:
        read_long(raw, MAX_ROWS)
    assert "got" in refused.value.detail


def test_an_escaped_letter_in_a_value_changes_nothing(monkeypatch):
    monkeypatch.setattr(number_arrays, "MAX_REST_BYTES", 40)
    raw = b'{"model":"\\u0074iny","positions":[[' + b"1," * 100 + b"1]]}"
    options, query = read_long(raw, MAX_ROWS)
    assert options.model == "tiny"
    assert query.positions.shape == (1, 101)
    escaped = raw.replace(b'"positions"', b'"posi\\u0074ions"')
    assert len(read_long(escaped, MAX_ROWS)[1].positions[0]) == 101
