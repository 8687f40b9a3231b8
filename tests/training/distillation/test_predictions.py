from dataclasses import replace

import pytest
import torch

from rbm_training.distillation.predictions import predict_all
from rbm_training.evaluation.metrics import accuracy
from tests.training.objects import student_for


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_validation_is_the_mix_asked_for_of_observed_and_pseudo_unseen_nodes(data, weight):
    student, inputs = student_for(data), data.inputs
    predictions = predict_all(student, inputs)
    loss = torch.nn.functional.cross_entropy
    pairs = [
        (predictions.observed[inputs.val], inputs.labels[inputs.val]),
        (predictions.pseudo_unseen, inputs.pseudo_unseen.labels),
    ]
    observed, pseudo = ((accuracy(*pair), float(loss(*pair))) for pair in pairs)
    assert len(inputs.pseudo_unseen) == len(inputs.val) == 16
    assert observed != pseudo
    found = predictions.validation(inputs, weight)
    for value, left, right in zip((found.accuracy, found.loss), observed, pseudo, strict=True):
        assert value == pytest.approx((1 - weight) * left + weight * right)


def test_without_pseudo_unseen_nodes_validation_is_of_the_observed_ones(data):
    inputs = data.inputs
    nobody = replace(
        inputs.pseudo_unseen,
        features=inputs.pseudo_unseen.features[:0],
        positions=inputs.pseudo_unseen.positions[:0],
        scaled=inputs.pseudo_unseen.scaled[:0],
        labels=inputs.pseudo_unseen.labels[:0],
    )
    alone = replace(inputs, pseudo_unseen=nobody)
    predictions = predict_all(student_for(data), alone)
    assert predictions.validation(alone, 0.9).accuracy == accuracy(
        predictions.observed[inputs.val], inputs.labels[inputs.val]
    )
    assert len(predictions.all_validation(alone)[1]) == len(inputs.val)


def test_all_validation_nodes_calibrate(data):
    predictions = predict_all(student_for(data), data.inputs)
    logits, labels = predictions.all_validation(data.inputs)
    assert len(logits) == len(labels) == 32
    assert torch.equal(logits[16:], predictions.pseudo_unseen)


def test_test_nodes_are_the_unseen_ones_where_there_are_any(data):
    inputs = data.inputs
    predictions = predict_all(student_for(data), inputs)
    assert predictions.test_accuracy(inputs) == accuracy(predictions.unseen, inputs.unseen.labels)
