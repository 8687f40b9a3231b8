import numpy as np
import pytest
import torch
from torch_geometric import transforms
from torch_geometric.data import Data

from rbm_training.data.scaling import InputScaling
from rbm_training.teachers.inputs import graph_inputs
from rbm_training.teachers.without_messages import SIGN, Perceptron
from tests.training.objects import CPU


@pytest.fixture
def inputs(synthetic_task):
    return graph_inputs(synthetic_task.observed, InputScaling(32, "none", None), CPU)


@pytest.mark.filterwarnings("ignore:Sparse")  # of PyG's tensors, which are what is compared with
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_sign_reads_features_that_were_averaged_hop_by_hop(hops, synthetic_task, inputs):
    torch.manual_seed(0)
    network = SIGN([32, 8 * (hops + 1), 3], dropout=0.0, hops=hops).eval()
    first, second = network.linears
    observed = synthetic_task.observed
    loops = np.arange(observed.num_nodes)
    edges = torch.from_numpy(np.concatenate([observed.edge_index, [loops, loops]], axis=1))
    data = transforms.SIGN(hops)(Data(x=inputs.features, edge_index=edges, num_nodes=observed.num_nodes))
    averaged = [data.x, *(data[f"x{hop + 1}"] for hop in range(hops))]
    blocks = [x @ weight.T for x, weight in zip(averaged, first.weight.split(8), strict=True)]
    expected = second((torch.cat(blocks, dim=1) + first.bias).relu())
    assert torch.allclose(network(inputs).logits, expected, atol=1e-5)


def test_sign_of_one_layer_adds_its_hops_up_in_the_last(inputs):
    logits = SIGN([32, 3], dropout=0.0, hops=2)(inputs).logits
    assert logits.shape == (len(inputs.features), 3)


def test_a_perceptron_hears_nothing(inputs):
    torch.manual_seed(0)
    network = Perceptron([32, 8, 3], dropout=0.0).eval()
    first, second = network.linears
    assert torch.allclose(network(inputs).logits, second(first(inputs.features).relu()), atol=1e-6)


def test_a_perceptron_of_given_weights_says_what_they_say(inputs):
    generator = np.random.default_rng(0)
    weight, bias = (generator.standard_normal(shape).astype(np.float32) for shape in ((32, 3), (3,)))
    logits = Perceptron.of_weights(weight, bias)(inputs).logits.detach().numpy()
    np.testing.assert_allclose(logits, inputs.features.numpy() @ weight + bias, atol=1e-5)
