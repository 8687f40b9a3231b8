import pytest
import scipy.sparse as sp
import torch

from rbm_training.config import RoutingConfig
from rbm_training.data.sparse_rows import rows_of, unit_rows
from rbm_training.students.rbm import routing_init
from rbm_training.students.rbm.routing_init import cluster_centers, start_routing
from tests.training.objects import CPU, routed_student


@pytest.mark.parametrize("shared_routing", [False, True])
def test_routing_starts_without_changing_what_the_student_says(shared_routing):
    student = routed_student(gains=False, shared_routing=shared_routing)
    for layer in student.expert_layers():
        layer.routed = False
        layer.log_scale.data.zero_()
    features, positions = torch.randn(60, 6), torch.randn(60, 4)
    before = student(features, positions)
    assert before.layers == ()
    start_routing(student, student.scaling(features, positions), RoutingConfig(), seed=0, batch_rows=100)
    after = student(features, positions)
    torch.testing.assert_close(after.logits, before.logits, atol=1e-5, rtol=1e-5)
    assert len(after.layers) == (1 if shared_routing else 2)


def test_the_memory_starts_at_cluster_centers_of_the_unit_inputs():
    student = routed_student(widths=(3,), num_experts=4)
    centers = unit_rows(torch.randn(4, 10))
    features = (centers.repeat(20, 1) + 0.01 * torch.randn(80, 10))[:, :6]
    positions = (centers.repeat(20, 1) + 0.01 * torch.randn(80, 10))[:, 6:]
    start_routing(student, student.scaling(features, positions), RoutingConfig(), seed=0, batch_rows=100)
    inputs = unit_rows(student.scaling(features, positions))
    best = (inputs @ student.memory_layers()[0].memory.T).max(dim=1).values
    assert best.min() > 0.99


def unit_blobs(num_rows=80):
    """Rows of norm 1 around four directions, many entries zero, and before them a row of zeros."""
    directions = torch.eye(4, 10)
    rows = (directions.repeat(num_rows // 4, 1) + 0.1 * torch.randn(num_rows, 10)).relu()
    return torch.cat([torch.zeros(1, 10), unit_rows(rows)])


@pytest.mark.parametrize("start", ["spherical", "random"])
def test_a_memory_starts_at_the_same_place_for_dense_and_sparse_rows(start):
    rows = unit_blobs()
    sparse = rows_of(sp.csr_array(rows.numpy()), CPU)
    dense_start, sparse_start = (cluster_centers(keys, 4, seed=3, start=start) for keys in (rows, sparse))
    torch.testing.assert_close(sparse_start.double(), dense_start.double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_spherical_centers_are_of_norm_one_and_every_row_is_the_most_like_its_own(seed):
    rows = unit_blobs()
    centers = cluster_centers(rows, 4, seed, "spherical").float()
    torch.testing.assert_close(centers.norm(dim=1), torch.ones(4))
    rows = rows[1:]
    owner = (rows @ centers.T).argmax(dim=1)
    for expert in range(4):
        torch.testing.assert_close(
            centers[expert], unit_rows(rows[owner == expert].sum(dim=0)), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("seed", range(5))
def test_a_random_start_takes_different_rows_and_none_of_zeros(seed):
    rows = unit_blobs()
    centers = cluster_centers(rows, 4, seed, "random")
    places = [(rows == center).all(dim=1).nonzero().flatten().tolist() for center in centers]
    assert all(len(place) == 1 for place in places)
    assert len({place[0] for place in places} | {0}) == 5
    assert torch.equal(cluster_centers(rows, 4, seed, "random"), centers)


@pytest.mark.parametrize("start", ["kmeans", "spherical", "random"])
def test_rows_that_are_all_alike_start_a_memory_of_any_directions(start):
    centers = cluster_centers(unit_blobs()[1:2].expand(20, 10), 4, seed=0, start=start)
    assert centers.shape == (4, 10)
    assert (centers.norm(dim=1) > 0).all()


@pytest.mark.parametrize("start", ["kmeans", "spherical", "random"])
def test_a_seed_fixes_the_start_of_a_whole_student(start):
    memories = []
    for _ in range(2):
        student = routed_student(widths=(8, 3))
        start_routing(student, torch.randn(60, 10), RoutingConfig(memory_init=start), 5, batch_rows=100)
        memories.append([layer.memory.clone() for layer in student.memory_layers()])
    for first, second in zip(*memories, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first.norm(dim=1), torch.ones(4))


def test_euclidean_memories_are_points_and_their_spread_the_mean_distance_to_the_nearest():
    student = routed_student(widths=(3,), metric="euclidean", features="none", position_norm=None)
    features, positions = 5 * torch.randn(60, 6), torch.randn(60, 4)
    start_routing(student, student.scaling(features, positions), RoutingConfig(), seed=0, batch_rows=100)
    layer = student.memory_layers()[0]
    inputs = torch.cat([features, positions], dim=1)
    nearest = torch.cdist(inputs, layer.memory).pow(2).amin(dim=1)
    torch.testing.assert_close(layer.spread, nearest.mean(), rtol=1e-4, atol=1e-4)
    assert (layer.memory.norm(dim=1) - 1).abs().max() > 0.5


@pytest.mark.parametrize("start", ["kmeans", "random"])
@pytest.mark.parametrize("sparse", [False, True])
def test_centred_memories_start_among_directions_from_the_mean_row(start, sparse):
    student = routed_student(widths=(3,), center_queries=True)
    inputs = (torch.eye(4, 10).repeat(20, 1) + 0.01 * torch.randn(80, 10)).relu()
    rows = rows_of(sp.csr_array(inputs.numpy()), CPU) if sparse else inputs
    start_routing(student, rows, RoutingConfig(memory_init=start), seed=0, batch_rows=100)
    layer = student.memory_layers()[0]
    torch.testing.assert_close(layer.center, inputs.mean(dim=0))
    queries = unit_rows(inputs - inputs.mean(dim=0))
    assert (layer.memory @ queries.T).max(dim=1).values.min() > 0.99
    if start == "kmeans":
        assert (queries @ layer.memory.T).max(dim=1).values.min() > 0.99


def start_in_batches(batch_rows, seed=0, num_rows=60):
    """Memories of a student whose routing started on batches of some size."""
    student = routed_student(widths=(8, 3))
    torch.manual_seed(1)
    inputs = student.scaling(torch.randn(num_rows, 6), torch.randn(num_rows, 4))
    start_routing(student, inputs, RoutingConfig(), seed, batch_rows)
    return [layer.memory for layer in student.memory_layers()]


@pytest.mark.parametrize("batch_rows", [7, 64])
def test_where_routing_starts_does_not_depend_on_the_batch_size(batch_rows):
    whole = start_in_batches(60)
    first, second = start_in_batches(batch_rows)
    assert torch.equal(first, whole[0])
    torch.testing.assert_close(second, whole[1], atol=1e-6, rtol=1e-6)


def test_of_many_rows_a_sample_that_the_seed_fixes_lays_out_the_memories(monkeypatch):
    monkeypatch.setattr(routing_init, "MAX_CLUSTERED_ROWS", 40)
    clustered = []
    monkeypatch.setattr(
        routing_init,
        "cluster_centers",
        lambda keys, *rest: clustered.append(keys) or cluster_centers(keys, *rest),
    )
    first, again, other = (start_in_batches(7, seed) for seed in (0, 0, 1))
    assert {len(keys) for keys in clustered} == {40}
    assert torch.equal(first[1], again[1])
    assert not torch.equal(clustered[0], clustered[4])
    assert not torch.equal(first[1], other[1])
