import pytest
import scipy.sparse as sp
import torch
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import softmax

from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.sparse_product import by_column
from rbm_training.teachers.inputs import Edges, connect
from tests.training.objects import CPU

GRAPH = generate_graph(seed=3)
EDGE_INDEX = torch.from_numpy(GRAPH.edge_index)


@pytest.fixture
def edges() -> Edges:
    return connect(GRAPH.adjacency, CPU)


def as_matrix(edges: Edges, weights: torch.Tensor) -> torch.Tensor:
    """Weights of edges in a dense matrix, a row for each target."""
    dense = torch.zeros(GRAPH.num_nodes, GRAPH.num_nodes)
    dense[edges.targets, edges.sources] = weights
    return dense


def test_the_normalised_weights_are_those_of_pytorch_geometric(edges):
    (sources, targets), weights = gcn_norm(EDGE_INDEX, num_nodes=GRAPH.num_nodes)
    expected = torch.zeros(GRAPH.num_nodes, GRAPH.num_nodes)
    expected[targets, sources] = weights
    torch.testing.assert_close(as_matrix(edges, edges.normalised), expected, rtol=1e-6, atol=0)


def test_the_weights_of_the_mean_are_equal_and_sum_to_one(edges):
    looped = torch.from_numpy(GRAPH.adjacency.toarray()) + torch.eye(GRAPH.num_nodes)
    expected = looped / looped.sum(dim=1, keepdim=True)
    torch.testing.assert_close(as_matrix(edges, edges.mean), expected, rtol=1e-6, atol=0)


def test_edges_are_read_from_an_adjacency_whose_rows_are_in_any_order(edges):
    shuffled = sp.csr_array(GRAPH.adjacency)
    for start, end in zip(shuffled.indptr, shuffled.indptr[1:], strict=False):
        shuffled.indices[start:end] = shuffled.indices[start:end][::-1].copy()
    shuffled.has_sorted_indices = shuffled.has_canonical_format = False
    assert torch.equal(connect(shuffled, CPU).sources, edges.sources)


def test_edges_by_source_are_what_sorting_them_gives(edges):
    expected = by_column(edges.offsets, edges.sources, GRAPH.num_nodes)
    for part in ("offsets", "places", "rows"):
        assert torch.equal(getattr(edges.by_source, part), getattr(expected, part))


def test_the_softmax_and_its_gradient_are_those_of_pytorch_geometric_and_bear_large_scores(edges):
    scores = (100 * torch.randn(len(edges.sources), dtype=torch.float64)).requires_grad_()
    weights = torch.randn(len(scores), dtype=torch.float64)
    found, expected = edges.softmax(scores), softmax(scores, edges.targets)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad((shares * weights).sum(), scores)[0] for shares in (found, expected)]
    torch.testing.assert_close(*gradients)
