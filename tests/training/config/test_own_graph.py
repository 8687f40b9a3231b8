import pytest

from rbm_training.config import ExperimentConfig

FILES = {"kind": "files", "path": "."}


@pytest.mark.parametrize(
    ("dataset", "distill", "wanted"),
    [(FILES, {}, 0.1), (FILES, {"position_dropout": 0.0}, 0.0), ({}, {}, 0.0)],
    ids=["own graph", "own graph, set", "benchmark"],
)
def test_students_of_an_own_graph_learn_from_some_nodes_without_positions(dataset, distill, wanted):
    config = ExperimentConfig.model_validate({"name": "mine", "dataset": dataset, "distill": distill})
    assert config.distill.position_dropout == wanted


def test_the_released_code_knows_no_nodes_without_positions():
    config = ExperimentConfig.model_validate({"name": "mine", "dataset": FILES, "compat": "released"})
    assert config.distill.position_dropout == 0
