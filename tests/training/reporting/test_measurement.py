import pytest
import torch

from rbm_training.distillation.predictions import predict_all
from rbm_training.distillation.train import train_student
from rbm_training.evaluation.metrics import accuracy
from rbm_training.reporting.answers import describe_answers
from rbm_training.reporting.measurement import GroupAccuracies, measure_seed
from rbm_training.runtime.checkpoint import Checkpoint
from tests.training.objects import SMALL_CONFIG


def measured(data, log, **student):
    shape = SMALL_CONFIG.student.model_copy(update=student)
    config = SMALL_CONFIG.model_copy(update={"student": shape})
    distilled = train_student(config, data, 0, log, Checkpoint(None, log))
    return distilled, measure_seed(data, distilled, seed=0, seconds=1.25)


def test_production_is_a_fifth_unseen_and_four_fifths_observed_test_nodes(data, log):
    distilled, report = measured(data, log)
    inputs, predictions = data.inputs, predict_all(distilled.student, data.inputs, batch_rows=100)
    unseen = accuracy(predictions.unseen, inputs.unseen.labels)
    observed = accuracy(predictions.observed[inputs.test], inputs.labels[inputs.test])
    assert unseen != observed
    assert (report.unseen_accuracy, report.observed_test_accuracy) == (unseen, observed)
    assert report.production_accuracy == pytest.approx(0.2 * unseen + 0.8 * observed)
    assert report.test_accuracy == unseen


@pytest.mark.parametrize("kind", ["rbm", "mlp", "mlp-ensemble"])
def test_the_report_says_which_student_it_is_about_and_what_it_costs(data, log, kind):
    distilled, report = measured(data, log, kind=kind)
    assert report.student == kind
    assert report.num_parameters == distilled.costs.num_parameters > 0
    assert report.flops_per_node == distilled.costs.flops_per_node > 0
    assert report.val_accuracy == distilled.validation.val_accuracy
    assert (report.selected_epoch is None) == (report.test_accuracy_max is None) == (kind == "mlp-ensemble")
    assert [sum(shares) for shares in report.expert_usage] == pytest.approx([1, 1])


def test_what_accuracy_does_not_say_is_measured_on_the_test_nodes(data, log):
    _, report = measured(data, log)
    labels, names = data.inputs.unseen.labels, data.task.graph.class_names
    low, high = report.test_accuracy_interval
    assert report.num_test_nodes == len(labels)
    assert low < report.test_accuracy < high
    assert report.only_answer is None
    rare = [
        name
        for name, size in zip(names, labels.bincount(), strict=True)
        if 0 < 2 * size * len(names) < len(labels)
    ]
    assert {each["name"] for each in report.rare_classes} == set(rare)
    constant = torch.tensor([0.0, 1.0] + [0.0] * (len(names) - 2)).expand(len(labels), -1)
    assert describe_answers(data, constant, constant)["only_answer"] == names[1]


def test_logistic_regression_is_asked_about_the_nodes_without_a_known_neighbour_too(data, log):
    _, report = measured(data, log)
    nodes, unseen = data.inputs.pseudo_unseen, report.baseline_test_accuracy
    scaled = data.scaling.scale_features(nodes.features).numpy()
    wanted = accuracy(torch.from_numpy(data.baseline.logits(scaled)), nodes.labels)
    assert report.baseline_val_accuracy_without_neighbors == wanted != report.baseline_val_accuracy
    assert report.baseline_test_accuracy_without_neighbors == unseen
    assert None not in (report.val_accuracy_without_neighbors, report.test_accuracy_without_neighbors)


def test_there_is_no_production_without_unseen_or_without_observed_test_nodes():
    assert GroupAccuracies(val=0.5, observed_test=0.5, unseen=None).production is None
    assert GroupAccuracies(val=0.5, observed_test=None, unseen=0.5).production is None
