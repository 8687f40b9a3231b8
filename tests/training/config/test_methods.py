"""Methods beside a student whose layers share a route, or that is routed by a part of its input."""

import pytest

from rbm_training.config import ExperimentConfig
from rbm_training.config.methods import baseline_experiments


@pytest.fixture
def baselines():
    """The students of all mixtures and of the MLPs of their costs, beside one of an experiment."""
    student = {"kind": "rbm", "moe_layers": "all", "routing_input": "positions", "shared_routing": True}
    names = ["moe", "moe-head", "rbm", "rbm-head", "mlp-flops", "mlp-flops-head"]
    document = {"name": "a", "student": student, "report": {"baselines": names}}
    found = baseline_experiments(ExperimentConfig.model_validate(document))
    return {name: experiment.student for name, experiment in found.items()}


@pytest.mark.parametrize("name", ["moe", "moe-head", "rbm-head", "mlp-flops-head"])
def test_mixtures_without_a_route_to_share_stand_beside_one_that_has_it(baselines, name):
    assert not baselines[name].shared_routing


@pytest.mark.parametrize("name", ["rbm", "mlp-flops"])
def test_mixtures_of_the_same_layers_share_it_too(baselines, name):
    assert (baselines[name].shared_routing, baselines[name].routing_input) == (True, "positions")
