"""Each network against its published formula, written out with dense matrices."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from rbm_training.config import TeacherConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.sparse_rows import rows_of
from rbm_training.teachers.inputs import GraphInputs, connect
from rbm_training.teachers.networks import GraphNetwork, GraphSage, build_network
from tests.training.objects import CPU
from tests.training.teachers.pyg_networks import logits_by_pyg

KINDS = ("sage", "gcn", "gat", "appnp")
NUM_NODES, NUM_FEATURES, HIDDEN, NUM_CLASSES = 7, 5, 6, 3
EDGES = torch.tensor([[0, 0, 0, 1, 3, 4], [1, 2, 3, 2, 4, 5]])  # node 6 stands alone
ADJACENCY = torch.zeros(NUM_NODES, NUM_NODES)
ADJACENCY[EDGES[0], EDGES[1]] = ADJACENCY[EDGES[1], EDGES[0]] = 1
WITH_LOOPS = ADJACENCY + torch.eye(NUM_NODES)
DEGREES = WITH_LOOPS.sum(dim=1)


def network(kind: str, num_layers: int = 2, heads: int = 3, dropout: float = 0.0) -> GraphNetwork:
    """A network in training mode, its biases random too."""
    special = {"heads": heads} if kind == "gat" else {}
    config = TeacherConfig(kind=kind, num_layers=num_layers, hidden=HIDDEN, dropout=dropout, **special)
    built = build_network(config, NUM_FEATURES, NUM_CLASSES)
    for linear in built.linears:
        torch.nn.init.normal_(linear.bias)
    return built


@pytest.fixture
def x() -> torch.Tensor:
    """Features of which most are zero."""
    values = torch.randn(NUM_NODES, NUM_FEATURES)
    return torch.where(torch.rand(NUM_NODES, NUM_FEATURES) < 0.6, torch.zeros(()), values)


def inputs(features) -> GraphInputs:
    return GraphInputs(features, connect(sp.csr_array(ADJACENCY.numpy()), CPU))


def layers(built: GraphNetwork, x, operators) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and what the last ReLU reads, with a matrix (N, N) for each layer: operator (h W) + b."""
    (first, second), hidden = built.linears, None
    hidden = operators[0](x @ first.weight.T) + first.bias
    return operators[1](hidden.relu() @ second.weight.T) + second.bias, hidden


def test_graphsage_averages_over_the_neighbors_and_the_node_once(x):
    built = network("sage")
    mean = WITH_LOOPS / DEGREES.unsqueeze(1)
    logits, hidden = layers(built, x, [lambda h: mean @ h] * 2)
    output = built(inputs(x))
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(output.representations, hidden)


def test_a_layer_of_graphsage_in_numbers():
    built = GraphSage([1, 1], dropout=0.0)
    built.linears[0].weight.data.fill_(2.0)
    built.linears[0].bias.data.fill_(1.0)
    edges = connect(sp.csr_array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]), CPU)
    output = built(GraphInputs(torch.tensor([[3.0], [6.0], [9.0], [5.0]]), edges))
    assert output.logits.flatten().tolist() == [2 * 4.5 + 1, 2 * 6 + 1, 2 * 7.5 + 1, 2 * 5 + 1]


def test_gcn_weighs_each_neighbor_by_both_degrees_and_hears_itself(x):
    built = network("gcn")
    normalised = WITH_LOOPS / (DEGREES.unsqueeze(1) * DEGREES.unsqueeze(0)).sqrt()
    logits, hidden = layers(built, x, [lambda h: normalised @ h] * 2)
    output = built(inputs(x))
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(output.representations, hidden)


def test_appnp_walks_with_the_logits_of_a_perceptron(x):
    built = network("appnp")
    alone, hidden = layers(built, x, [lambda h: h] * 2)
    normalised = WITH_LOOPS / (DEGREES.unsqueeze(1) * DEGREES.unsqueeze(0)).sqrt()
    logits = alone
    for _ in range(10):
        logits = 0.9 * normalised @ logits + 0.1 * alone
    output = built(inputs(x))
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(output.representations, hidden)


def attend(mapped: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """One head: row i averages h_j over its neighbours and itself with softmax(LeakyReLU(a·h_j + a'·h_i))."""
    scores = functional.leaky_relu((mapped @ source).unsqueeze(0) + (mapped @ target).unsqueeze(1), 0.2)
    return scores.masked_fill(WITH_LOOPS == 0, -torch.inf).softmax(dim=1) @ mapped


@pytest.mark.parametrize("heads", [1, 3])
def test_gat_averages_by_attention_each_head_over_columns_of_its_own(x, heads):
    built = network("gat", heads=heads)
    first, last = built.attentions

    def all_heads(mapped):
        parts = mapped.chunk(heads, dim=1)
        return torch.cat(
            [attend(part, first.att_src[0, k], first.att_dst[0, k]) for k, part in enumerate(parts)], dim=1
        )

    logits, hidden = layers(
        built, x, [all_heads, lambda h: attend(h, last.att_src[0, 0], last.att_dst[0, 0])]
    )
    output = built(inputs(x))
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(output.representations, hidden)


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_features_give_the_answers_and_gradients_of_dense_ones(kind, x):
    built = network(kind)
    gradients = []
    for features in (x, rows_of(sp.csr_array(x.numpy()), CPU)):
        built.zero_grad()
        output = built(inputs(features))
        functional.cross_entropy(output.logits, torch.arange(NUM_NODES) % NUM_CLASSES).backward()
        gradients.append([output.logits, *(parameter.grad for parameter in built.parameters())])
    for dense, sparse in zip(*gradients, strict=True):
        torch.testing.assert_close(sparse, dense)
    assert all(gradient.abs().sum() > 0 for gradient in gradients[1])


@pytest.mark.parametrize("kind", KINDS)
def test_noise_on_the_first_product_is_noise_on_the_features(kind, x):
    built = network(kind)
    noise = torch.randn_like(x)
    expected = built(inputs(x + noise)).logits
    torch.testing.assert_close(built(inputs(x), noise @ built.first_weight.T).logits, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_one_layer_has_no_representations(kind, x):
    output = network(kind, num_layers=1)(inputs(x))
    assert output.logits.shape == (NUM_NODES, NUM_CLASSES)
    assert output.representations is None


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_works_in_training_alone(kind, x):
    built = network(kind, dropout=0.5)
    assert not torch.equal(built(inputs(x)).logits, built(inputs(x)).logits)
    built.eval()
    torch.testing.assert_close(built(inputs(x)).logits, built(inputs(x)).logits, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_but_graphsage_drops_features_too(kind, x):
    built = network(kind, num_layers=1, dropout=0.5)
    if kind == "gat":
        built.attentions[0].dropout = 0.0
    for features in (x, rows_of(sp.csr_array(x.numpy()), CPU)):
        first, second = (built(inputs(features)).logits for _ in range(2))
        assert torch.equal(first, second) == (kind == "sage")


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_without_edges_leaves_each_node_to_itself(kind, x):
    built = network(kind).eval()
    together = built(GraphInputs(x, connect(sp.csr_array((NUM_NODES, NUM_NODES)), CPU))).logits
    for node in range(NUM_NODES):
        alone = built(GraphInputs(x[node : node + 1], connect(sp.csr_array((1, 1)), CPU))).logits
        torch.testing.assert_close(alone[0], together[node])


@pytest.fixture
def dtype(request):
    """Of all that is made while a test runs."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], indirect=True)
@pytest.mark.parametrize("kind", KINDS)
def test_answers_and_gradients_are_those_of_pytorch_geometrics_layers(kind, dtype):
    graph = generate_graph(seed=3)
    built = network(kind, num_layers=3)
    features = torch.randn(graph.num_nodes, NUM_FEATURES, requires_grad=True)
    into = torch.randn(graph.num_nodes, NUM_CLASSES)
    found = built(GraphInputs(features, connect(graph.adjacency, CPU))).logits
    expected = logits_by_pyg(built, features, torch.from_numpy(graph.edge_index))
    single = dtype == torch.float32
    assert_near([found.detach()], [expected.detach()], 1e-6 if single else 1e-14)
    gradients = [
        torch.autograd.grad(logits, (features, *built.parameters()), into) for logits in (found, expected)
    ]
    assert_near(*gradients, 1e-5 if single else 1e-13)


def assert_near(found, expected, tolerance: float) -> None:
    """No further apart than the tolerance times the largest number expected.

    Of all tensors together: a gradient of attention alone may be nothing but what rounding leaves of zero.
    """
    scale = max(tensor.abs().max() for tensor in expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=float(tolerance * scale))


class LargestTensor(TorchDispatchMode):
    """Notes the largest number of elements that any operation gave."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        for result in results if isinstance(results, (tuple, list)) else (results,):
            if isinstance(result, torch.Tensor):
                self.numel = max(self.numel, result.numel())
        return results


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_made_on_the_way_holds_more_than_a_number_for_each_edge(kind):
    num_nodes = 40
    edges = connect(sp.csr_array(np.ones((num_nodes, num_nodes)) - np.eye(num_nodes)), CPU)
    built = network(kind, heads=2, dropout=0.5)
    with LargestTensor() as largest:
        built(GraphInputs(torch.randn(num_nodes, NUM_FEATURES), edges)).logits.sum().backward()
    assert num_nodes * HIDDEN <= largest.numel <= num_nodes**2
