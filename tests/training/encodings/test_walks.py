import numpy as np
import pytest

from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.edges import undirected
from rbm_training.encodings.walks import second_order_walks, uniform_walks

# Node 1 has every kind of neighbour for a walk that comes from 0: 0 itself, 2 near it, 3 and 4 away from it.
KITE = undirected(np.array([[0, 0, 1, 1, 1, 3], [1, 2, 2, 3, 4, 4]]), 5)
SAMPLING_ERROR = 0.02  # four deviations of a share among the 10,000 or more walks over each edge


def walks_of_both_orders(adjacency, nodes, length):
    yield uniform_walks(adjacency, nodes, length, np.random.default_rng(0))
    yield second_order_walks(adjacency, nodes, length, 0.5, 2.0, np.random.default_rng(0))


def test_every_step_of_a_walk_follows_an_edge():
    graph = generate_graph(seed=2)
    for walks in walks_of_both_orders(graph.adjacency, np.arange(graph.num_nodes), 12):
        assert walks.shape == (graph.num_nodes, 12)
        assert (walks[:, 0] == np.arange(graph.num_nodes)).all()
        assert graph.adjacency[walks[:, :-1].ravel(), walks[:, 1:].ravel()].min() == 1


def test_a_walk_of_one_node_is_its_start():
    for walks in walks_of_both_orders(KITE, np.array([3, 1]), 1):
        assert walks.tolist() == [[3], [1]]


def test_a_step_picks_every_neighbor_equally_often():
    star = undirected(np.array([[0, 0, 0, 0], [1, 2, 3, 4]]), 5)
    walks = uniform_walks(star, np.zeros(8000, np.int64), 2, np.random.default_rng(0))
    np.testing.assert_allclose(
        np.bincount(walks[:, 1], minlength=5) / 8000, [0, 0.25, 0.25, 0.25, 0.25], atol=0.02
    )


def exact_shares(adjacency, before, current, p, q):
    """Probabilities (N,) of the next node of a walk that went from `before` to `current`, by definition."""
    dense = adjacency.toarray()
    weights = np.where(dense[before] == 1, 1.0, 1 / q)
    weights[before] = 1 / p
    weights *= dense[current]
    return weights / weights.sum()


@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (0.25, 4.0), (4.0, 0.5), (16.0, 16.0)])
def test_second_order_steps_have_their_exact_shares(p, q):
    starts = np.repeat(np.arange(5), 48_000)
    walks = second_order_walks(KITE, starts, 3, p, q, np.random.default_rng(0))
    for before, current in zip(*KITE.nonzero(), strict=True):
        after = walks[(walks[:, :2] == [before, current]).all(axis=1), 2]
        assert len(after) > 10_000
        np.testing.assert_allclose(
            np.bincount(after, minlength=5) / len(after),
            exact_shares(KITE, before, current, p, q),
            atol=SAMPLING_ERROR,
        )


def test_a_later_step_looks_back_one_node_and_no_further():
    walks = second_order_walks(KITE, np.repeat(4, 300_000), 5, 4.0, 0.25, np.random.default_rng(0))
    after = walks[(walks[:, 2:4] == [0, 1]).all(axis=1), 4]
    assert len(after) > 10_000
    shares = np.bincount(after, minlength=5) / len(after)
    np.testing.assert_allclose(shares, exact_shares(KITE, 0, 1, 4.0, 0.25), atol=SAMPLING_ERROR)


def test_parameters_of_one_make_every_neighbor_equally_likely_again():
    walks = second_order_walks(KITE, np.ones(40_000, np.int64), 3, 1.0, 1.0, np.random.default_rng(0))
    _, counts = np.unique(walks[:, 1:], axis=0, return_counts=True)
    # From node 1 to one of four neighbours, and on to one of the two that each of them has.
    np.testing.assert_allclose(counts / 40_000, np.full(8, 1 / 8), atol=SAMPLING_ERROR)
