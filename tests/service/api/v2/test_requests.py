import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbm_service.api.v2.requests import InferRequest
from rbm_service.api.validation import parse as parse_as
from rbm_service.errors import InvalidJsonError, InvalidRequestError

POSITIONS = {"name": "positions", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
IDS = {"name": "node_ids", "datatype": "INT64", "shape": [1], "data": [100]}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def parse(raw):
    return parse_as(raw, InferRequest)


def request(*inputs, **parts):
    return json.dumps({"inputs": inputs, **parts}).encode()


def refusal(*inputs, **parts):
    with pytest.raises(InvalidRequestError) as refused:
        parse(request(*inputs, **parts))
    return refused.value.detail


def test_a_request_is_read_with_all_it_may_hold():
    read = parse(
        request(
            {**IDS, "parameters": {"binary_data_size": 8, "content_type": "np"}},
            id="a",
            parameters={"timeout": 1500, "binary_data_output": True, "priority": 3, "sequence_id": "x"},
            outputs=[{"name": "logits", "parameters": {"classification": 2, "binary_data": False}}],
        )
    )
    assert (read.id, read.timeout_seconds, read.parameters.binary_data_output) == ("a", 0.0015, True)
    assert read.inputs[0].parameters.binary_data_size == 8
    assert read.outputs[0].parameters.classification == 2


def test_a_timeout_of_zero_is_none():
    assert parse(request(IDS, parameters={"timeout": 0})).timeout_seconds is None


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 1000])
def test_what_is_no_json_is_told_from_what_is_no_request(raw):
    with pytest.raises(InvalidJsonError):
        parse(raw)


@pytest.mark.parametrize(
    ("tensor", "place"),
    [
        ({**IDS, "data": [True]}, "inputs[0].data[0]"),
        ({**IDS, "data": [1.5]}, "inputs[0].data[0]"),
        ({**IDS, "data": ["100"]}, "inputs[0].data[0]"),
        ({**IDS, "data": [2**63]}, "inputs[0].data[0]"),
        ({**IDS, "data": 100}, "inputs[0].data"),
        ({**POSITIONS, "data": [1, 2, "x", 4]}, "inputs[0].data[2]"),
        ({**POSITIONS, "data": [[1, 2, None, 4]]}, "inputs[0].data[0][2]"),
        ({**POSITIONS, "data": [[[1, 2, 3, 4]]]}, "inputs[0].data[0][0]"),
        ({**POSITIONS, "datatype": "FP64"}, "inputs[0]"),
        ({**POSITIONS, "shape": [1, 1, 4]}, "inputs[0].shape"),
        ({**POSITIONS, "shape": [-1, 4]}, "inputs[0].shape[0]"),
        ({**POSITIONS, "dtype": "FP32"}, "inputs[0].dtype"),
        ({**POSITIONS, "parameters": {"binary_data_size": -1}}, "inputs[0].parameters.binary_data_size"),
        ({"name": "positions"}, "inputs[0]"),
    ],
)
def test_what_is_wrong_with_a_tensor_is_said_once_with_its_place(tensor, place):
    assert refusal(tensor).startswith(f"{place}: ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_know_are_refused(number):
    raw = request(POSITIONS).replace(b"[1, 2, 3, 4]", f"[1, {number}, 3, 4]".encode())
    with pytest.raises((InvalidJsonError, InvalidRequestError)):
        parse(raw)


def test_a_request_without_inputs_or_with_an_unknown_key_is_refused():
    assert "inputs" in refusal()
    assert refusal(IDS, output=[]).startswith("output: ")


def test_what_a_caller_made_up_is_repeated_in_part():
    assert len(refusal(IDS, **{"k" * 10_000: 1})) < 500
    assert len(refusal({**IDS, "datatype": "T" * 10_000})) < 500


@given(ANY_JSON, st.sampled_from(["inputs", "outputs", "parameters", "id"]))
def test_any_json_is_a_request_or_a_refusal(value, key):
    body = {"inputs": [IDS], key: value}
    with suppress(InvalidRequestError, InvalidJsonError):
        parse(json.dumps(body).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_refusal(raw):
    with pytest.raises((InvalidRequestError, InvalidJsonError)):
        parse(raw)
