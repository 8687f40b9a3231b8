"""The student that is the baseline itself, and what is chosen where nothing is known of a graph."""

import numpy as np
import torch

from rbm_training.config import ExperimentConfig
from rbm_training.data.sparse_rows import as_array
from rbm_training.distillation.predictions import predict_all
from rbm_training.distillation.train import best_of_kinds, train_student
from rbm_training.runtime.checkpoint import Checkpoint
from tests.training.objects import SMALL_CONFIG


def student_of_kind(kind, data, log):
    student = SMALL_CONFIG.student.model_copy(update={"kind": kind})
    config = SMALL_CONFIG.model_copy(update={"student": student})
    return best_of_kinds(config, data, lambda each: train_student(each, data, 0, log, Checkpoint(None, log)))


def test_the_linear_student_says_what_logistic_regression_says(data, log):
    distilled = student_of_kind("linear", data, log)
    found = predict_all(distilled.student, data.inputs, distilled.batch_rows)
    features = as_array(data.scaling.scale_features(data.inputs.features))
    np.testing.assert_allclose(found.observed.numpy(), data.baseline.logits(features), atol=1e-5)
    assert distilled.history == []
    assert distilled.selected_epoch is None


def test_positions_are_no_part_of_it(data, log):
    student, unseen = student_of_kind("linear", data, log).student, data.inputs.unseen
    moved = torch.randn_like(unseen.positions)
    one, other = (student(unseen.features, positions).logits for positions in (unseen.positions, moved))
    assert torch.equal(one, other)


def test_auto_is_never_behind_logistic_regression_on_validation(data, log):
    auto, linear = (student_of_kind(kind, data, log) for kind in ("auto", "linear"))
    assert auto.validation.preference >= linear.validation.preference


def own(**asked):
    dataset = {"kind": "files", "path": "unread"}
    return ExperimentConfig.model_validate({"name": "own", "dataset": dataset, **asked})


def test_of_a_graph_of_ones_own_nothing_is_known_before_it_is_measured():
    config = own()
    assert (config.teacher.kind, config.student.kind, config.export.refit) == ("auto", "auto", True)
    told = own(teacher={"kind": "gcn"}, export={"refit": False})
    assert (told.teacher.kind, told.student.kind, told.export.refit) == ("gcn", "auto", False)
    benchmark = ExperimentConfig(name="digits")
    found = (benchmark.teacher.kind, benchmark.student.kind, benchmark.export.refit)
    assert found == ("sage", "rbm-head", False)
