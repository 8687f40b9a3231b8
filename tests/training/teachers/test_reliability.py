import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rbm_training.config import TeacherConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.sparse_rows import rows_of
from rbm_training.teachers import reliability as noise
from rbm_training.teachers.ensemble import Ensemble
from rbm_training.teachers.inputs import GraphInputs, connect
from rbm_training.teachers.networks import build_network
from rbm_training.teachers.reliability import entropy_shift
from tests.training.objects import CPU


@pytest.fixture
def inputs() -> GraphInputs:
    graph = generate_graph(seed=3)
    features = torch.from_numpy(graph.dense_features())
    return GraphInputs(features, connect(graph.adjacency, CPU))


@pytest.fixture
def teacher() -> Ensemble:
    config = TeacherConfig(kind="appnp", hidden=8)
    return Ensemble(tuple(build_network(config, 32, 4) for _ in range(2)))


def seeded(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def entropy(teacher, features, edges):
    probabilities = teacher.predict(GraphInputs(features, edges)).logits.exp().double().numpy()
    return -(probabilities * np.log(probabilities)).sum(axis=1)


@pytest.mark.parametrize("unit_noise", [False, True])
def test_the_shift_is_that_of_the_answers_to_noisy_features(inputs, teacher, unit_noise):
    features, generator = inputs.features, seeded()
    deviation = torch.ones(32) if unit_noise else features.std(dim=0, correction=0)
    shifts = []
    for _ in range(1 if unit_noise else 4):
        noisy = features + deviation * torch.randn(features.shape, generator=generator)
        shifts.append(
            np.abs(entropy(teacher, noisy, inputs.edges) - entropy(teacher, features, inputs.edges))
        )
    measured = entropy_shift(teacher, inputs, seeded(), unit_noise)
    np.testing.assert_allclose(measured, np.mean(shifts, axis=0), atol=1e-5)
    assert measured.std() > 0.01


def test_sparse_features_are_shaken_like_dense_ones(inputs, teacher):
    sparse = torch.where(inputs.features.abs() > 2.5, inputs.features, torch.zeros(()))
    shifts = [
        entropy_shift(teacher, GraphInputs(features, inputs.edges), seeded())
        for features in (sparse, rows_of(sp.csr_array(sparse.numpy()), CPU))
    ]
    torch.testing.assert_close(*shifts, atol=1e-5, rtol=1e-4)


def test_noise_is_the_same_whatever_the_chunks(inputs, teacher, monkeypatch):
    whole = entropy_shift(teacher, inputs, seeded())
    monkeypatch.setattr(noise, "NOISE_CHUNK_ROWS", 64)
    torch.testing.assert_close(entropy_shift(teacher, inputs, seeded()), whole, atol=1e-5, rtol=1e-4)


def test_measuring_leaves_the_generator_of_torch_where_it_was(inputs, teacher):
    before = torch.get_rng_state()
    entropy_shift(teacher, inputs, seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_noise_is_that_of_the_generator(inputs, teacher):
    first, again, other = (entropy_shift(teacher, inputs, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
