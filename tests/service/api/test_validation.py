"""A body that does not fit is refused in the same words on every route."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbm_service.api.admin_schemas import PromoteRequest, ShadowRequest
from rbm_service.api.schemas import ClassifyRequest
from rbm_service.api.v2.requests import ChangeRequest, IndexRequest, InferRequest
from rbm_service.api.validation import MAX_LISTED_ERRORS, parse
from rbm_service.errors import InvalidJsonError, InvalidRequestError
from rbm_service.web.error_response import error_body

IDS = {"name": "node_ids", "datatype": "INT64", "shape": [1], "data": [100]}
FLOATS = {"name": "positions", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
HUGE = int("9" * 400)
SCHEMAS = [ClassifyRequest, PromoteRequest, ShadowRequest, InferRequest, IndexRequest, ChangeRequest]
NAMES = sorted({name for schema in SCHEMAS for name in schema.model_fields} | {"indptr", "shape", "datatype"})
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.sampled_from(["FP32", "BYTES", "x" * 1000]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


def refusal(schema, body):
    with pytest.raises(InvalidRequestError) as refused:
        parse(json.dumps(body).encode(), schema)
    return refused.value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([1], "expected an object, got a list of 1"),
        ({"features": [["a"]]}, "features[0][0]: expected a finite number, got a string"),
        ({"features": [[float("inf")]]}, "features[0][0]: expected a finite number, got Infinity"),
        ({"features": [[HUGE]]}, "features[0][0]: expected a finite number, got an integer beyond 64 bits"),
        ({"features": 1}, "features: expected a list or an object, got 1"),
        ({"features": [1]}, "features[0]: expected a list, got 1"),
        (
            {"features": {"indptr": [], "indices": []}},
            "features.indptr: expected a list of 1 or more, got a list of 0",
        ),
        ({"features": {"indptr": [0]}}, "features.indices: expected a value, got none"),
        ({"node_ids": [1.5]}, "node_ids[0]: expected an integer or a string, got 1.5"),
        (
            {"node_ids": None, "neighbors": [[{}]]},
            "neighbors[0][0]: expected an integer or a string, got an object",
        ),
        ({"min_confidence": 2}, "min_confidence: expected at most 1, got 2"),
        ({"timeout_seconds": 0}, "timeout_seconds: expected more than 0, got 0"),
        ({"top_k": -HUGE}, "top_k: expected at least 1, got an integer beyond 64 bits"),
        ({"explain": "yes"}, "explain: expected true or false, got a string"),
        ({"version": True}, "version: expected an integer, got true"),
        ({"on_unknown": "skip"}, 'on_unknown: expected "error" or "null", got "skip"'),
        ({"on_unknown": None}, 'on_unknown: expected "error" or "null", got null'),
        ({"on_unknown": ["null"]}, 'on_unknown: expected "error" or "null", got a list of 1'),
    ],
)
def test_classify_says_what_was_expected_and_what_was_there(body, said):
    assert refusal(ClassifyRequest, body).detail == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"inputs": []}, "inputs: expected a list of 1 or more, got a list of 0"),
        ({"inputs": [1]}, "inputs[0]: expected an object, got 1"),
        ({"inputs": [{"name": "a"}]}, "inputs[0]: expected a datatype, got none"),
        (
            {"inputs": [{**IDS, "datatype": "FP64"}]},
            'inputs[0]: expected a datatype of FP32, INT64, BYTES, got "FP64"',
        ),
        (
            {"inputs": [{**IDS, "data": ["1"]}]},
            "inputs[0].data[0]: expected an integer or a list, got a string",
        ),
        (
            {"inputs": [{**FLOATS, "data": [1, "x"]}]},
            "inputs[0].data[1]: expected a finite number, got a string",
        ),
        (
            {"inputs": [{**FLOATS, "data": [[1, 2], [3, None]]}]},
            "inputs[0].data[1][1]: expected a finite number, got null",
        ),
        (
            {"inputs": [{**FLOATS, "shape": [1, 2, 3]}]},
            "inputs[0].shape: expected a list of 2 or fewer, got a list of 3",
        ),
        (
            {"inputs": [IDS], "parameters": {"on_unknown": "skip"}},
            'parameters.on_unknown: expected "error" or "null", got "skip"',
        ),
        (
            {"inputs": [IDS], "parameters": {"timeout": HUGE}},
            "parameters.timeout: expected less than 9223372036854775808, got an integer beyond 64 bits",
        ),
    ],
)
def test_the_open_inference_protocol_gives_the_same_reasons(body, said):
    assert refusal(InferRequest, body).detail == said


@pytest.mark.parametrize(
    ("schema", "body", "said"),
    [
        (ClassifyRequest, {"feature": 1}, "feature: unknown key (did you mean features?)"),
        (
            ClassifyRequest,
            {"features": {"indptr": [0], "indices": [], "value": []}},
            "features.value: unknown key (did you mean values?)",
        ),
        (ClassifyRequest, {"node_ids": [1], "colour": 1}, "colour: unknown key"),
        (PromoteRequest, {"version": 1, "versoin": 1}, "versoin: unknown key (did you mean version?)"),
        (InferRequest, {"inputs": [IDS], "output": []}, "output: unknown key (did you mean outputs?)"),
        (
            InferRequest,
            {"inputs": [{**IDS, "shap": 1}]},
            "inputs[0].shap: unknown key (did you mean shape?)",
        ),
        (
            InferRequest,
            {"inputs": [IDS], "outputs": [{"name": "logits", "parameter": {}}]},
            "outputs[0].parameter: unknown key (did you mean parameters?)",
        ),
        (IndexRequest, {"redy": True}, "redy: unknown key (did you mean ready?)"),
        (
            ChangeRequest,
            {"parameters": {"unload_dependent": True}},
            "parameters.unload_dependent: unknown key (did you mean unload_dependents?)",
        ),
        (ChangeRequest, {"parameters": {"config": "{}"}}, "parameters.config: unknown key"),
    ],
)
def test_the_key_that_was_meant_is_named(schema, body, said):
    assert refusal(schema, body).detail == said


@pytest.mark.parametrize("key", ["int", "list[int]", "SparseFeatures", "FP32", "INT64"])
def test_a_key_is_never_taken_for_the_name_of_a_form(key):
    assert refusal(ClassifyRequest, {key: 1}).errors[0].loc == (key,)
    assert refusal(InferRequest, {"inputs": [{**IDS, key: 1}]}).errors[0].loc == ("inputs", 0, key)
    found = refusal(ClassifyRequest, {"features": {"indptr": [0], "indices": [], key: 1}})
    assert found.errors[0].loc == ("features", key)


def test_all_that_is_wrong_is_listed_up_to_a_limit():
    found = refusal(InferRequest, {"inputs": [{"datatype": "FP32"}], "input": 1})
    assert [error.loc for error in found.errors] == [
        ("inputs", 0, "name"),
        ("inputs", 0, "shape"),
        ("input",),
    ]
    for schema in SCHEMAS:
        found = refusal(schema, {f"key{n}": 1 for n in range(MAX_LISTED_ERRORS + 1)})
        assert found.errors == ()
        assert "things are wrong with the body" in found.detail


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_key_that_a_caller_made_up_is_shown_in_part_and_breaks_nothing(schema):
    found = refusal(schema, {"k" * 100_000: 1})
    assert len(found.detail) < 300
    found = refusal(schema, {"a\x00b\n\u2028\U0001f600": 1})
    assert json.loads(error_body(found, "/classify", "id")[0])["errors"][-1]["loc"] == [
        "a\x00b\n\u2028\U0001f600"
    ]
    with pytest.raises((InvalidJsonError, InvalidRequestError)) as refused:
        parse(b'{"\\ud800": 1}', schema)
    json.loads(error_body(refused.value, "/classify", "id")[0])


@pytest.mark.parametrize("digits", [400, 5000])
@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (ClassifyRequest, '{"features": [[N]]}'),
        (ClassifyRequest, '{"top_k": N}'),
        (ClassifyRequest, '{"features": {"indptr": [N], "indices": [N]}}'),
        (PromoteRequest, '{"version": N}'),
        (InferRequest, '{"inputs": [{"name": "a", "datatype": "INT64", "shape": [N], "data": [N]}]}'),
        (InferRequest, '{"inputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": [[N]]}]}'),
        (InferRequest, '{"inputs": [], "parameters": {"timeout": N}}'),
        (InferRequest, '{"inputs": [], "outputs": [{"name": "a", "parameters": {"classification": N}}]}'),
    ],
)
def test_a_number_of_many_digits_is_refused_in_few_words(schema, body, digits):
    with pytest.raises((InvalidJsonError, InvalidRequestError)) as refused:
        parse(body.replace("N", "9" * digits).encode(), schema)
    assert len(refused.value.detail) < 300


def refusal_of_any(schema, body):
    try:
        parse(json.dumps(body).encode(), schema)
    except InvalidRequestError as error:
        return error
    return None


@given(VALUES, st.sampled_from(SCHEMAS))
def test_no_reason_is_in_the_words_of_pydantic(value, schema):
    key = next(iter(schema.model_fields))
    for body in (value, {key: value}, {"inputs": [value], "features": value, "outputs": [value]}):
        error = refusal_of_any(schema, body)
        if error is not None:
            assert "nput should" not in error.detail
            assert json.loads(error_body(error, "/classify", "id")[0])["detail"] == error.detail
