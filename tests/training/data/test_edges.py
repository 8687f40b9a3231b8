import numpy as np

from rbm_training.data.edges import EdgeCounts, symmetrised, undirected


def test_every_edge_of_a_source_is_accounted_for():
    edges = np.array([[0, 0, 1, 2, 2, 3, 2, 1], [1, 1, 0, 2, 3, 2, 3, 3]])
    adjacency, counts = symmetrised(edges, 5)
    assert counts == EdgeCounts(num_given=8, num_self_loops=1, num_repeated=2, num_reversed=2)
    assert adjacency.toarray().tolist() == [
        [0, 1, 0, 0, 0],
        [1, 0, 0, 1, 0],
        [0, 0, 0, 1, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(undirected(edges, 5).indices, adjacency.indices)


def test_a_graph_without_edges_has_nothing_to_account_for():
    adjacency, counts = symmetrised(np.zeros((2, 0), np.int64), 3)
    assert (adjacency.nnz, counts) == (0, EdgeCounts(0, 0, 0, 0))
