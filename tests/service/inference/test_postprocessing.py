"""What comes out: outputs of the graph → predictions as a caller reads them."""

import numpy as np
import pytest

from rbm_bundle.manifest import NO_EXPERT
from rbm_service.api.schemas import ClassifyRequest
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.batch import Answer
from rbm_service.inference.postprocessing import check_options, decode
from rbm_service.inference.preprocessing import NodeQuery, encode

MAX_ROWS = 8
FEATURES = [0.5] * 12
POSITION = [1.0, -1.0, 0.25, 0.0]


def test_more_classes_than_there_are_cannot_be_listed():
    check_options(ClassifyRequest(top_k=3), num_classes=3)
    with pytest.raises(InvalidRequestError, match="top_k: found 4, wanted at most 3"):
        check_options(ClassifyRequest(top_k=4), num_classes=3)


OUTPUTS = {
    "probabilities": np.array([[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]], np.float32),
    "experts": np.array([[[3, 0], [1, 2]], [[0, 1], [2, 3]]]),
    "weights": np.full((2, 2, 2), 0.5, np.float32),
    "similarity": np.full((2, 2, 2), -0.25, np.float32),
}
ANSWER = Answer(OUTPUTS, [1, 2], [0.5, 0.75], 0.0, 0.0, 1, 2)
LABELS = ("red", "green", "blue")


def decoded(bundle, **options):
    query = NodeQuery(node_ids=[100, 105])
    rows = encode(query, bundle, MAX_ROWS)
    return decode(ANSWER, query, rows, ClassifyRequest(**options), LABELS)


def test_a_prediction_holds_the_essentials_and_nothing_that_was_not_asked_for(bundle):
    answer = decoded(bundle)
    assert answer.predictions == [
        {"node_id": 100, "label": "green", "class_index": 1, "confidence": 0.5, "position": "cached"},
        {"node_id": 105, "label": "blue", "class_index": 2, "confidence": 0.75, "position": "cached"},
    ]
    assert answer.num_abstained == 0


def test_rows_without_ids_have_none_in_the_answer(bundle):
    query = NodeQuery(positions=[POSITION] * 2, features=[FEATURES] * 2)
    answer = decode(ANSWER, query, encode(query, bundle, MAX_ROWS), ClassifyRequest(), LABELS)
    assert [prediction["node_id"] for prediction in answer.predictions] == [None, None]


def test_classes_are_listed_by_probability_and_ties_by_index(bundle):
    first = decoded(bundle, top_k=3).predictions[0]
    assert [item["class_index"] for item in first["top_k"]] == [1, 0, 2]
    assert first["top_k"][0] == {"label": "green", "class_index": 1, "probability": 0.5}


def test_all_probabilities_are_given_when_asked_for(bundle):
    assert decoded(bundle, return_probabilities=True).predictions[0]["probabilities"] == [0.25, 0.5, 0.25]


def test_under_the_wanted_confidence_there_is_no_label(bundle):
    answer = decoded(bundle, min_confidence=0.6)
    assert [prediction["label"] for prediction in answer.predictions] == [None, "blue"]
    assert [prediction["abstained"] for prediction in answer.predictions] == [True, False]
    assert answer.num_abstained == 1


def test_an_explanation_names_the_experts_of_every_layer(bundle):
    experts = decoded(bundle, explain=True).predictions[0]["experts"]
    assert [(item["layer"], item["expert"]) for item in experts] == [(0, 3), (0, 0), (1, 1), (1, 2)]
    assert {(item["weight"], item["similarity"]) for item in experts} == {(0.5, -0.25)}


def test_an_explanation_leaves_out_the_places_that_a_layer_leaves_empty(bundle, monkeypatch):
    monkeypatch.setitem(OUTPUTS, "experts", np.array([[[0, NO_EXPERT], [1, 2]], [[0, NO_EXPERT], [2, 3]]]))
    experts = decoded(bundle, explain=True).predictions[1]["experts"]
    assert [(item["layer"], item["expert"]) for item in experts] == [(0, 0), (1, 2), (1, 3)]
