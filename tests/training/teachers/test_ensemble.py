import pytest
import torch

from rbm_training.config import TeacherConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.scaling import InputScaling
from rbm_training.teachers.ensemble import Ensemble
from rbm_training.teachers.inputs import GraphInputs, graph_inputs
from rbm_training.teachers.networks import build_network
from tests.training.objects import CPU


@pytest.fixture
def inputs() -> GraphInputs:
    return graph_inputs(generate_graph(seed=3), InputScaling(32, "l2", None), CPU)


@pytest.fixture
def members():
    return tuple(build_network(TeacherConfig(kind="gcn", hidden=8), 32, 4).eval() for _ in range(3))


def test_an_answer_is_the_mean_of_the_members_probabilities(inputs, members):
    prediction = Ensemble(members).predict(inputs)
    probabilities = torch.stack([member(inputs).logits.softmax(dim=1) for member in members])
    torch.testing.assert_close(prediction.logits.exp(), probabilities.mean(dim=0))


def test_one_member_answers_for_itself(inputs, members):
    prediction = Ensemble(members[:1]).predict(inputs)
    torch.testing.assert_close(prediction.logits, members[0](inputs).logits.log_softmax(dim=1))


def test_representations_stand_side_by_side(inputs, members):
    together = Ensemble(members).predict(inputs).representations
    expected = torch.cat([member(inputs).representations for member in members], dim=1)
    assert together.shape == (400, 24)
    torch.testing.assert_close(together, expected)


def test_members_without_representations_have_none_together(inputs):
    members = [build_network(TeacherConfig(num_layers=1), 32, 4) for _ in range(2)]
    assert Ensemble(tuple(members)).predict(inputs).representations is None


def test_one_noise_reaches_all_members(inputs, members):
    ensemble = Ensemble(members)
    noise = torch.randn(400, 32)
    noisy = GraphInputs(inputs.features + noise, inputs.edges)
    prediction = ensemble.predict(inputs, noise @ ensemble.first_weight().T)
    torch.testing.assert_close(prediction.logits, ensemble.predict(noisy).logits, atol=1e-4, rtol=1e-4)


def test_members_in_training_mode_answer_without_dropout_or_gradients(inputs):
    ensemble = Ensemble((build_network(TeacherConfig(hidden=8), 32, 4).train(),))
    first, second = ensemble.predict(inputs).logits, ensemble.predict(inputs).logits
    assert torch.equal(first, second)
    assert not first.requires_grad
