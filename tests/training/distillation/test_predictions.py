from dataclasses import replace

import pytest
import torch

from rbm_training.distillation.predictions import evaluate, predict_all, predict_rows
from rbm_training.evaluation.metrics import accuracy
from tests.training.objects import student_for


def without_unseen(inputs):
    """The same task with its observed test nodes to be tested on, and pseudo-unseen nodes nowhere."""

    def nobody(group):
        features, positions, scaled = (rows[:0] for rows in (group.features, group.positions, group.scaled))
        return replace(group, features=features, positions=positions, scaled=scaled, labels=group.labels[:0])

    return replace(inputs, unseen=nobody(inputs.unseen), pseudo_unseen=nobody(inputs.pseudo_unseen))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_validation_is_the_mix_asked_for_of_observed_and_pseudo_unseen_nodes(data, weight):
    student, inputs = student_for(data), data.inputs
    predictions = predict_all(student, inputs, batch_rows=100)
    loss = torch.nn.functional.cross_entropy
    pairs = [
        (predictions.observed[inputs.val], inputs.labels[inputs.val]),
        (predictions.pseudo_unseen, inputs.pseudo_unseen.labels),
    ]
    observed, pseudo = ((accuracy(*pair), float(loss(*pair))) for pair in pairs)
    assert len(inputs.pseudo_unseen) == len(inputs.val) == 16
    assert observed != pseudo
    found = predictions.evaluation(inputs).validation(inputs, weight)
    for value, left, right in zip((found.accuracy, found.loss), observed, pseudo, strict=True):
        assert value == pytest.approx((1 - weight) * left + weight * right)


def test_without_pseudo_unseen_nodes_validation_is_of_the_observed_ones(data):
    alone = without_unseen(data.inputs)
    evaluation = evaluate(student_for(data), alone, batch_rows=100)
    assert evaluation.validation(alone, 0.9).accuracy == accuracy(evaluation.val, alone.labels[alone.val])
    assert len(evaluation.all_validation(alone)[1]) == len(alone.val)


def test_all_validation_nodes_calibrate(data):
    evaluation = evaluate(student_for(data), data.inputs, batch_rows=100)
    logits, labels = evaluation.all_validation(data.inputs)
    assert len(logits) == len(labels) == 32
    assert torch.equal(logits[16:], evaluation.pseudo_unseen)


def test_test_nodes_are_the_unseen_ones_where_there_are_any(data):
    inputs, student = data.inputs, student_for(data)
    predictions = predict_all(student, inputs, batch_rows=100)
    tested = evaluate(student, inputs, batch_rows=100).test_accuracy(inputs)
    assert tested == accuracy(predictions.unseen, inputs.unseen.labels)
    seen = without_unseen(inputs)
    tested = evaluate(student, seen, batch_rows=100).test_accuracy(seen)
    assert tested == accuracy(predictions.observed[inputs.test], inputs.labels[inputs.test])


@pytest.mark.parametrize("batch_rows", [7, 64])
@pytest.mark.parametrize("kind", ["rbm", "moe", "mlp"])
def test_predictions_do_not_depend_on_the_batch_size(data, kind, batch_rows):
    student, inputs = student_for(data, kind=kind), data.inputs
    whole, parts = (predict_all(student, inputs, rows) for rows in (len(inputs.labels), batch_rows))
    for group in ("observed", "unseen", "pseudo_unseen"):
        torch.testing.assert_close(getattr(parts, group), getattr(whole, group), atol=1e-6, rtol=1e-6)
    for left, right in zip(parts.choices, whole.choices, strict=True):
        assert torch.equal(left.experts, right.experts)


def test_an_evaluation_is_the_part_of_all_predictions_that_it_asks_for(data):
    student = student_for(data)
    for inputs in (data.inputs, without_unseen(data.inputs)):
        asked, chosen = (
            evaluate(student, inputs, batch_rows=7),
            predict_all(student, inputs, batch_rows=64).evaluation(inputs),
        )
        for group in ("val", "pseudo_unseen", "test"):
            torch.testing.assert_close(getattr(asked, group), getattr(chosen, group), atol=1e-6, rtol=1e-6)
        for left, right in zip(asked.choices, chosen.choices, strict=True):
            assert torch.equal(left.experts, right.experts)


def test_no_forward_pass_takes_more_rows_than_a_batch(data):
    student, passes = student_for(data), []
    student.layers[0].register_forward_hook(lambda layer, inputs, output: passes.append(len(inputs[0])))
    predict_rows(student, data.inputs.scaled, batch_rows=64)
    assert max(passes) == 64
    assert sum(passes) == len(data.inputs.labels)
