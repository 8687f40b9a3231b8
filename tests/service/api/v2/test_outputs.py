import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tritonclient.http import InferResult

from rbm_bundle.manifest_parts import NO_EXPERT
from rbm_service.api.v2.outputs import (
    Wanted,
    answer_body,
    needs_explanation,
    wanted_outputs,
    with_unknown,
)
from rbm_service.api.v2.requests import InferRequest
from rbm_service.api.validation import parse
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.preprocessing import RequestRows

HEAD = {"model_name": "tiny", "model_version": "3"}
LABELS = ("red", "green", "blue")
OUTPUTS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.floats(0, 1, width=32)
) | arrays.arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(1, 2), st.integers(1, 3)))


def wanted(*outputs, **parameters):
    ids = {"name": "node_ids", "datatype": "INT64", "shape": [1], "data": [100]}
    body = {"inputs": [ids], "outputs": outputs, "parameters": parameters}
    return wanted_outputs(parse(json.dumps(body).encode(), InferRequest), num_classes=3)


def refusal(*outputs):
    with pytest.raises(InvalidRequestError) as refused:
        wanted(*outputs)
    return refused.value.detail


def received(body):
    content, json_length = body
    return InferResult.from_response_body(content, header_length=json_length)


@given(array=OUTPUTS, other=OUTPUTS, binary=st.booleans())
def test_the_client_reads_the_outputs_to_the_bit(array, other, binary):
    asked = [Wanted("logits", None, binary), Wanted("experts", None, not binary)]
    tensors = {"experts": other, "logits": array, "weights": array}
    result = received(answer_body({**HEAD, "id": "a"}, LABELS, asked, tensors))
    assert result.as_numpy("logits").tobytes() == array.tobytes()
    assert result.as_numpy("experts").tobytes() == other.tobytes()
    assert result.as_numpy("weights") is None
    assert (result.get_response()["model_version"], result.get_response()["id"]) == ("3", "a")


def test_outputs_are_taken_from_their_memory_also_where_it_has_gaps():
    array = np.arange(12, dtype=np.float32).reshape(4, 3)[:, ::2]
    body = answer_body(HEAD, LABELS, [Wanted("logits", None, True)], {"logits": array})
    assert (received(body).as_numpy("logits") == array).all()
    assert "id" not in received(body).get_response()


@pytest.mark.parametrize("binary", [True, False])
def test_a_classification_names_score_index_and_label_highest_first(binary):
    scores = np.array([[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]], np.float32)
    body = answer_body(HEAD, LABELS, [Wanted("probabilities", 2, binary)], {"probabilities": scores})
    texts = [
        [str(item, "utf-8") if binary else item for item in row]
        for row in received(body).as_numpy("probabilities")
    ]
    assert texts == [["0.500000:1:green", "0.250000:0:red"], ["0.750000:2:blue", "0.125000:0:red"]]


def test_without_outputs_the_probabilities_are_wanted():
    assert wanted() == [Wanted("probabilities", None, False)]
    assert wanted(binary_data_output=True) == [Wanted("probabilities", None, True)]


def test_an_output_says_for_itself_whether_it_is_binary():
    asked = wanted(
        {"name": "experts", "parameters": {"binary_data": False}}, {"name": "logits"}, binary_data_output=True
    )
    assert [output.binary for output in asked] == [False, True]


@pytest.mark.parametrize(
    ("name", "needed"),
    [("probabilities", False), ("experts", False), ("logits", True), ("weights", True), ("similarity", True)],
)
def test_only_some_outputs_are_fetched_because_they_are_wanted(name, needed):
    assert needs_explanation(wanted({"name": name})) == needed


def test_outputs_that_there_are_not_are_refused():
    assert refusal({"name": "classes"}).startswith("outputs: expected each of probabilities, logits")
    assert refusal({"name": "classes"}).endswith("got 'classes'")
    assert refusal({"name": "logits"}, {"name": "logits"}).endswith("got logits twice")
    found = refusal({"name": "logits", "parameters": {"classification": 4}})
    assert found == "logits: expected a classification of at most 3 (classes), got 4"
    assert "classification" in refusal({"name": "experts", "parameters": {"classification": 1}})
    assert "shared memory" in refusal({"name": "logits", "parameters": {"shared_memory_region": "r"}})


@pytest.mark.parametrize("binary", [True, False])
def test_of_unknown_rows_there_is_no_number_no_class_and_no_expert(binary):
    tensors = {
        "probabilities": np.array([[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]], np.float32),
        "experts": np.array([[[3, 0]], [[0, 1]]]),
        "weights": np.full((2, 1, 2), 0.5, np.float32),
    }
    whole = with_unknown(tensors, RequestRows([0, 1], {}, 0, ["cached"] * 2, unknown=[0, 2]))
    asked = [Wanted(name, None, binary) for name in tensors]
    result = received(answer_body(HEAD, LABELS, asked, whole))
    for name, nothing in {"probabilities": np.nan, "experts": NO_EXPERT, "weights": 0.0}.items():
        found = result.as_numpy(name)
        np.testing.assert_array_equal(found[[1, 3]], tensors[name], strict=True)
        np.testing.assert_array_equal(found[[0, 2]], np.full_like(tensors[name], nothing))
    texts = received(answer_body(HEAD, LABELS, [Wanted("probabilities", 1, False)], whole))
    assert texts.as_numpy("probabilities").tolist() == [[""], ["0.500000:1:green"], [""], ["0.750000:2:blue"]]
