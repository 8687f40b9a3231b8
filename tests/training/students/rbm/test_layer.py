import pytest
import scipy.sparse as sp
import torch

from rbm_training.data.sparse_rows import as_array, beside, rows_of
from rbm_training.students.rbm.layer import RbMLayer
from tests.training.objects import CPU


def layer_of(num_experts=4, top_k=2, in_width=6, out_width=5, gains=False):
    torch.manual_seed(1)
    return RbMLayer(in_width, out_width, num_experts, top_k, dropout=0.0, gains=gains)


@pytest.mark.parametrize("top_k", [1, 2, 3, 4])
@pytest.mark.parametrize("gains", [False, True])
def test_equal_experts_are_one_linear_layer_for_any_memory(top_k, gains):
    layer = layer_of(top_k=top_k, gains=gains)
    x = torch.randn(33, 6)
    before, routing = layer(x)
    assert routing is None
    layer.start_routing(torch.randn(4, 6))
    after, routing = layer(x)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)
    assert routing.experts.shape == (33, top_k)


def test_the_output_is_the_weighted_sum_of_the_chosen_experts():
    layer = layer_of(gains=True)
    layer.start_routing(torch.randn(4, 6))
    for parameter in (layer.weight, layer.bias, layer.log_gain):
        torch.nn.init.normal_(parameter)
    layer.log_scale.data.fill_(0.3)
    x = torch.randn(9, 6)
    output, routing = layer(x)
    for b in range(9):
        wanted = sum(
            routing.weights[b, j] * ((layer.log_gain[e].exp() * x[b]) @ layer.weight[e] + layer.bias[e])
            for j, e in enumerate(routing.experts[b])
        )
        torch.testing.assert_close(output[b], layer.log_scale.exp() * wanted, atol=1e-5, rtol=1e-5)


def test_the_task_loss_moves_neither_memory_nor_mixing_weights():
    layer = layer_of()
    layer.start_routing(torch.randn(4, 6))
    torch.nn.init.normal_(layer.weight)
    x = torch.randn(9, 6, requires_grad=True)
    output, routing = layer(x)
    routing.weights.retain_grad()
    output.square().sum().backward()
    assert routing.weights.grad is None
    assert not layer.memory.requires_grad
    assert layer.weight.grad.abs().sum() > 0


def test_ties_go_to_the_lowest_index():
    layer = layer_of()
    layer.start_routing(torch.eye(4, 6))
    routing = layer.route(torch.tensor([[0.0, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0]]))
    assert routing.experts.tolist() == [[1, 2], [0, 1], [3, 0]]
    assert routing.routing_margin.tolist() == pytest.approx([2**-0.5, 0, 0])


def test_an_all_zero_row_has_similarity_zero_and_goes_to_the_first_experts():
    layer = layer_of(top_k=3)
    layer.start_routing(torch.randn(4, 6))
    routing = layer.route(torch.zeros(2, 6))
    assert routing.experts.tolist() == [[0, 1, 2]] * 2
    assert routing.similarity.abs().max() == 0
    torch.testing.assert_close(routing.weights, torch.full((2, 3), 1 / 3))
    assert routing.routing_margin.isinf().all()  # a tie, but one that no rounding can decide otherwise


def test_no_gradient_of_the_task_goes_by_way_of_the_mixing_weights():
    layer = layer_of()
    layer.start_routing(torch.randn(4, 6))
    torch.nn.init.normal_(layer.weight)
    layer.memory.requires_grad_()
    x = torch.randn(9, 6, requires_grad=True)
    output, routing = layer(x)
    output.square().sum().backward()
    assert layer.memory.grad is None
    constant = x.detach().clone().requires_grad_()
    every_expert = torch.einsum("bd,edh->beh", constant, layer.weight) + layer.bias
    mixed = torch.einsum("be,beh->bh", routing.gates().detach(), every_expert)
    mixed.square().sum().backward()
    torch.testing.assert_close(x.grad, constant.grad)


@pytest.mark.parametrize("temperature", [0.125, 1.0, 2.0])
def test_the_routing_temperature_divides_the_similarities_before_the_softmax(temperature):
    layer = RbMLayer(6, 5, 4, 3, routing_temperature=temperature)
    layer.start_routing(torch.randn(4, 6))
    routing = layer.route(torch.randn(9, 6))
    torch.testing.assert_close(routing.weights, (routing.similarity / temperature).softmax(dim=1))


def euclidean_layer(top_k=1):
    layer = RbMLayer(2, 3, 3, top_k, metric="euclidean")
    layer.start_routing(torch.tensor([[0.0, 0], [4, 0], [0, 10]]), spread=2.0)
    return layer


def test_with_the_euclidean_metric_the_nearest_memory_wins():
    x = torch.tensor(
        [[0.1, 0.2], [2.5, 0], [400, 0], [1, 7], [0, 0]]
    )  # the third near the second by angle too
    assert euclidean_layer().route(x).experts.flatten().tolist() == [0, 1, 1, 2, 0]


def test_the_euclidean_similarity_is_minus_half_the_squared_distance_over_the_spread():
    layer, x = euclidean_layer(top_k=3), torch.randn(7, 2)
    routing = layer.route(x)
    distances = (x.unsqueeze(1) - layer.memory[routing.experts]).pow(2).sum(dim=2)
    torch.testing.assert_close(routing.similarity, -distances / 4)
    torch.testing.assert_close(routing.weights, (-distances / 4).softmax(dim=1))


@pytest.mark.parametrize(("routing_input", "counts"), [("features", slice(0, 4)), ("positions", slice(4, 6))])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_block_that_does_not_route_changes_nothing_about_routing(routing_input, counts, sparse):
    layer = RbMLayer(6, 5, 4, 2, routing_input=routing_input, num_features=4)
    layer.start_routing(layer.read(torch.randn(4, 6)))
    x, other = torch.randn(9, 6), torch.randn(9, 6)
    other[:, counts] = x[:, counts]
    first, second = (layer.route(sparse_rows(rows) if sparse else rows) for rows in (x, other))
    assert first.experts.equal(second.experts)
    assert first.weights.equal(second.weights)
    keys = [
        torch.from_numpy(as_array(each.query).toarray()) if sparse else each.query for each in (first, second)
    ]
    assert keys[0].equal(keys[1])
    torch.testing.assert_close(keys[0][:, counts], torch.nn.functional.normalize(x[:, counts]))
    assert not torch.equal(layer(x)[0], layer(other)[0])  # the experts themselves see the whole row


def sparse_rows(rows):
    """The rows of four features and two positions, the features stored sparse."""
    return beside(rows_of(sp.csr_array(rows[:, :4].numpy()), CPU), rows[:, 4:])


@pytest.mark.parametrize("routing_input", ["all", "features", "positions"])
@pytest.mark.parametrize("sparse", [False, True])
def test_centred_queries_are_directions_from_the_centre(routing_input, sparse):
    layer = RbMLayer(6, 5, 4, 2, routing_input=routing_input, num_features=4, center_queries=True)
    layer.start_routing(layer.read(torch.randn(4, 6)))
    layer.center.copy_(layer.read(torch.rand(1, 6))[0])
    x = torch.rand(9, 6)
    x[3] = layer.center
    routing = layer.route(sparse_rows(x) if sparse else x)
    query = torch.nn.functional.normalize(layer.read(x) - layer.center)
    torch.testing.assert_close(routing.query, query, atol=2e-4, rtol=0)
    kept = [row for row in range(9) if row != 3]
    similarity = (query @ layer.memory.T).gather(1, routing.experts)
    torch.testing.assert_close(routing.similarity[kept], similarity[kept])
    torch.testing.assert_close(routing.query_of(5), query[5])
    gates = routing.gates()
    gates[3] = 0
    torch.testing.assert_close(routing.query_sums(gates), gates.T @ query)


def test_rows_that_went_through_relu_are_told_apart_better_from_their_centre():
    x, spread = (torch.randn(200, 30) + 1).relu(), []
    for center_queries in (False, True):
        layer = RbMLayer(30, 5, 8, 2, center_queries=center_queries)
        if center_queries:
            layer.center.copy_(x.mean(dim=0))
        layer.start_routing(x[:8] - (layer.center if center_queries else 0))
        spread.append(float(layer.route(x).routing_margin.mean()))
    assert spread[1] > 2 * spread[0]


@pytest.mark.parametrize("sparse", [False, True])
def test_a_projection_of_the_row_is_compared_with_memories_of_its_width(sparse):
    layer = RbMLayer(6, 5, 4, 2, routing_input="projection", num_features=4, projection_width=3)
    layer.start_routing(torch.randn(4, 3))
    x = torch.randn(9, 6)
    routing = layer.route(sparse_rows(x) if sparse else x)
    query = torch.nn.functional.normalize(x @ layer.projection)
    torch.testing.assert_close(routing.query, query)
    torch.testing.assert_close(routing.similarity, (query @ layer.memory.T).gather(1, routing.experts))


def test_a_projection_is_fixed_by_the_seed_and_learns_nothing():
    first, second = (layer_of_projection() for _ in range(2))
    assert torch.equal(first.projection, second.projection)
    assert "projection" not in dict(first.named_parameters())
    norms = (torch.eye(200) @ first.projection).norm(dim=1)
    torch.testing.assert_close(norms.mean(), torch.tensor(1.0), atol=0.05, rtol=0)


def layer_of_projection():
    torch.manual_seed(1)
    return RbMLayer(200, 5, 4, 2, routing_input="projection")
