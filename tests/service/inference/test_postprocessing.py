"""What comes out: outputs of the graph → predictions as a caller reads them."""

import json

import numpy as np
import pytest

from rbm_bundle.manifest_parts import NO_EXPERT
from rbm_service.api.schemas import ClassifyRequest
from rbm_service.inference.batch import ComputedBatch, RequestOutputs
from rbm_service.inference.postprocessing import write_answer

OUTPUTS = {
    "probabilities": np.array([[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]], np.float32),
    "experts": np.array([[[3, 0], [1, 2]], [[0, 1], [2, 3]]]),
    "weights": np.full((2, 2, 2), 0.5, np.float32),
    "similarity": np.full((2, 2, 2), -0.25, np.float32),
}
ANSWER = RequestOutputs(ComputedBatch((), OUTPUTS, 0.0, 0.0), slice(0, 2), [1, 2], [0.5, 0.75], 0.0)
LABELS = ("red", "green", "blue")


SOURCES = ["cached", "neighbors"]


def answered(node_ids=(100, 105), rows_at_once=2, **options):
    """The answer as its caller reads it, and how many of it abstain."""
    ids = None if node_ids is None else list(node_ids)
    content, num_abstained = write_answer(
        b'{"name":"tiny","version":3}', ANSWER, ids, SOURCES, ClassifyRequest(**options), LABELS, rows_at_once
    )
    answer = json.loads(content)
    assert answer["model"] == {"name": "tiny", "version": 3}
    return answer["predictions"], num_abstained


def test_a_prediction_holds_the_essentials_and_nothing_that_was_not_asked_for():
    predictions, num_abstained = answered()
    assert predictions == [
        {"node_id": 100, "label": "green", "class_index": 1, "confidence": 0.5, "position": "cached"},
        {"node_id": 105, "label": "blue", "class_index": 2, "confidence": 0.75, "position": "neighbors"},
    ]
    assert num_abstained == 0


def test_rows_without_ids_have_none_in_the_answer():
    predictions, _ = answered(node_ids=None)
    assert [prediction["node_id"] for prediction in predictions] == [None, None]


@pytest.mark.parametrize("options", [{}, {"top_k": 2, "explain": True, "min_confidence": 0.6}])
def test_written_in_pieces_the_answer_is_the_same(options):
    assert answered(rows_at_once=1, **options) == answered(**options)


def test_classes_are_listed_by_probability_and_ties_by_index():
    first = answered(top_k=3)[0][0]
    assert [item["class_index"] for item in first["top_k"]] == [1, 0, 2]
    assert first["top_k"][0] == {"label": "green", "class_index": 1, "probability": 0.5}


def test_all_probabilities_are_given_when_asked_for():
    assert answered(return_probabilities=True)[0][0]["probabilities"] == [0.25, 0.5, 0.25]


def test_under_the_wanted_confidence_there_is_no_label():
    predictions, num_abstained = answered(min_confidence=0.6)
    assert [prediction["label"] for prediction in predictions] == [None, "blue"]
    assert [prediction["abstained"] for prediction in predictions] == [True, False]
    assert num_abstained == 1


def test_an_explanation_names_the_experts_of_every_layer():
    experts = answered(explain=True)[0][0]["experts"]
    assert [(item["layer"], item["expert"]) for item in experts] == [(0, 3), (0, 0), (1, 1), (1, 2)]
    assert {(item["weight"], item["similarity"]) for item in experts} == {(0.5, -0.25)}


def test_an_explanation_leaves_out_the_places_that_a_layer_leaves_empty(monkeypatch):
    monkeypatch.setitem(OUTPUTS, "experts", np.array([[[0, NO_EXPERT], [1, 2]], [[0, NO_EXPERT], [2, 3]]]))
    experts = answered(explain=True)[0][1]["experts"]
    assert [(item["layer"], item["expert"]) for item in experts] == [(0, 0), (1, 2), (1, 3)]
