from dataclasses import replace

import numpy as np
import pytest

from rbm_training.config import ExperimentConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import GraphError
from rbm_training.distillation import preconditions
from rbm_training.distillation.preconditions import with_scaling


def experiment(scaling):
    return ExperimentConfig.model_validate({"name": "mine", "scaling": {"features": scaling}})


def graph_with(features):
    return Dataset(replace(generate_graph(0), features=features).in_best_form())


def features_of_which(share):
    generator = np.random.default_rng(0)
    places = generator.permutation(400 * 32)[: round(share * 400 * 32)]
    features = np.zeros(400 * 32, np.float32)
    features[places] = 1 + generator.random(len(places))
    return features.reshape(400, 32)


def test_of_a_graph_of_ones_own_the_scaling_is_left_to_its_features():
    given = {"name": "mine", "dataset": {"kind": "files", "path": "mine"}}
    assert ExperimentConfig.model_validate(given).scaling.features == "auto"
    assert ExperimentConfig.model_validate({"name": "digits"}).scaling.features == "l2"


def test_columns_of_very_different_scales_are_standardised_and_others_are_not():
    ordinary = np.random.default_rng(0).normal(size=(400, 9)).astype(np.float32)
    huge = ordinary.copy()
    huge[:, 3] = np.random.default_rng(1).uniform(1e8, 2e9, 400)
    words = features_of_which(0.05)
    words[:, 3] *= 1e6
    chosen = {}
    for name, features in {"ordinary": ordinary, "huge": huge, "words": words}.items():
        config, dataset = with_scaling(experiment("auto"), graph_with(features))
        chosen[name] = config.scaling.features, isinstance(dataset.graph.features, np.ndarray)
    assert chosen == {"ordinary": ("l2", True), "huge": ("standardised", True), "words": ("l2", False)}


@pytest.mark.parametrize("share", [0.124, 0.126])
def test_standardised_features_are_dense_on_both_sides_of_an_eighth(share):
    features = features_of_which(share)
    read = graph_with(features)
    assert isinstance(read.graph.features, np.ndarray) == (share > 1 / 8)
    config, dataset = with_scaling(experiment("standardised"), read)
    assert config.scaling.features == "standardised"
    np.testing.assert_array_equal(dataset.graph.features, features)
    assert dataset.sha256 == read.sha256


def test_features_that_would_not_fit_into_memory_are_refused_with_both_sizes(monkeypatch):
    read = graph_with(features_of_which(0.05))
    monkeypatch.setattr(preconditions, "memory", lambda: 4 * 4 * 400 * 32)
    with_scaling(experiment("standardised"), read)
    monkeypatch.setattr(preconditions, "memory", lambda: 4 * 4 * 400 * 32 - 1)
    with pytest.raises(
        GraphError, match=r"32 features of 400 nodes, 5\.00% .* takes 0\.0 GB; wanted at most"
    ):
        with_scaling(experiment("standardised"), read)
    with_scaling(experiment("l2"), read)
