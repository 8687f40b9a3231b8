from dataclasses import replace

import pytest
import torch

from rbm_training.distillation.inputs import HeldOut
from rbm_training.distillation.predictions import predict
from rbm_training.evaluation.metrics import accuracy
from rbm_training.reporting.position_ablation import accuracies_without_neighbors
from tests.training.objects import student_for


def answers_at_zero(student, features, labels):
    zeros = torch.zeros(len(features), student.position_width)
    return accuracy(student(features, zeros).logits, labels)


@pytest.mark.parametrize("batch_rows", [10, 10_000])
def test_nodes_without_a_known_neighbour_have_zeros_for_positions(data, batch_rows):
    student, inputs = student_for(data), data.inputs
    found = accuracies_without_neighbors(student, inputs, batch_rows)
    groups = inputs.pseudo_unseen, inputs.unseen
    assert found == tuple(answers_at_zero(student, group.features, group.labels) for group in groups)
    placed = [accuracy(predict(student, group.scaled).logits, group.labels) for group in groups]
    assert all(alone != as_placed for alone, as_placed in zip(found, placed, strict=True))


def test_observed_nodes_stand_in_for_groups_that_are_not_held_out(data):
    student, inputs = student_for(data), data.inputs
    nobody = HeldOut(inputs.features[:0], inputs.unseen.positions[:0], inputs.scaled[:0], inputs.labels[:0])
    found = accuracies_without_neighbors(student, replace(inputs, unseen=nobody, pseudo_unseen=nobody), 50)
    groups = inputs.val, inputs.test
    assert found == tuple(
        answers_at_zero(student, inputs.features[rows], inputs.labels[rows]) for rows in groups
    )
