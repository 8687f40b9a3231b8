import pytest

from rbm_training.evaluation.without_neighbors import advice, in_words
from tests.training.objects import SMALL_CONFIG


def config_with(**changes):
    return SMALL_CONFIG.model_copy(update=changes)


def test_only_nodes_that_were_not_learnt_from_are_called_new():
    told = in_words("inductive", 0.5711, 0.5892)
    assert told == "A new node of which no neighbour is known: 57.1 % (logistic regression 58.9 %)."
    told = in_words("transductive", 0.5711, 0.5892)
    assert told.startswith("A known node without its position: 57.1 % (logistic regression 58.9 %). ")
    assert 'dataset.setting = "inductive" measures new nodes' in told


@pytest.mark.parametrize(
    ("rate", "change"),
    [
        (0.0, "set distill.position_dropout = 0.1"),
        (0.1, "raise distill.position_dropout from 0.1"),
        (0.5, 'student.kind = "linear" serves them better'),
    ],
)
def test_more_than_a_point_below_logistic_regression_calls_for_position_dropout(rate, change):
    distill = SMALL_CONFIG.distill.model_copy(update={"position_dropout": rate})
    (line,) = advice(config_with(distill=distill), 0.5, 0.52)
    assert "the student gets 50.0 % right, logistic regression 52.0 %" in line
    assert change in line


@pytest.mark.parametrize(
    ("config", "student", "baseline"),
    [
        (SMALL_CONFIG, 0.5, 0.509),
        (SMALL_CONFIG, 0.6, 0.5),
        (SMALL_CONFIG, None, None),
        (config_with(compat="released"), 0.5, 0.6),
    ],
)
def test_else_nothing_is_called_for(config, student, baseline):
    assert advice(config, student, baseline) == []
